"""How well a model names labelled pictures, and how well its embeddings find others of the same class."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import UserError
from index.records import Prediction, SkippedPhoto
from retrieval.evaluation.metrics import mean_average_precision, precision_at_k, top_k_accuracy
from retrieval.models.spec import ModelSpec
from retrieval.pipeline.embed import Embedder, embed_paths
from retrieval.pipeline.progress import Progress


@dataclass(frozen=True)
class PictureResult:
    """One picture: its class, what it was taken for, and the place of its own class in the ranking, 1 the best."""

    path: Path
    label: str
    id: str | None
    predicted: Prediction
    rank: int


@dataclass(frozen=True)
class Evaluation:
    """Shares from 0 to 1 over `pictures` pictures; in retrieval each picture queries all others.

    NaN where there is nothing to measure: retrieval if no class has two pictures, P@10 if there are fewer than 11.
    """

    pictures: int
    classes: int
    top1: float
    top5: float
    precision_at_1: float
    precision_at_10: float
    mean_average_precision: float
    results: tuple[PictureResult, ...]
    skipped: tuple[SkippedPhoto, ...]


@dataclass(frozen=True)
class Neighbours:
    """Shares from 0 to 1 over `pictures` pictures, each of which queries all others; NaN as in `Evaluation`."""

    pictures: int
    classes: int
    precision_at_1: float
    precision_at_10: float
    mean_average_precision: float
    skipped: tuple[SkippedPhoto, ...]


def evaluate_neighbours(
    model: Embedder[Any], paths: Sequence[Path], labels: Sequence[int], *, progress: Progress | None = None
) -> Neighbours:
    """Measure P@1, P@10 and mAP on pictures of any classes, which the model need not know.

    Pictures that cannot be read are left out and listed. Raises UserError if fewer than two are left.
    """
    skipped: list[SkippedPhoto] = []
    photos = embed_paths(model, list(paths), skipped=skipped, progress=progress)
    found = [(photo.path, photo.embedding) for photo in photos]
    targets = _targets([path for path, _ in found], paths, labels)
    return neighbours_of(np.stack([embedding for _, embedding in found]), targets, skipped)


def neighbours_of(
    embeddings: NDArray[np.float32], targets: NDArray[np.int64], skipped: Sequence[SkippedPhoto]
) -> Neighbours:
    """Measure embeddings (n, dim) of pictures of the classes `targets` (n,)."""
    return Neighbours(
        pictures=len(targets),
        classes=len(set(targets.tolist())),
        precision_at_1=precision_at_k(embeddings, targets, 1),
        precision_at_10=precision_at_k(embeddings, targets, 10) if len(targets) > 10 else nan,
        mean_average_precision=mean_average_precision(embeddings, targets),
        skipped=tuple(skipped),
    )


def evaluate(
    model: Embedder[Any], paths: Sequence[Path], labels: Sequence[int], *, progress: Progress | None = None
) -> Evaluation:
    """Measure top-1 and top-5 accuracy, P@1, P@10 and mAP on pictures whose labels number `model.spec.classes`.

    Pictures that cannot be read are left out and listed. Raises UserError if fewer than two are left.
    """
    skipped: list[SkippedPhoto] = []
    photos = embed_paths(model, list(paths), skipped=skipped, progress=progress)
    # Without fc7, which is not needed and the longest by far.
    described = [(photo.path, photo.probabilities, photo.embedding) for photo in photos]
    found = [path for path, _, _ in described]
    targets = _targets(found, paths, labels)
    probabilities = np.stack([row for _, row, _ in described])
    return evaluate_answers(model, found, targets, probabilities, np.stack([row for _, _, row in described]), skipped)


def _targets(found: Sequence[Path], paths: Sequence[Path], labels: Sequence[int]) -> NDArray[np.int64]:
    """Return the labels of the pictures that were read. Raises UserError for fewer than two."""
    if len(found) < 2:
        raise UserError(f"{len(found)} readable pictures are too few to evaluate; give a folder with more")
    label_of = dict(zip(paths, labels, strict=True))
    return np.array([label_of[path] for path in found])


def evaluate_answers(
    model: Embedder[Any],
    paths: Sequence[Path],
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    skipped: Sequence[SkippedPhoto],
) -> Evaluation:
    """Measure what was said of pictures with classes (n,): probabilities (n, classes) and embeddings (n, dim)."""
    probabilities = within_groups(probabilities, targets, model.spec)
    near = neighbours_of(embeddings, targets, skipped)
    return Evaluation(
        pictures=near.pictures,
        classes=near.classes,
        top1=top_k_accuracy(probabilities, targets, 1),
        top5=top_k_accuracy(probabilities, targets, 5),
        precision_at_1=near.precision_at_1,
        precision_at_10=near.precision_at_10,
        mean_average_precision=near.mean_average_precision,
        results=tuple(
            _result(model, path, row, int(target))
            for path, row, target in zip(paths, probabilities, targets, strict=True)
        ),
        skipped=near.skipped,
    )


def within_groups(
    probabilities: NDArray[np.float32], targets: NDArray[np.integer], spec: ModelSpec
) -> NDArray[np.float32]:
    """Return probabilities (n, classes), -1 in groups of classes that are not those of the picture's target (n,)."""
    if len(spec.slices) < 2:
        return probabilities
    found = np.full_like(probabilities, -1)
    for group in spec.slices.values():
        rows = (targets >= group.start) & (targets < group.stop)
        found[rows, group] = probabilities[rows, group]
    return found


def _result(model: Embedder[Any], path: Path, probabilities: NDArray[np.float32], target: int) -> PictureResult:
    known = model.spec.classes[target]
    rank = int((~(probabilities < probabilities[target])).sum())  # NaN is a mistake, as in `top_k_accuracy`
    return PictureResult(path, known.name, known.id, model.top_predictions(probabilities, 1)[0], rank)
