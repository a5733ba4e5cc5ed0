"""Names as if all classes were equally frequent: logit adjustment by what a network expects of each class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.data.augment import Normalisation, centre_crops
from training.data.pictures import Pictures
from training.errors import DatasetError
from training.export.embedding import chosen
from training.networks.alexnet import AlexNet

RAREST = 0.1
"""A class counts as no rarer than this share of the mean one: how rare it is beyond that, the pictures hardly say."""


@torch.inference_mode()
def adjust_logits(
    network: AlexNet,
    pictures: Pictures,
    normalisation: Normalisation,
    groups: Sequence[slice],
    *,
    tau: float,
    seed: int = 0,
) -> None:
    """Take `tau` times the logarithm of each class's prior off its bias, in each group of classes on its own.

    Menon et al. (2021), "Long-tail learning via logit adjustment", section 4.1. The prior is the mean probability that
    the network gives the class over the pictures that `chosen` names: for photos without labels nothing else is known.
    A network may expect other classes of pictures of another kind (sharp ones, drawings), so they should be like those
    that the model is for. Pictures count alike, however often training drew them, and those of all groups count for
    each group. With 1 a class that was seldom in training is named as easily as one that was in it often; 0 leaves all
    as it is. Raises DatasetError if no picture can be read.
    """
    network.eval()
    crop = network.config.crop
    total = torch.zeros(network.classes, dtype=torch.float64)
    for pixels, _ in pictures.batches(chosen(len(pictures), seed), 256):
        if not len(pixels):
            continue
        logits = network(centre_crops(pixels, crop, normalisation))
        for group in groups:
            total[group] += torch.softmax(logits[:, group].double(), dim=1).sum(0).cpu()
    if not bool(total.any()):
        raise DatasetError("none of the photos that show how frequent each class is could be read", hint="give others")
    for group in groups:
        network.fc8.bias[group] -= (tau * log_prior(total[group])).to(network.fc8.bias)


def log_prior(total: Tensor) -> Tensor:
    """Return the logarithms (classes,) of priors, given sums of probabilities (classes,); the mean prior has 0."""
    share = total / total.mean().clamp(min=1e-12)
    return share.clamp(min=RAREST).log()
