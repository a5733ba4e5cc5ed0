"""The few classes of a data set that lecture.py trains small networks on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from index.records import SkippedPhoto
from retrieval.models.spec import ClassName
from training.data.dataset import Split, scan_dataset
from training.data.pictures import MemoryPictures, Pictures

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """A few classes of a data set, decoded: pictures for training and for validation."""

    classes: tuple[ClassName, ...]
    train: Split
    check: Split
    pictures: Pictures
    checked: Pictures


class StoredPictures:
    """Squares that are decoded already, as `training.data.pictures.Pictures`."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.skipped: list[SkippedPhoto] = []
        self._pixels, self._labels = pixels, labels

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels uint8 (n, size, size, 3), labels int64 (n,))."""
        for numbers in torch.split(order, batch_size):
            yield self._pixels[numbers], self._labels[numbers]


def read_part(data: Path, *, classes: int, each: int, size: int) -> Part:
    """Draw classes by a seed, and `each` training pictures of each; the rest of them and the validation set check."""
    dataset = scan_dataset(data)
    chosen = sorted(random.Random(0).sample(range(len(dataset.classes)), classes))
    learn: list[tuple[Path, int]] = []
    check: list[tuple[Path, int]] = []
    for label, number in enumerate(chosen):
        paths, more = paths_of(dataset.train, number), paths_of(dataset.validation, number)
        random.Random(number).shuffle(paths)
        learn += [(path, label) for path in paths[:each]]
        check += [(path, label) for path in (*paths[each:], *more)]
    train, checked = as_split(learn), as_split(check)
    return Part(
        tuple(dataset.classes[number] for number in chosen),
        train,
        checked,
        MemoryPictures(train, size, device=CPU),
        MemoryPictures(checked, size, device=CPU),
    )


def paths_of(split: Split, label: int) -> list[Path]:
    return [path for path, found in zip(split.paths, split.labels, strict=True) if found == label]


def as_split(pairs: list[tuple[Path, int]]) -> Split:
    return Split(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def middles(pictures: Pictures, crop: int) -> StoredPictures:
    """Return the pictures cut to the central crop, so that a random crop of them is always the same."""
    pixels, labels = next(pictures.batches(torch.arange(len(pictures)), len(pictures)))
    edge = (pixels.shape[1] - crop) // 2
    return StoredPictures(pixels[:, edge:-edge, edge:-edge], labels)
