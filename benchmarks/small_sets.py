"""A classifier of few classes with few photos each: which features, and whether what is reported holds.

    python benchmarks/small_sets.py DATA [-m MODEL] [--classes 12] [--each 40] [--others 60] [--draws 5] [--seed 0]
        [--only FEATURES] [--fine-tune [--epochs N]]

DATA has one folder a class. Each draw takes some classes and photos at random, learns from them as `fc7 train --head`
does, and is judged by all other photos of these classes, at most `--others` of each. For each kind of feature: top-1 of
the others, its standard deviation over draws, and what 5-fold cross-validation had said. `mirrored` learns from each
photo and its mirror image; `--only embedding` leaves out the other features, which take minutes.

With --fine-tune the commands themselves follow for each draw, from reading the photos to the model file: `fc7 train
--from MODEL --head`, and `fc7 train --from MODEL`, in which all layers learn, with its own recipe or for `--epochs`. A
line for each draw has what fine-tuning made of the validation set: before the first epoch, the least of any epoch, and
the last. Nothing is kept.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from descriptors import class_folders
from numpy.typing import NDArray
from report import machine, table

from retrieval.logistic_regression import cross_validate, fit, stratified_folds
from retrieval.models.model import Model, model_file
from retrieval.photos.decode import open_photo
from retrieval.pipeline.executor import Concurrency, run_in_batches
from training.head.learn import FOLDS

Rows = NDArray[np.float32]
Views = tuple[Rows, Rows]
"""Rows (n, dim) of photos, and of their mirror images."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--each", type=int, default=40, help="photos of each class to learn from")
    parser.add_argument("--others", type=int, default=60, help="other photos of each class, to judge by, at most")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="number of the first draw")
    parser.add_argument("--only", choices=list(FEATURES), help="this kind of feature alone")
    parser.add_argument("--fine-tune", action="store_true")
    parser.add_argument("--epochs", type=int, help="of fine-tuning, by default those of its recipe")
    arguments = parser.parse_args()
    model = Model.load(arguments.model, threads=1)
    folders = class_folders(arguments.data)
    if len(folders) < arguments.classes:
        sys.exit(f"{arguments.data} has {len(folders)} folders; give fewer --classes")
    print(f"{model.spec.name}; {arguments.classes} of {len(folders)} classes, {arguments.each} photos each")
    print(machine(["numpy", "onnxruntime"]), end="\n\n")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        train, others = drawn(
            arguments.data, folders, arguments.classes, arguments.each, most=arguments.others, seed=seed
        )
        views = embedded(model, [path for path, _ in train + others])
        labels, held_out = (np.array([label for _, label in part]) for part in (train, others))
        for name, make in FEATURES.items():
            if arguments.only not in (None, name):
                continue
            rows = make(views)
            for mirrored in (False, True):
                found.setdefault(name + (" mirrored" if mirrored else ""), []).append(
                    measured(rows, labels, held_out, arguments.classes, mirrored=mirrored)
                )
        if arguments.fine_tune:
            for name, values in commands(arguments.model, train, others, epochs=arguments.epochs, draw=seed).items():
                found.setdefault(name, []).append(values)
    rows_of_table = [
        (name, f"{top1.mean():.1%}", f"{top1.std():.1%}", f"{said.mean():.1%}", f"{seconds.mean():.1f}")
        for name, values in found.items()
        for top1, said, seconds in [np.array(values).T]
    ]
    print(table(("features", "top-1", "std", "it had said", "s"), rows_of_table))


def drawn(
    data: Path, folders: Sequence[str], classes: int, each: int, *, most: int, seed: int
) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Draw classes, and of each photos to learn from and others, with their labels."""
    random = Random(seed)
    train, others = [], []
    for label, name in enumerate(random.sample(list(folders), classes)):
        paths = sorted(path for path in (data / name).iterdir() if path.is_file())
        random.shuffle(paths)
        train += [(path, label) for path in paths[:each]]
        others += [(path, label) for path in paths[each : each + most]]
    return train, others


def embedded(model: Model, paths: Sequence[Path]) -> dict[str, Views]:
    """Return embedding and fc7 of photos and of their mirror images."""

    def run(batch: Sequence[tuple[Path, Any]]) -> tuple[Views, Views]:
        pixels: NDArray[np.uint8] = np.stack([prepared for _, prepared in batch])
        plain, mirrored = model.run(pixels), model.run(pixels[:, :, ::-1])
        return (plain.embedding, mirrored.embedding), (plain.fc7, mirrored.fc7)

    def prepare(path: Path) -> Callable[[], NDArray[np.uint8]]:
        return lambda: model.prepare(open_photo(path, shorter_side=model.resize))

    jobs = ((path, prepare(path)) for path in paths)
    parts = list(run_in_batches(jobs, run, Concurrency.chosen(model), at_most=len(paths)))
    return {
        name: (np.concatenate([part[place][0] for part in parts]), np.concatenate([part[place][1] for part in parts]))
        for place, name in enumerate(("embedding", "fc7"))
    }


def unit(rows: Rows) -> Rows:
    """Return rows of unit length."""
    found: Rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def root(rows: Rows) -> Rows:
    """Return square roots of unit length."""
    return unit(np.sqrt(np.maximum(rows, 0)))


def each_view(make: Callable[[Rows], Rows], views: Views) -> Views:
    """Do the same to photos and their mirror images."""
    return make(views[0]), make(views[1])


def both(views: dict[str, Views]) -> Views:
    """Return the embedding with the root of fc7 beside it."""
    first, second = views["embedding"], each_view(root, views["fc7"])
    return np.hstack([first[0], second[0]]), np.hstack([first[1], second[1]])


FEATURES: dict[str, Callable[[dict[str, Views]], Views]] = {
    "embedding": lambda views: views["embedding"],
    "fc7, unit length": lambda views: each_view(unit, views["fc7"]),
    "root of fc7": lambda views: each_view(root, views["fc7"]),
    "embedding and root": both,
}


def measured(
    views: Views, labels: NDArray[np.int64], held_out: NDArray[np.int64], classes: int, *, mirrored: bool
) -> tuple[float, float, float]:
    """Return top-1 of the others, what cross-validation says, and the seconds of learning."""
    began, count = time.perf_counter(), len(labels)
    folds = stratified_folds(labels, most=FOLDS)
    rows, known = views[0][:count], labels
    if mirrored:
        rows, known, folds = np.vstack([rows, views[1][:count]]), np.tile(labels, 2), np.tile(folds, 2)
    found = cross_validate(rows, known, classes, folds=folds)
    classifier = fit(rows, known, classes, strength=found.strength)
    seconds = time.perf_counter() - began
    top1 = (classifier.probabilities(views[0][count:]).argmax(1) == held_out).mean()
    return float(top1), float((found.probabilities.argmax(1) == known).mean()), seconds


def commands(
    named: Path | None,
    train: Sequence[tuple[Path, int]],
    others: Sequence[tuple[Path, int]],
    *,
    epochs: int | None,
    draw: int,
) -> dict[str, tuple[float, float, float]]:
    """Run both ways of `fc7 train --from` on the photos, and measure each as `measured`, reading them included."""
    from commands.training_report import TerminalReport
    from training.data.sources import Source
    from training.head.train_head import train_head
    from training.loop.hardware import choose_hardware
    from training.loop.new_run import first_recipe
    from training.loop.run import train as train_network
    from training.pretrained.fine_tuning import read_pretrained

    start = model_file(named)
    with TemporaryDirectory() as folder, TerminalReport(sys.stderr) as report:
        data, head, tuned = (Path(folder, name) for name in ("data", "head", "tuned"))
        for path, label in train:
            place = data / f"{label:03}"
            place.mkdir(parents=True, exist_ok=True)
            (place / path.name).symlink_to(path.absolute())
        began = time.perf_counter()
        spec = train_head([Source(data)], head, start, report=report).spec
        seconds = time.perf_counter() - began
        found = {"train --head": (judged(head, others), float(spec.accuracy["top1"]), seconds)}

        began = time.perf_counter()
        weights = read_pretrained(start)
        result = train_network(
            data,
            tuned,
            first_recipe(arch=None, start=weights).changed(epochs=epochs),
            hardware=choose_hardware("auto"),
            report=report,
            start=weights,
            start_file=start,
        )
        seconds = time.perf_counter() - began
        assert result.spec is not None, "interrupted"
        found["train --from"] = (judged(tuned, others), float(result.spec.accuracy["top1"]), seconds)
        validation = [row.validation_top1 for row in result.history]
        chosen = "the last layer alone" if "head" in result.spec.training else "the last epoch"
        print(
            f"draw {draw}: validation {validation[0]:.1%} before the first of {len(validation) - 1} epochs, "
            f"{min(validation[1:]):.1%} at the least, {validation[-1]:.1%} after the last; the model: {chosen}; "
            + "; ".join(f"{name} {top1:.1%} in {took:.0f} s" for name, (top1, _, took) in found.items()),
            flush=True,
        )
    return found


def judged(folder: Path, others: Sequence[tuple[Path, int]]) -> float:
    """Return top-1 of the other photos with the model of a run."""
    from retrieval.evaluation.evaluate import evaluate

    model = Model.load(folder / "model.onnx", threads=1)
    return evaluate(model, [path for path, _ in others], [label for _, label in others]).top1


if __name__ == "__main__":
    main()
