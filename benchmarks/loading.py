"""Whether pictures come as fast as a network learns them: training against the same steps on a batch that is there.

    python benchmarks/loading.py [DATA] [--arch ARCH] [--pictures N] [--rounds N] [--batch-size N] [--device D] [-o OUT]

DATA is a data set as `fc7 train` takes it; without it, photos of 500×400 pixels are made. A round is an epoch over a
single batch that lies on the device and is handed out again and again, one over N pictures kept in memory, and one over
the same N read by worker processes; round follows round, so that all three see the same machine. The first warms up and
does not count. Given are pictures a second, their ratio to those of the batch that is there, and the share of the time
spent waiting: medians over rounds. On a CPU the workers take from the network what they use themselves, so what the
cores can do at most is given too: cores ÷ (CPU seconds of a step + CPU seconds of decoding), for one picture. There the
first and the last are then compared again with the network on one half of the cores and the workers on the other.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from report import FOUND, Goal, save, table
from torch import Tensor

from index.records import SkippedPhoto
from training.data.dataset import Split, scan_dataset
from training.data.normalisation import learn_normalisation
from training.data.pictures import FolderPictures, MemoryPictures, Pictures, square
from training.loop.hardware import choose_hardware
from training.loop.optimisation import chosen_precision, name_of
from training.loop.recipe import RECIPES, Recipe
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet
from training.networks.architectures import CONFIGS, AlexNetConfig

READY, KEPT, READ = "one batch, on the device", "kept in memory", "read by workers"
HALF = "the network on half of the cores: "
CLASSES = 10


@dataclass(frozen=True)
class Round:
    """An epoch: pictures a second, the share of it spent waiting, CPU seconds of this process for one picture."""

    rate: float
    waiting: float
    cpu: float


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
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--arch", choices=list(CONFIGS), default="alexnet-64")
    parser.add_argument("--pictures", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.data is None:
            split, classes, what = sample_split(Path(temporary), arguments.pictures), CLASSES, "500×400 JPEGs"
        else:
            split, classes = part_of(arguments.data, arguments.pictures)
            what = f"pictures of {arguments.data.name}"
        compare(arguments, split, classes, what)


def compare(arguments: argparse.Namespace, split: Split, classes: int, what: str) -> None:
    hardware, config = choose_hardware(arguments.device), CONFIGS[arguments.arch]
    memory = MemoryPictures(split, config.resize, device=hardware.device)
    few = MemoryPictures(first(split, 8), config.resize, device=hardware.device)
    recipe = steady(RECIPES[config.arch], rounds=arguments.rounds, batch_size=min(arguments.batch_size, len(memory)))

    def read_by(workers: int) -> FolderPictures:
        return FolderPictures(split, config.resize, device=hardware.device, workers=workers)

    def measured(kinds: Mapping[str, Pictures]) -> dict[str, list[Round]]:
        trainers = trainers_of(config, recipe, kinds, few, classes, hardware.device)
        return measure(trainers, rounds=arguments.rounds)

    ready = OneBatch(memory, recipe.batch_size)
    found = measured({READY: ready, KEPT: memory, READ: read_by(hardware.workers)})
    precision = name_of(chosen_precision(recipe, hardware.device))
    text = (
        f"{config.arch}, {len(memory):,} {what}, batches of {recipe.batch_size}, {precision}, "
        f"{hardware.workers} workers, {arguments.rounds} rounds:\n\n"
    )
    rows = rows_of(found)
    goals = [
        Goal(f"training on pictures {KEPT} ÷ on a batch that is there", 0.9, ratios(found, KEPT)),
        Goal(f"training on photos {READ} ÷ on a batch that is there", 0.9, ratios(found, READ)),
    ]
    notes = ""
    if hardware.device.type == "cpu":
        step, decoding = median(one.cpu for one in found[READY]), decoding_seconds(split.paths, config.resize)
        notes = (
            f"\n\nA step takes {1e3 * step:.1f} ms of CPU for a picture and decoding it {1e3 * decoding:.1f} ms: "
            f"workers on the same cores leave a ratio of at most {step / (step + decoding):.2f}."
        )
        if (half := torch.get_num_threads() // 2) > 0:
            torch.set_num_threads(half)
            halved = measured({READY: ready, READ: read_by(half)})
            rows += [[HALF + name, *rest] for name, *rest in rows_of(halved)]
            goals.append(Goal(f"the same, {HALF}{READ} ÷ {READY}", 0.9, ratios(halved, READ)))
    text += table(("pictures", "a second", "ratio", "waiting"), rows) + notes
    save(arguments.out, "loading", text=text, goals=goals, packages=["torch", "pillow"])


def rows_of(found: Mapping[str, Sequence[Round]]) -> list[list[str]]:
    """Return a row of the table for each kind of pictures."""
    rows = []
    for name, rounds in found.items():
        rate, ratio = median(one.rate for one in rounds), median(ratios(found, name))
        rows.append([name, f"{rate:,.0f}", f"{ratio:.2f}", f"{median(one.waiting for one in rounds):.1%}"])
    return rows


def sample_split(folder: Path, count: int) -> Split:
    """Write sample photos, and spread them over classes."""
    from sample_photos import SMALL, write_photos  # where DATA is given, the packages that it needs are not

    return Split(tuple(write_photos(folder, count, SMALL)), tuple(number % CLASSES for number in range(count)))


def part_of(data: Path, count: int) -> tuple[Split, int]:
    """Return `count` training pictures of a data set, drawn by a seed, and its number of classes."""
    dataset = scan_dataset(data)
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))[:count].tolist()
    return dataset.train.take(order), len(dataset.classes)


def first(split: Split, count: int) -> Split:
    """Return the first pictures of a split."""
    return Split(split.paths[:count], split.labels[:count])


def steady(recipe: Recipe, *, rounds: int, batch_size: int, **values: str) -> Recipe:
    """Return a recipe with which every epoch does the same work, `rounds` of them after one to warm up."""
    return recipe.changed(grow="", epochs=rounds + 1, batch_size=batch_size, warmup=0.0, lr=0.001, **values)


def trainers_of(
    config: AlexNetConfig,
    recipe: Recipe,
    kinds: Mapping[str, Pictures],
    few: Pictures,
    classes: int,
    device: torch.device,
) -> dict[str, Trainer]:
    """Return a trainer, with a network of its own, for each kind of pictures; `few` are for what else it needs."""
    trainers = {}
    for name, pictures in kinds.items():
        torch.manual_seed(0)
        trainers[name] = Trainer(
            AlexNet(config, classes),
            recipe,
            pictures=pictures,
            validation=few,
            normalisation=learn_normalisation(recipe, few),
            device=device,
        )
    return trainers


def measure(trainers: Mapping[str, Trainer], *, rounds: int) -> dict[str, list[Round]]:
    """Train all in turn, `rounds` times after once to warm up."""
    found: dict[str, list[Round]] = {name: [] for name in trainers}
    for _ in range(rounds + 1):
        for name, trainer in trainers.items():
            before = time.process_time()
            trainer.train_epoch()
            cpu = (time.process_time() - before) / (trainer.steps * trainer.recipe.batch_size)
            row = trainer.history[-1]
            found[name].append(Round(row.pictures_per_second, row.waiting, cpu))
    return {name: of_kind[1:] for name, of_kind in found.items()}


def ratios(found: Mapping[str, Sequence[Round]], name: str) -> tuple[float, ...]:
    """Return for each round the rate of one kind of pictures ÷ that of the batch that is there."""
    return tuple(one.rate / ready.rate for one, ready in zip(found[name], found[READY], strict=True))


def decoding_seconds(paths: Sequence[Path], size: int) -> float:
    """Return the CPU seconds that decoding takes for a picture, one after the other, over up to 256 of them."""
    some = paths[:256]
    before = time.process_time()
    for path in some:
        square(path, size)
    return (time.process_time() - before) / len(some)


if __name__ == "__main__":
    main()
