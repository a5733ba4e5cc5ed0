"""How well a network names the pictures that it was not trained on."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.augment import Normalisation, centre_crops
from training.data.pictures import Pictures
from training.errors import DatasetError
from training.loop.distributed import ALONE, Processes
from training.networks.alexnet import AlexNet


@torch.inference_mode()
def validate(
    network: AlexNet,
    pictures: Pictures,
    normalisation: Normalisation,
    *,
    side: int,
    precision: torch.dtype = torch.float32,
    processes: Processes = ALONE,
    groups: Sequence[slice] = (),
) -> tuple[float, float, float]:
    """Return mean cross-entropy, top-1 and top-5 accuracy over the central crops, shrunk to `side` pixels.

    Where the classes are several `groups`, a picture is judged among those of its label. Several `processes` measure a
    share each. Raises DatasetError if no picture can be read.
    """
    network.eval()

    def measured() -> list[float]:
        loss = right = among_five = 0.0
        seen = 0
        for x, labels in _centres(network, pictures, normalisation, side, processes):
            with torch.autocast(x.device.type, dtype=precision, enabled=precision != torch.float32):
                logits = network(x)
            logits = within_groups(logits.float(), labels, groups)
            best = logits.topk(min(5, logits.shape[1])).indices
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            right += (best[:, 0] == labels).sum().item()
            among_five += (best == labels[:, None]).any(1).sum().item()
            seen += len(labels)
        return [loss, right, among_five, seen]

    loss, right, among_five, total = processes.sum(processes.together(measured))
    if not total:
        raise DatasetError("none of the validation pictures could be read")
    return loss / total, right / total, among_five / total


def within_groups(logits: Tensor, labels: Tensor, groups: Sequence[slice]) -> Tensor:
    """Return logits (n, classes) with -inf for classes of other groups than that of a picture's label (n,)."""
    if len(groups) < 2:
        return logits
    found = torch.full_like(logits, -torch.inf)
    for group in groups:
        rows = (labels >= group.start) & (labels < group.stop)
        found[rows, group] = logits[rows, group]
    return found


def _centres(
    network: AlexNet, pictures: Pictures, normalisation: Normalisation, side: int, processes: Processes
) -> Iterator[tuple[Tensor, Tensor]]:
    for pixels, labels in pictures.batches(processes.shard(torch.arange(len(pictures))), 500):
        if not len(labels):
            continue
        x = centre_crops(pixels, network.config.crop, normalisation)
        if side != network.config.crop:
            x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
        yield x.contiguous(memory_format=torch.channels_last), labels
