"""The loss of neighbours against its formula, pair by pair."""

import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("skimage")

from metric_learning import CONTRASTIVE_TEMPERATURE, neighbours_loss


def test_the_loss_of_neighbours_is_that_of_its_formula() -> None:
    unit = F.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)))
    labels = [0, 1, 0, 2, 1, 0, 3]  # 2 and 3 are alone, and do not count
    losses = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        weights = {j: math.exp(float(unit[i] @ unit[j]) / CONTRASTIVE_TEMPERATURE) for j in others}
        alike = [j for j in others if labels[j] == labels[i]]
        if alike:
            losses.append(-sum(math.log(weights[j] / sum(weights.values())) for j in alike) / len(alike))
    assert len(losses) == 5
    assert float(neighbours_loss(unit, torch.tensor(labels))) == pytest.approx(sum(losses) / 5, rel=1e-5)
