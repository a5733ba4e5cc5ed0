"""How well a network names the pictures that it was not trained on."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from index.errors import DatasetError
from training.augment import Normalisation, centre_crops
from training.networks import AlexNet
from training.pictures import Pictures


@torch.inference_mode()
def evaluate(
    network: AlexNet, pictures: Pictures, normalisation: Normalisation, *, side: int, half: bool
) -> tuple[float, float, float]:
    """Return mean cross-entropy, top-1 and top-5 accuracy over the central crops, shrunk to `side` pixels."""
    network.eval()
    loss = right = among_five = 0.0
    seen = 0
    for x, labels in _centres(network, pictures, normalisation, side):
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=half):
            logits = network(x)
        logits = logits.float()
        best = logits.topk(min(5, logits.shape[1])).indices
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        right += (best[:, 0] == labels).sum().item()
        among_five += (best == labels[:, None]).any(1).sum().item()
        seen += len(labels)
    if not seen:
        raise DatasetError("none of the validation pictures could be read")
    return loss / seen, right / seen, among_five / seen


def _centres(
    network: AlexNet, pictures: Pictures, normalisation: Normalisation, side: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for pixels, labels in pictures.batches(torch.arange(len(pictures)), 500):
        x = centre_crops(pixels, network.config.crop, normalisation)
        if side != network.config.crop:
            x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        yield x.contiguous(memory_format=torch.channels_last), labels
