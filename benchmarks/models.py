"""How good and how fast models are, side by side: names, neighbours, megabytes, photos a second.

    python benchmarks/models.py --neighbours FOLDER --names FOLDER [--see PART] [--rate] MODEL...

MODEL is a model file or a name, as for -m. FOLDER has a folder of photos for each class: of `--neighbours` any classes,
best such that no model learned from, each photo queries all others; of `--names` classes of the models by WordNet id,
or photos called <WordNet id>_<name>. A model is judged on those that it has a name for; `among` counts them.
`--see` shows each model another part of a photo than its own: `middle`, the largest square; `seven-eighths`, the middle
7/8 of that; `trimmed`, the middle, at most 5:4, and `whole`, all of it, made a square. The rate is that of one core and
one thread on batches of 16 prepared pictures, all models in turn, seven rounds: the median, the least and the most.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError
from retrieval.evaluation.metrics import mean_average_precision, precision_at_k, top_k_accuracy
from retrieval.models.model import Model, model_file
from retrieval.models.spec import ModelSpec
from retrieval.photos.decode import open_photo
from retrieval.photos.preprocess import as_small_jpeg, resize_only
from retrieval.photos.scan import scan_folder
from retrieval.pipeline.machine import usable_cores

BATCH, ROUNDS = 16, 7
Change = Callable[[Image.Image], Image.Image]
PARTS: dict[str, Callable[[ModelSpec], ModelSpec]] = {
    "seven-eighths": lambda spec: replace(spec, resize=round(spec.crop * 8 / 7), resize_mode="crop"),
    "middle": lambda spec: replace(spec, resize=spec.crop, resize_mode="crop"),
    "trimmed": lambda spec: replace(spec, resize=spec.crop, resize_mode="trim"),
    "whole": lambda spec: replace(spec, resize=spec.crop, resize_mode="squash"),
}


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of photos: those that could be read, probabilities (n, classes), embeddings (n, dim)."""

    photos: list[Path]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", type=Path)
    parser.add_argument("--neighbours", metavar="FOLDER", type=Path)
    parser.add_argument("--names", metavar="FOLDER", type=Path)
    parser.add_argument("--shrunk", metavar="SIDE", type=int, help="shrink photos to SIDE pixels first")
    parser.add_argument("--jpeg", metavar="QUALITY", type=int, help="with --shrunk: save them as JPEGs of this quality")
    parser.add_argument("--see", choices=list(PARTS), help="what part of photos models are shown, other than their own")
    parser.add_argument("--restrict", action="store_true", help="choose names among the classes of --names alone")
    parser.add_argument("--rate", action="store_true", help="measure photos a second too, which wants idle cores")
    arguments = parser.parse_args()

    if arguments.jpeg is not None and arguments.shrunk is None:
        parser.error("--jpeg needs --shrunk")

    def change(image: Image.Image) -> Image.Image:
        pixels = resize_only(image, size=arguments.shrunk)
        if arguments.jpeg is not None:
            pixels = as_small_jpeg(pixels, arguments.shrunk, arguments.jpeg)
        return Image.fromarray(pixels)

    models = [Model.load(path, device="cpu", threads=1) for path in arguments.models]
    if arguments.see:
        for model in models:
            model.spec = PARTS[arguments.see](model.spec)
    rates = measured_rates(models) if arguments.rate else [""] * len(models)
    print("| model | classes | pixels | MB | photos/s on a core | top-1 | top-5 | among | P@1 | P@10 | mAP |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for path, model, rate in zip(arguments.models, models, rates, strict=True):
        names = (
            judged_names(model, arguments.names, change if arguments.shrunk else None, restrict=arguments.restrict)
            if arguments.names
            else ["", "", ""]
        )
        neighbours = judged_neighbours(model, arguments.neighbours) if arguments.neighbours else ["", "", ""]
        size = f"{model_file(path).stat().st_size / 1e6:.1f}"
        row = [model.spec.name, f"{len(model.spec.classes):,}", str(model.spec.crop), size, rate, *names, *neighbours]
        print(f"| {' | '.join(row)} |", flush=True)


def judged_neighbours(model: Model, folder: Path) -> list[str]:
    """Return P@1, P@10 and mAP over the photos of a folder, whose classes are the folders in it."""
    found = answers(model, photos_in(folder))
    classes = [photo.relative_to(folder).parts[0] for photo in found.photos]
    labels = np.unique(classes, return_inverse=True)[1]
    scores = (precision_at_k(found.embeddings, labels, 1), precision_at_k(found.embeddings, labels, 10))
    return [f"{score:.3f}" for score in (*scores, mean_average_precision(found.embeddings, labels))]


def judged_names(model: Model, folder: Path, change: Change | None, *, restrict: bool) -> list[str]:
    """Return top-1 and top-5 over the photos whose class the model has a name for, and how many these are.

    With `restrict` only the names of these classes count; photos are seen as `change` leaves them.
    """
    numbers = {known.id: number for number, known in enumerate(model.spec.classes) if known.id}
    wanted = [photo for photo in photos_in(folder) if wordnet_id(photo) in numbers]
    if not wanted:
        return ["", "", "0"]
    found = answers(model, wanted, change)
    targets = np.array([numbers[wordnet_id(photo)] for photo in found.photos])
    group = next(place for place in model.spec.slices.values() if place.start <= targets[0] < place.stop)
    probabilities = found.probabilities[:, group]
    if restrict:
        others = np.setdiff1d(np.arange(probabilities.shape[1]), targets - group.start)
        probabilities[:, others] = -1
    scores = [f"{top_k_accuracy(probabilities, targets - group.start, k):.1%}" for k in (1, 5)]
    return [*scores, f"{len(targets):,}"]


def wordnet_id(photo: Path) -> str:
    """Return the id that a photo's name begins with, or else the name of its folder."""
    begin = photo.name.split("_")[0]
    return begin if begin[:1] == "n" and begin[1:].isdigit() else photo.parent.name


def photos_in(folder: Path) -> list[Path]:
    return [folder / path.decode() for path in scan_folder(folder).photos]


def answers(model: Model, photos: Sequence[Path], change: Change | None = None) -> Answers:
    """Ask a model about photos, a batch a core; `change` is made of each before it is prepared."""

    def prepared(photo: Path) -> NDArray[np.uint8]:
        image = open_photo(photo, shorter_side=model.resize)
        return model.prepare(image if change is None else change(image))

    def ask(part: Sequence[Path]) -> tuple[list[Path], NDArray[np.float32], NDArray[np.float32]]:
        read, pixels = [], []
        for photo in part:
            try:
                pixels.append(prepared(photo))
            except PhotoError as error:
                print(f"left out: {photo}: {error}")
                continue
            read.append(photo)
        if not pixels:
            return [], np.empty((0, len(model.spec.classes)), np.float32), np.empty((0, model.spec.dim), np.float32)
        found = model.run(pixels)
        return read, found.probabilities, found.embedding

    with ThreadPoolExecutor(usable_cores()) as threads:
        parts = list(threads.map(ask, [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]))
    return Answers(
        [photo for read, _, _ in parts for photo in read],
        np.concatenate([probabilities for _, probabilities, _ in parts]),
        np.concatenate([embeddings for _, _, embeddings in parts]),
    )


def measured_rates(models: Sequence[Model]) -> list[str]:
    """Return photos a second of each model, all models a batch in turn."""
    generator = np.random.default_rng(0)
    batches = [generator.integers(0, 256, (BATCH, m.spec.crop, m.spec.crop, 3), np.uint8) for m in models]
    rates: list[list[float]] = [[] for _ in models]
    for round in range(ROUNDS + 1):
        for model, batch, found in zip(models, batches, rates, strict=True):
            start = time.perf_counter()
            for _ in range(4):
                model.run(batch)
            if round:  # the first one warms up
                found.append(4 * BATCH / (time.perf_counter() - start))
    return [f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})" for found in rates]


if __name__ == "__main__":
    main()
