"""Whether pictures come as fast as a network learns them: training against the same steps on a batch that is there.

    python benchmarks/loading.py DATA [--arch ARCH] [--pictures N] [--rounds N] [--batch-size N] [--device D]

DATA is a data set as `fc7 train` takes it. A round is an epoch over a single batch that lies on the device and is
handed out again and again, one over N pictures kept in memory, and one over the same N read by worker processes;
round follows round, so that all three see the same machine. The first warms up and does not count. Given are pictures
a second, their ratio to those of the batch that is there, and the share of the time spent waiting: medians over
rounds.
"""

import argparse
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from index.records import SkippedPhoto
from training.architectures import CONFIGS
from training.dataset import Split, scan_dataset
from training.hardware import Hardware, choose_hardware
from training.networks import AlexNet
from training.normalisation import learn_normalisation
from training.pictures import FolderPictures, MemoryPictures, Pictures
from training.precision import name_of
from training.recipe import RECIPES, Recipe
from training.trainer import Trainer


class OneBatch:
    """As many pictures as others have, of which one batch is handed out again and again."""

    def __init__(self, pictures: Pictures, batch_size: int) -> None:
        self.skipped: list[SkippedPhoto] = []
        self._count = len(pictures)
        self._pixels, self._labels = next(pictures.batches(torch.arange(batch_size), batch_size))

    def __len__(self) -> int:
        return self._count

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batch as often as there are batches in `order`."""
        for _ in range(-(-len(order) // batch_size)):
            yield self._pixels, self._labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--arch", choices=list(CONFIGS), default="alexnet-64")
    parser.add_argument("--pictures", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()

    hardware = choose_hardware(arguments.device)
    dataset = scan_dataset(arguments.data)
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))[: arguments.pictures]
    split = Split(
        tuple(dataset.train.paths[n] for n in order.tolist()), tuple(dataset.train.labels[n] for n in order.tolist())
    )
    size = CONFIGS[arguments.arch].resize
    memory = MemoryPictures(split, size, device=hardware.device)
    recipe = RECIPES[arguments.arch].changed(
        grow="", epochs=arguments.rounds + 1, batch_size=min(arguments.batch_size, len(memory)), warmup=0.0, lr=0.001
    )
    kinds: dict[str, Pictures] = {
        "one batch, on the device": OneBatch(memory, recipe.batch_size),
        "kept in memory": memory,
        f"read by {hardware.workers} workers": FolderPictures(
            split, size, device=hardware.device, workers=hardware.workers
        ),
    }
    few = MemoryPictures(Split(split.paths[:8], split.labels[:8]), size, device=hardware.device)
    trainers = {
        name: trainer_of(recipe, pictures, few, len(dataset.classes), hardware) for name, pictures in kinds.items()
    }
    for _ in range(recipe.epochs):
        for trainer in trainers.values():
            trainer.train_epoch()

    first, *_ = rows = [trainer.history[1:] for trainer in trainers.values()]
    print(
        f"{arguments.arch}, {len(memory)} pictures, batches of {recipe.batch_size}, {arguments.rounds} rounds, ", end=""
    )
    print(f"{name_of(next(iter(trainers.values())).precision)} on {hardware.device}")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    print("\n| pictures | a second | ratio | waiting |\n|---|---|---|---|")
    for name, history in zip(trainers, rows, strict=True):
        rate = median(row.pictures_per_second for row in history)
        pairs = zip(history, first, strict=True)
        ratio = median(row.pictures_per_second / other.pictures_per_second for row, other in pairs)
        print(f"| {name} | {rate:,.0f} | {ratio:.2f} | {median(row.waiting for row in history):.1%} |")


def trainer_of(recipe: Recipe, pictures: Pictures, few: Pictures, classes: int, hardware: Hardware) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        AlexNet(CONFIGS[recipe.arch], classes),
        recipe,
        pictures=pictures,
        validation=few,
        normalisation=learn_normalisation(recipe, few),
        device=hardware.device,
    )


if __name__ == "__main__":
    main()
