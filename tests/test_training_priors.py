"""Logit adjustment: names as if all classes were equally frequent."""

import numpy as np
import pytest
import torch
from training_samples import CPU, TINY, as_split, lively, write_shapes

from training.data.augment import Normalisation, centre_crops
from training.data.pictures import MemoryPictures
from training.export.priors import RAREST, adjust_logits, log_prior
from training.networks.alexnet import AlexNet

NORMALISATION = Normalisation(torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0))
CLASSES = 5
GROUPS = (slice(0, 3), slice(3, 5))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> MemoryPictures:
    data = write_shapes(tmp_path_factory.mktemp("priors"), each=10)
    return MemoryPictures(as_split(data), TINY.resize, device=CPU.device)


@torch.inference_mode()
def mean_probabilities(network: AlexNet, pictures: MemoryPictures) -> list[float]:
    pixels, _ = next(pictures.batches(torch.arange(len(pictures)), len(pictures)))
    logits = network.eval()(centre_crops(pixels, TINY.crop, NORMALISATION)).double()
    return torch.cat([torch.softmax(logits[:, group], 1).mean(0) for group in GROUPS]).tolist()


def of_frequencies(*shares: float) -> AlexNet:
    """Return a network that says of every picture how frequent the classes are."""
    network = lively(TINY, CLASSES)
    network.fc8.weight.data.zero_()
    network.fc8.bias.data.copy_(torch.tensor(shares).log())
    return network


def test_what_only_tells_frequencies_tells_nothing_any_more(pictures: MemoryPictures) -> None:
    network = of_frequencies(0.7, 0.2, 0.1, 0.6, 0.4)
    adjust_logits(network, pictures, NORMALISATION, GROUPS, tau=1.0)
    np.testing.assert_allclose(mean_probabilities(network, pictures), [1 / 3] * 3 + [1 / 2] * 2, atol=1e-6)


def test_half_of_it_takes_the_root_of_the_odds(pictures: MemoryPictures) -> None:
    network = of_frequencies(0.6, 0.2, 0.2, 0.5, 0.5)
    adjust_logits(network, pictures, NORMALISATION, GROUPS, tau=0.5)
    first, second, *_ = mean_probabilities(network, pictures)
    assert first / second == pytest.approx(3**0.5)


def test_a_network_gets_more_even(pictures: MemoryPictures) -> None:
    network = lively(TINY, CLASSES)
    network.fc8.bias.data[0] += 2.0
    before = mean_probabilities(network, pictures)
    adjust_logits(network, pictures, NORMALISATION, GROUPS, tau=1.0)
    after = mean_probabilities(network, pictures)
    assert max(after[:3]) < max(before[:3])
    assert sum(after[:3]) == pytest.approx(1.0)


def test_a_class_that_is_never_seen_is_not_named_everywhere() -> None:
    found = log_prior(torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), np.log([RAREST, 1.0, 2.0]))
    assert torch.isfinite(log_prior(torch.zeros(3))).all()
