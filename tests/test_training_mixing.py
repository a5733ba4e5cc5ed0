"""mixup and CutMix: which pictures are mixed, by which share, and what the loss makes of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.data.mixing import Targets, mix

N, SIDE = 40, 12


def plain_pictures() -> torch.Tensor:
    """Pictures (40, 3, 12, 12) of one value each: its number."""
    return torch.arange(N).float()[:, None, None, None].expand(N, 3, SIDE, SIDE).contiguous()


def test_off_is_untouched_and_draws_nothing() -> None:
    x, labels = plain_pictures(), torch.arange(N)
    before = torch.get_rng_state()
    mixed, targets = mix(x, labels, mixup=0.0, cutmix=0.0)
    assert mixed is x
    assert targets.dominant is labels
    assert torch.equal(torch.get_rng_state(), before)


def test_mixup_adds_up_two_pictures_by_the_share_of_their_labels() -> None:
    torch.manual_seed(1)
    shares = []
    for _ in range(300):
        mixed, targets = mix(plain_pictures(), torch.arange(N), mixup=0.5, cutmix=0.0)
        assert targets.others is not None
        assert sorted(targets.others.tolist()) == list(range(N)), "each picture is the other one of one"
        expected = targets.share * torch.arange(N) + (1 - targets.share) * targets.others
        torch.testing.assert_close(mixed, expected[:, None, None, None].expand_as(mixed))
        shares.append(targets.share)
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    assert np.mean(shares) == pytest.approx(0.5, abs=0.09)
    assert np.var(shares) == pytest.approx(1 / 8, abs=0.02)


def test_cutmix_puts_a_box_over_a_picture_and_its_label_has_the_area_left() -> None:
    torch.manual_seed(2)
    shares, corners = [], set()
    for _ in range(300):
        x = plain_pictures()
        mixed, targets = mix(x, torch.arange(N), mixup=0.0, cutmix=1.0)
        assert torch.equal(x, plain_pictures()), "the batch itself is left as it was"
        assert targets.others is not None
        box = mixed != x
        moved = targets.others != torch.arange(N)
        boxes = box[moved]
        assert (boxes == boxes[:1, :1]).all(), "the same box in every picture and colour"
        rows, columns = boxes[0, 0].any(1), boxes[0, 0].any(0)
        assert torch.equal(boxes[0, 0], rows[:, None] & columns[None]), "a whole rectangle"
        assert torch.equal(mixed[box], targets.others.float()[:, None, None, None].expand_as(mixed)[box])
        assert targets.share == pytest.approx(1 - boxes[0, 0].float().mean().item())
        shares.append(targets.share)
        if rows.any():
            corners.add((int(rows.nonzero()[0]), int(columns.nonzero()[0])))
    assert len(corners) > 20
    assert 0.5 < np.mean(shares) < 0.75, "more than a half is left: boxes may stick out"


def test_with_both_on_each_batch_has_one_of_the_two() -> None:
    torch.manual_seed(3)
    cut = 0
    for _ in range(100):
        mixed, _ = mix(plain_pictures(), torch.arange(N), mixup=1.0, cutmix=1.0)
        cut += bool((mixed == mixed.round()).all())
    assert 30 < cut < 70


def test_the_same_seed_mixes_the_same() -> None:
    torch.manual_seed(4)
    first, targets = mix(plain_pictures(), torch.arange(N), mixup=0.3, cutmix=0.7)
    torch.manual_seed(4)
    again, targets_again = mix(plain_pictures(), torch.arange(N), mixup=0.3, cutmix=0.7)
    assert torch.equal(first, again)
    assert targets.share == targets_again.share


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_shares_of_two_classes(label_smoothing: float) -> None:
    torch.manual_seed(5)
    logits, labels, others = torch.randn(N, 7), torch.randint(0, 7, (N,)), torch.randint(0, 7, (N,))
    shares = 0.3 * F.one_hot(labels, 7) + 0.7 * F.one_hot(others, 7)
    expected = F.cross_entropy(logits, shares, label_smoothing=label_smoothing)
    found = Targets(labels, others, 0.3).loss(logits, label_smoothing=label_smoothing)
    torch.testing.assert_close(found, expected)


def test_the_dominant_label_is_that_of_the_larger_share() -> None:
    labels, others = torch.zeros(3), torch.ones(3)
    assert Targets(labels, others, 0.6).dominant is labels
    assert Targets(labels, others, 0.4).dominant is others
