"""Two pictures made one, with a share of both labels: mixup and CutMix."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Beta


@dataclass(frozen=True)
class Targets:
    """Labels (n,) and, where pictures are mixed, the `others` (n,) that have what `share` leaves."""

    labels: Tensor
    others: Tensor | None = None
    share: float = 1.0

    @property
    def dominant(self) -> Tensor:
        """The label (n,) of which there is more in each picture."""
        return self.labels if self.others is None or self.share >= 0.5 else self.others

    def loss(self, logits: Tensor, *, label_smoothing: float) -> Tensor:
        """Return the mean cross-entropy of logits (n, classes), by the share of each label."""
        loss = F.cross_entropy(logits, self.labels, label_smoothing=label_smoothing)
        if self.others is None:
            return loss
        other = F.cross_entropy(logits, self.others, label_smoothing=label_smoothing)
        return self.share * loss + (1 - self.share) * other


def mix(x: Tensor, labels: Tensor, *, mixup: float, cutmix: float) -> tuple[Tensor, Targets]:
    """Mix each picture of x (n, 3, side, side) with another one of the batch; `mixup` and `cutmix` of 0 are off.

    mixup adds the two up by a share drawn from Beta(mixup, mixup): Zhang, Cissé, Dauphin, Lopez-Paz (2018). CutMix puts
    a box of the other one over a picture, whose area is the rest of a share from Beta(cutmix, cutmix): Yun et al.
    (2019). With both on, a coin decides for each batch. Draws from torch's default generator, on the CPU.
    """
    if not mixup and not cutmix:
        return x, Targets(labels)
    cut = bool(cutmix) and (not mixup or torch.rand(()).item() < 0.5)
    strength = cutmix if cut else mixup
    share = float(Beta(strength, strength).sample())
    partners = torch.randperm(len(x)).to(x.device)
    if not cut:
        return share * x + (1 - share) * x[partners], Targets(labels, labels[partners], share)
    side = x.shape[-1]
    half = side * (1 - share) ** 0.5 / 2
    centres = (side * torch.rand(2)).tolist()
    # A box may stick out of the picture: its label has the share that is left of it.
    (top, bottom), (left, right) = ((max(round(c - half), 0), min(round(c + half), side)) for c in centres)
    x = x.clone()
    x[:, :, top:bottom, left:right] = x[partners, :, top:bottom, left:right]
    return x, Targets(labels, labels[partners], 1 - (bottom - top) * (right - left) / side**2)
