"""What a model keeps of the pictures that its last layer was learned from, and what can be added to them.

With the embeddings of all of them a new class is learned beside the old ones as if all pictures were given once more.
Means and covariances of the classes would only come near that.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelError
from retrieval.logistic_regression import stratified_folds
from retrieval.models.spec import ClassName, ModelSpec
from retrieval.photos.scan import scan_folder
from training.data.dataset import Dataset, Split, scan_dataset
from training.data.name_tables import read_class_names, wordnet_names
from training.errors import DatasetError

KEPT_BYTES = 4 << 20
"""Most that a model keeps: 8,192 embeddings of 256 values. Of more pictures it keeps a share of each class."""
LEAST_KEPT = 10
"""Embeddings of each class that are kept also beyond that: without any it could not be learned once more."""
SAME = 1 - 1e-5
"""The cosine from which two embeddings are those of one picture: one of them may be rounded to 16 bits."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Embeddings (n, dim) with the numbers of their classes (n,)."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, spec: ModelSpec) -> "Examples":
        """Return what a model keeps. Raises ModelError where it keeps nothing, or what cannot be read."""
        if not spec.examples:
            raise ModelError(
                f"{spec.name} keeps nothing of the pictures that it learned from",
                hint="models of `fc7 train --head` do; leave out --add, and give the folders of all classes",
            )
        try:
            data = base64.b64decode(spec.examples, validate=True)
            count, rest = divmod(len(data), 4 + 2 * spec.dim)
            labels = np.frombuffer(data, "<u4", count).astype(np.int64)
            rows = np.frombuffer(data, "<f2", count * spec.dim, 4 * count).astype(np.float32)
            if rest or not np.isfinite(rows).all() or (labels >= len(spec.classes)).any():
                raise ValueError("they are incomplete")
        except ValueError as error:
            raise ModelError(
                f"the embeddings that {spec.name} keeps cannot be read ({error})",
                hint="leave out --add, and give the folders of all classes",
            ) from error
        rows = rows.reshape(count, spec.dim)
        return cls(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), labels)

    def packed(self) -> str:
        """Return what goes into a model's metadata: labels, then embeddings in 16 bits a number, in base 64."""
        most = max(1, KEPT_BYTES // (2 * self.embeddings.shape[1]))
        chosen = np.arange(len(self.labels))
        if len(chosen) > most:
            share = stratified_folds(self.labels, most=-(-len(chosen) // most)) == 0
            few = np.bincount(self.labels[share], minlength=self.labels.max() + 1)[self.labels] < LEAST_KEPT
            chosen = np.flatnonzero(share | (few & (_ranks(self.labels) < LEAST_KEPT)))
        data = self.labels[chosen].astype("<u4").tobytes() + self.embeddings[chosen].astype("<f2").tobytes()
        return base64.b64encode(data).decode("ascii")

    def without(self, embeddings: NDArray[np.float32]) -> "Examples":
        """Return those that are none of these embeddings (m, dim): a picture given once more has its new class."""
        if not len(self.labels) or not len(embeddings):
            return self
        stays = (self.embeddings @ embeddings.T).max(axis=1) < SAME
        return Examples(self.embeddings[stays], self.labels[stays])


def _ranks(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each label (n,) how many of the same come before it."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return ranks


def scan_additions(roots: Sequence[Path], classes: Sequence[ClassName], *, names: Path | None = None) -> Dataset:
    """Find pictures to add to a model: their classes are those of the model, in its order, and then new ones.

    Each root holds a folder for each class, one or more, or is itself the folder of a class. Raises DatasetError.
    """
    known = wordnet_names() | (read_class_names(names) if names is not None else {})
    found: list[tuple[Path, ClassName]] = []
    beside: list[Path] = []
    for root in roots:
        photos = scan_folder(root).photos if os.path.isdir(root) else []
        if photos and not any(b"/" in photo for photo in photos):
            name = root.resolve().name
            found += [(root / os.fsdecode(photo), known.get(name, ClassName(name))) for photo in photos]
            continue
        dataset = scan_dataset(root, names=names, fewest=1)
        if not dataset.divided:
            raise DatasetError(
                f"{root} has a validation set", hint="with --add name the folder of the training pictures"
            )
        for split in (dataset.train, dataset.validation):
            found += [(path, dataset.classes[label]) for path, label in zip(split.paths, split.labels, strict=True)]
        beside += dataset.classless
    numbers = {one.id or one.name: number for number, one in enumerate(classes)}
    whole = list(classes)
    for _, one in found:
        if (one.id or one.name) not in numbers:
            numbers[one.id or one.name] = len(whole)
            whole.append(one)
    labels = tuple(numbers[one.id or one.name] for _, one in found)
    split = Split(tuple(path for path, _ in found), labels)
    return Dataset(roots[0], tuple(whole), split, Split((), ()), divided=True, classless=tuple(beside))
