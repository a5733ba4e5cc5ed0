"""How well a label is found that an index was taught by a few photos (`fc7 label add`).

    python benchmarks/own_labels.py DATA [-m MODEL] [--examples 5] [--others 2000] [--labels 24]

DATA has one folder a kind, which no model should have learned from. Each kind in turn is a label: some of its photos
teach it, and the rest are to be found among others of all other kinds, which are the background too. P@10 is that of
the ten most probable; precision and recall are those of photos with a probability of 0.5 or more. Beside it, a search
by the mean of the same photos (`fc7 search --average`). Nothing is kept.
"""

import argparse
from pathlib import Path
from random import Random

import numpy as np
from descriptors import class_folders
from numpy.typing import NDArray
from report import machine, table

from index.catalog.own_labels import SURE, LabelExample
from retrieval.models.model import Model
from retrieval.pipeline.embed import embed_paths
from retrieval.searching.own_labels import BACKGROUND, learn_label

MOST = 60
"""Photos of a kind, at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--others", type=int, default=2000)
    parser.add_argument("--labels", type=int, default=24)
    arguments = parser.parse_args()
    model = Model.load(arguments.model, threads=1)
    kinds, paths = [], []
    for number, name in enumerate(class_folders(arguments.data)):
        found = sorted((arguments.data / name).iterdir())
        Random(0).shuffle(found)
        paths += found[:MOST]
        kinds += [number] * len(found[:MOST])
    photos = list(embed_paths(model, paths, skipped=[]))
    kind_of = dict(zip(paths, kinds, strict=True))
    rows, numbers = np.stack([photo.embedding for photo in photos]), np.array([kind_of[photo.path] for photo in photos])
    print(f"{model.spec.name}; {len(photos)} photos of {len(set(kinds))} kinds, {arguments.examples} teach a label")
    print(machine(["numpy", "onnxruntime"]), end="\n\n")
    chosen = Random(0).sample(sorted(set(kinds)), min(arguments.labels, len(set(kinds))))
    measures = [measured(rows, numbers, kind, arguments.examples, arguments.others) for kind in chosen]
    means = np.nanmean(measures, axis=0)
    print(table(("P@10", "P@10 by the mean", "precision at 0.5", "recall at 0.5"), [tuple(f"{m:.3f}" for m in means)]))


def measured(
    rows: NDArray[np.float32], numbers: NDArray[np.int64], kind: int, examples: int, others: int
) -> tuple[float, float, float, float]:
    """Return P@10 of a label, that of the examples' mean, and precision and recall at 0.5."""
    random = np.random.default_rng(kind)
    own = random.permutation(np.flatnonzero(numbers == kind))
    rest = random.permutation(np.flatnonzero(numbers != kind))[:others]
    taught, gallery = rows[own[:examples]], rows[np.concatenate([own[examples:], rest])]
    wanted = np.arange(len(gallery)) < len(own) - examples
    background = gallery[random.permutation(len(gallery))[:BACKGROUND]]
    classifier = learn_label([LabelExample(Path("x"), row, True) for row in taught], background)
    assert classifier is not None
    probabilities = classifier.probabilities(gallery)[:, 1]
    sure = probabilities >= SURE
    best, by_mean = (np.argsort(-scores)[:10] for scores in (probabilities, gallery @ taught.mean(axis=0)))
    precision = float(wanted[sure].mean()) if sure.any() else np.nan
    return float(wanted[best].mean()), float(wanted[by_mean].mean()), precision, float(sure[wanted].mean())


if __name__ == "__main__":
    main()
