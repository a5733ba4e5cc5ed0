"""How sure a model has to be before a photo counts as being of a thing, for `fc7 search PHOTO --label WORD`.

    python benchmarks/labels.py DATA [-m MODEL] [--words dog cat …]

DATA has one folder a class, named by WordNet id, of pictures that the model was not trained on. Of each the five labels
that an index stores are taken. For single classes, and for words that mean several ("dog"), precision, recall and F1
of the photos with at least such a probability: the mean over classes, and over words.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from descriptors import class_folders, read_pictures
from numpy.typing import NDArray
from report import machine, table

from retrieval.models.model import Model
from retrieval.pipeline.stages import LABELS
from retrieval.searching.labels import classes_called

BATCH = 64
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
WORDS = ("dog", "cat", "bird", "fish", "insect", "snake", "monkey", "fruit", "car", "boat", "clothing", "furniture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("--words", nargs="+", default=WORDS)
    parser.add_argument("--pictures", type=int, default=50, help="pictures of each class, at most")
    arguments = parser.parse_args()

    model = Model.load(arguments.model)
    known = [name.id for name in model.spec.classes]
    folders = [name for name in class_folders(arguments.data) if name in known]
    if not folders:
        sys.exit(f"no folder in {arguments.data} has the WordNet id of a class of {model.spec.name} as its name")
    images, labels = read_pictures(arguments.data, folders, most=arguments.pictures)
    truth = np.array([known.index(name) for name in folders])[labels]
    probabilities = np.concatenate(
        [
            stored(model.run(np.stack([model.prepare(image) for image in images[start : start + BATCH]])).probabilities)
            for start in range(0, len(images), BATCH)
        ]
    )
    words = [classes(model, word) for word in arguments.words]
    print(f"{len(images)} pictures of {len(folders)} classes; {model.spec.name} ({model.spec.fingerprint[:12]})")
    named = (f"{word} ({len(found)})" for word, found in zip(arguments.words, words, strict=True))
    print(f"words, and how many classes they mean: {', '.join(named)}")
    print(machine(["numpy", "onnxruntime"]), end="\n\n")
    single = [[known.index(name)] for name in folders]
    rows = [
        (
            f"{threshold:g}",
            *(score for things in (single, words) for score in scores(probabilities, truth, things, threshold)),
        )
        for threshold in THRESHOLDS
    ]
    print(table(("at least", "precision", "recall", "F1", "words: precision", "recall", "F1"), rows))


def classes(model: Model, word: str) -> list[int]:
    """Return the classes that a word means, by their number in the model."""
    return [model.spec.classes.index(name) for name in classes_called(word, model.spec)]


def stored(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities (n, classes) with all but the most probable of each row at zero, as an index has them."""
    least = np.sort(probabilities, axis=1)[:, -LABELS][:, None]
    return np.where(probabilities >= least, probabilities, 0)


def scores(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], things: Sequence[list[int]], threshold: float
) -> tuple[str, str, str]:
    """Return mean precision, recall and F1 over things, each a list of classes; nothing found counts as precision 1."""
    found = []
    for thing in things:
        named = probabilities[:, thing].sum(axis=1) >= threshold
        right = np.isin(truth, thing)
        both = (named & right).sum()
        precision = both / named.sum() if named.any() else 1.0
        found.append((precision, both / right.sum(), 2 * both / (named.sum() + right.sum())))
    precision, recall, f1 = np.mean(found, axis=0)
    return f"{precision:.2f}", f"{recall:.2f}", f"{f1:.2f}"


if __name__ == "__main__":
    main()
