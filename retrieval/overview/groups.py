"""Groups of photos that look alike, so that a few photos show what is in a collection."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError, UserError
from index.photo_index import PhotoIndex
from index.records import SkippedPhoto
from retrieval.photos.previews import Previews
from retrieval.pipeline.progress import Progress
from retrieval.searching.terms import LIKELY

NEAR = 0.9
"""From this cosine on two photos are nearly the same for the eye; only one of them is shown."""
SAMPLED, LEAST_SAMPLED = 40, 4000
"""Photos for each centre, and in all, that the centres are found by."""
ROUNDS = 12
SEED = 2012
LEAST_PROBABILITY = 0.15
"""On the mean of a group, of the label that it is named by; most labels below it are wrong."""
TRIED = 5
"""Photos of a group, until one can be read."""


@dataclass(frozen=True, eq=False)
class Group:
    """The ids (n,) of photos that look alike, the one nearest to their centre first."""

    ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shown:
    """A photo that stands for its group: a preview of it, where its file is, and its id."""

    group: Group
    id: int
    path: Path
    picture: Image.Image


def group_photos(index: PhotoIndex, most: int) -> list[Group]:
    """Divide all photos of an index into at most `most` groups, the largest first.

    Of up to `most` photos each is a group. More are divided by k-means. Groups whose first photos are nearly the same
    become one, so that copies are shown once.
    """
    ids = index.photos.ids()
    if len(ids) <= most:
        groups = [Group(ids[place : place + 1]) for place in range(len(ids))]
    else:
        groups = _nearest_groups(index, centres_of(_sample(index, ids, most), most))
    return _merged(index, sorted(groups, key=lambda group: (-len(group.ids), group.ids[0])))


def centres_of(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return at most `count` centres (m, dim) of unit vectors (n, dim).

    Spherical k-means (Dhillon, Modha 2001), begun as k-means++ does (Arthur, Vassilvitskii 2007).
    """
    random = np.random.default_rng(SEED)
    chosen = [int(random.integers(len(vectors)))]
    apart = np.maximum(1 - vectors @ vectors[chosen[0]], 0).astype(np.float64)
    while len(chosen) < count and apart.max() > 1e-6:
        place = int(np.searchsorted(np.cumsum(apart), random.random() * apart.sum(), side="right"))
        chosen.append(min(place, len(vectors) - 1))
        apart = np.minimum(apart, np.maximum(1 - vectors @ vectors[chosen[-1]], 0))
    centres: NDArray[np.float32] = vectors[chosen]
    of = np.full(len(vectors), -1)
    for _ in range(ROUNDS):
        before, of = of, (vectors @ centres.T).argmax(axis=1)
        if (of == before).all():
            break
        sums = np.zeros_like(centres)
        np.add.at(sums, of, vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)  # an empty one stays
    return centres


def common_labels(index: PhotoIndex, groups: Sequence[Group]) -> list[str]:
    """Return for each group the label that is most probable in its photos on the mean, "" where none is probable.

    As in `fc7 classify`, a "?" is added to a guess: a label that is more likely wrong than right.
    """
    group_of = {int(id): number for number, group in enumerate(groups) for id in group.ids}
    sums = [defaultdict[str, float](float) for _ in groups]
    for id, labels in index.photos.labels_by_id():
        number = group_of.get(id)
        if number is not None:
            for known in labels:
                sums[number][known.label] += known.probability
    names = []
    for group, found in zip(groups, sums, strict=True):
        label = max(found, key=lambda label: (found[label], label), default="")
        mean = found[label] / len(group.ids)
        names.append("" if mean < LEAST_PROBABILITY else label if mean >= LIKELY else f"{label}?")
    return names


def shown_photos(
    index: PhotoIndex,
    groups: Sequence[Group],
    previews: Previews,
    side: int,
    *,
    skipped: list[SkippedPhoto],
    progress: Progress | None = None,
) -> list[Shown]:
    """Return for each group a preview, with a longer side of at most `side` pixels, of its first readable photo.

    What cannot be read goes to `skipped`. Raises UserError for an index without photos, PhotoError where none can be
    read.
    """
    if not groups:
        raise UserError(f"there are no photos in the index in {index.folder}", hint="add some with fc7 index FOLDER")
    tried = np.sort(np.concatenate([group.ids[:TRIED] for group in groups]))
    paths = {file.id: file.path for file in index.photos.files(tried)}
    shown = []
    for number, group in enumerate(groups):
        if progress is not None:
            progress(number, len(groups))
        for id in group.ids[:TRIED].tolist():
            if id in paths:
                try:
                    picture = previews.preview(paths[id], side)
                except PhotoError as error:
                    skipped.append(SkippedPhoto(paths[id], str(error)))
                    continue
                shown.append(Shown(group, id, paths[id], picture))
                break
    if not shown:
        raise PhotoError("no photo of the index can be read now")
    return shown


def _sample(index: PhotoIndex, ids: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    size = min(len(ids), max(SAMPLED * count, LEAST_SAMPLED))
    return index.photos.vectors(np.random.default_rng(SEED).choice(ids, size, replace=False))


def _nearest_groups(index: PhotoIndex, centres: NDArray[np.float32]) -> list[Group]:
    ids, of, nearness = [], [], []
    for batch, vectors in index.photos.vectors_by_id():
        scores = vectors @ centres.T
        ids.append(batch)
        of.append(scores.argmax(axis=1))
        nearness.append(scores.max(axis=1))
    return list(_in_groups(np.concatenate(ids), np.concatenate(of), np.concatenate(nearness)))


def _in_groups(ids: NDArray[np.int64], of: NDArray[np.int64], nearness: NDArray[np.float32]) -> Iterable[Group]:
    order = np.lexsort((ids, -nearness, of))
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    return (Group(part) for part in np.split(ids[order], starts[1:]))


def _merged(index: PhotoIndex, groups: Sequence[Group]) -> list[Group]:
    """Put groups together whose first photos are nearly the same; the larger one comes first in both orders."""
    first = np.array([group.ids[0] for group in groups], np.int64)
    vectors = index.photos.vectors(first)
    if len(vectors) < len(first):  # some were removed meanwhile
        return list(groups)
    vectors = vectors[np.argsort(np.argsort(first))]  # from the order of ids to that of the groups
    scores = vectors @ vectors.T
    kept, parts = list[int](), dict[int, list[NDArray[np.int64]]]()
    for number, group in enumerate(groups):
        near = scores[number, kept]
        if len(near) and near.max() >= NEAR:
            parts[kept[int(near.argmax())]].append(group.ids)
        else:
            kept.append(number)
            parts[number] = [group.ids]
    merged = [Group(np.concatenate(parts[number])) for number in kept]
    return sorted(merged, key=lambda group: -len(group.ids))
