"""What each part of a recipe is worth: the first `alexnet-64`, with and without it, on some classes of a data set.

    python benchmarks/recipes.py DATA -o RESULTS.json [--classes N] [--epochs N] [--seeds N] [--only NAME]…
    python benchmarks/recipes.py DATA -o RESULTS.json --time ROUNDS [--epochs N] [--only NAME]…

DATA is a data set as `fc7 train` takes it. A training that RESULTS.json holds already is not done again, so that this
can be stopped at any time, and given more seeds later. The table has mean and standard deviation over the seeds of the
last epoch's accuracy on whole crops. With --time nothing but time is measured, on a CPU the processor's, with every
32nd picture, in so many rounds: the variants take turns epoch by epoch, so that other work on the machine meets them
alike. RESULTS.json then holds each epoch's time, and the table the sum of each epoch's least, as a ratio to the first
row's.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from index.files import replacing
from retrieval.pipeline.machine import usable_cores
from training.data.dataset import Dataset, Split, scan_dataset
from training.data.normalisation import learn_normalisation
from training.data.pictures import load_dataset
from training.loop.hardware import Hardware, choose_hardware
from training.loop.recipe import RECIPES
from training.loop.trainer import Trainer
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET_64, AlexNetConfig, ConvLayer

CLASSES_SEED = 0
FIRST = "as it was first"
TIMED = 32
"""Of so many pictures one is trained on to measure time: with 20 classes, two batches an epoch."""

FIRST_RECIPE = replace(RECIPES["alexnet-64"], dropout=0.3)
FIRST_SHAPE = replace(
    ALEXNET_64,
    convs=(
        ConvLayer(64, 5, stride=2, padding=2, pool=True),
        ConvLayer(160, 3, padding=1),
        ConvLayer(224, 3, padding=1),
        ConvLayer(224, 3, padding=1),
        ConvLayer(128, 3, padding=1, pool=True),
    ),
)
"""What alexnet-64 was before it was compared with the others here, and became what it is."""


def scaled(shape: AlexNetConfig, factor: float) -> AlexNetConfig:
    """Return a shape with `factor` times as many maps and hidden neurons."""
    convs = tuple(replace(conv, filters=round(conv.filters * factor)) for conv in shape.convs)
    first, second = shape.hidden
    return replace(shape, convs=convs, hidden=(round(first * factor), round(second * factor)))


def fine_conv1() -> AlexNetConfig:
    """Return the first shape that looks at every pixel, and pools after conv2 too, so that fc6 stays as large."""
    conv1, conv2, *rest = FIRST_SHAPE.convs
    return replace(FIRST_SHAPE, convs=(replace(conv1, stride=1), replace(conv2, pool=True), *rest))


@dataclass(frozen=True)
class Variant:
    """What differs from the first recipe and shape of alexnet-64."""

    recipe: dict[str, Any] = field(default_factory=dict)
    config: AlexNetConfig = FIRST_SHAPE


VARIANTS = {
    FIRST: Variant(),
    "no label smoothing": Variant({"label_smoothing": 0.0}),
    "mixup 0.2": Variant({"mixup": 0.2}),
    "CutMix 1": Variant({"cutmix": 1.0}),
    "erasing 0.5": Variant({"erasing": 0.5}),
    "average of weights 0.99": Variant({"ema": 0.99}),
    "no mirror images": Variant({"mirror": False}),
    "colour noise 0.1": Variant({"colour_noise": 0.1}),
    "full size from the start": Variant({"grow": ""}),
    "dropout 0": Variant({"dropout": 0.0}),
    "dropout 0.5": Variant({"dropout": 0.5}),
    "conv1 stride 1, pool2": Variant(config=fine_conv1()),
    "half as wide": Variant(config=scaled(FIRST_SHAPE, 0.5)),
    "1.5 times as wide": Variant(config=scaled(FIRST_SHAPE, 1.5)),
    "as it is now": Variant({"dropout": RECIPES["alexnet-64"].dropout}, ALEXNET_64),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to keep results in, and to resume from")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=RECIPES["alexnet-64"].epochs)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant")
    parser.add_argument("--time", type=int, metavar="ROUNDS", help="measure how long each takes instead")
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="variants to train")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()

    hardware = choose_hardware(arguments.device)
    dataset = part_of(scan_dataset(arguments.data), arguments.classes)
    settings = {
        "data": dataset.fingerprint,
        "classes": [known.id or known.name for known in dataset.classes],
        "epochs": arguments.epochs,
    }
    found = read_results(arguments.out, settings)
    chosen = [name for name in VARIANTS if not arguments.only or name in arguments.only]
    if arguments.time:
        dataset = replace(dataset, train=every(TIMED, dataset.train), validation=every(TIMED, dataset.validation))
    print(
        f"{len(dataset.train)} pictures of {len(dataset.classes)} classes for training, "
        f"{len(dataset.validation)} for validation"
    )
    print(f"{arguments.epochs} epochs on {hardware.device}; {platform.machine()}, {usable_cores()} cores, ", end="")
    print(f"Python {platform.python_version()}, torch {torch.__version__}\n", flush=True)
    pictures, validation = load_dataset(dataset, ALEXNET_64.resize, hardware=hardware)

    def new_trainer(name: str, seed: int) -> Trainer:
        recipe = FIRST_RECIPE.changed(**VARIANTS[name].recipe, seed=seed, epochs=arguments.epochs)
        if len(pictures) < recipe.batch_size:
            sys.exit(f"{len(pictures)} pictures are fewer than a batch of {recipe.batch_size}; take more classes")
        torch.manual_seed(seed)
        return Trainer(
            AlexNet(replace(VARIANTS[name].config, dropout=recipe.dropout), len(dataset.classes)),
            recipe,
            pictures=pictures,
            validation=validation,
            normalisation=learn_normalisation(recipe, pictures),
            device=hardware.device,
        )

    # Seed by seed, so that there is a whole table early.
    for seed in range(0 if arguments.time else arguments.seeds):
        for name in chosen:
            if any(result["variant"] == name and result["seed"] == seed for result in found["results"]):
                continue
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
            trainer = new_trainer(name, seed)
            while trainer.epoch < arguments.epochs:
                trainer.train_epoch()
            last = trainer.history[-1]
            rates = {"top1": last.validation_top1, "top5": last.validation_top5, "train_top1": last.train_top1}
            found["results"].append({"variant": name, "seed": seed, **rates})
            write_results(arguments.out, found)
    for number in range(arguments.time or 0):
        print(f"round {number}", file=sys.stderr, flush=True)
        trainers = {name: new_trainer(name, 0) for name in chosen}
        epochs = [
            {name: timed(trainer, hardware) for name, trainer in trainers.items()} for _ in range(arguments.epochs)
        ]
        for name in chosen:
            found["times"].setdefault(name, []).append([seconds[name] for seconds in epochs])
        write_results(arguments.out, found)
    print_table(found)


def every(step: int, split: Split) -> Split:
    """Return every `step`th picture of a split."""
    return Split(split.paths[::step], split.labels[::step])


def part_of(dataset: Dataset, count: int) -> Dataset:
    """Return the data set of `count` classes alone, drawn by a seed."""
    if count > len(dataset.classes):
        sys.exit(f"{dataset.root} has {len(dataset.classes)} classes; give --classes up to that")
    kept = sorted(random.Random(CLASSES_SEED).sample(range(len(dataset.classes)), count))
    numbers = {old: new for new, old in enumerate(kept)}

    def part(split: Split) -> Split:
        pairs = [(p, numbers[label]) for p, label in zip(split.paths, split.labels, strict=True) if label in numbers]
        return Split(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))

    classes = tuple(dataset.classes[old] for old in kept)
    return Dataset(dataset.root, classes, part(dataset.train), part(dataset.validation))


def read_results(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return {"settings": settings, "results": [], "times": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    if found["settings"] != settings:
        sys.exit(f"{path} holds results of other classes or epochs; name another file with -o")
    found.setdefault("times", {})
    return found


def write_results(path: Path, found: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(found, indent=1).encode())


def timed(trainer: Trainer, hardware: Hardware) -> float:
    """Train an epoch; return how long it took, on a CPU in the processor's seconds."""
    clock = time.process_time if hardware.device.type == "cpu" else time.perf_counter
    start = clock()
    trainer.train_epoch()
    return clock() - start


def print_table(found: dict[str, Any]) -> None:
    print("| alexnet-64 | n | top-1 | top-5 | top-1 in training | time |\n|---|---|---|---|---|---|")
    took = {name: sum(map(min, zip(*rounds, strict=True))) for name, rounds in found["times"].items()}
    for name in VARIANTS:
        results = [result for result in found["results"] if result["variant"] == name]
        if results or name in took:
            rates = [spread([100 * row[key] for row in results]) for key in ("top1", "top5", "train_top1")]
            ratio = f"{took[name] / took[FIRST]:.2f}" if name in took and FIRST in took else ""
            print(f"| {name} | {len(results)} | {' | '.join(rates)} | {ratio} |")


def spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f} %" if len(values) > 1 else f"{mean} %"


if __name__ == "__main__":
    main()
