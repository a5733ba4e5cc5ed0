"""Answers queries from an index: photos by what they look like, or by what is in them."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.catalog.rows import has_direction
from index.catalog.selection import Selection
from index.errors import PhotoError, UserError
from index.files import absolute
from index.photo_index import PhotoIndex
from index.records import SearchResult, SkippedPhoto
from retrieval.models.model import Model, model_word
from retrieval.pipeline.executor import in_batches
from retrieval.searching.copies import best_contents, marked
from retrieval.searching.labels import classes_called
from retrieval.searching.query import Box, QueryPhoto, embed_query_images, embed_query_photos, unit

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH_SIZE = 32
# With a photo to look for, only those count as labelled that are named so with this probability: it balances precision
# and recall, for single classes and for words that mean several (benchmarks/labels.py, docs/results.md).
LEAST_PROBABILITY = 0.2
# What is subtracted counts half (after Rocchio 1971): counted whole, whatever is unlike it would come first.
UNLIKE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """The best results for what a query asks: a photo, several as one, or labels, which then mean these `classes`."""

    query: str
    results: list[SearchResult]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """What is looked for, and which photos may be an answer.

    `photos`, and `images` that a program has decoded, ask each by itself, or with `average` all as one; they should not
    look like the photos of `unlike`. Without either, what is looked for are the `labels`; with them only photos with
    one of these are results. Of results there are only those below the folders `within`, if there are any. For `box`
    and `mirror` see `embed_query_photos`, for `recall` `PhotoIndex.search`. `min_score` is the least score, or for
    labels alone the least probability. With `collapse` there is one result of each content, and none that is a file of
    the query; without it such results are marked.
    """

    photos: tuple[Path, ...] = ()
    average: bool = False
    unlike: tuple[Path, ...] = ()
    box: Box | None = None
    mirror: bool = False
    labels: tuple[str, ...] = ()
    within: tuple[Path, ...] = ()
    top: int = 10
    min_score: float | None = None
    recall: float | None = None
    images: "tuple[Image, ...]" = ()
    collapse: bool = False


def search_index(
    index: PhotoIndex,
    model: Model,
    query: Query,
    *,
    skipped: list[SkippedPhoto],
    standard_input: BinaryIO | None = None,
) -> Iterator[Answer]:
    """Yield the best results for each photo of a query, or for all as one, or for its labels.

    Photos that cannot be read are appended to `skipped`. Raises PhotoError if that is one that is named, and is one of
    several that make one query; UserError for a label that is none, a folder that is not indexed, a box that is not
    inside the one photo.
    """
    classes = dict.fromkeys(
        known for label in query.labels for known in classes_called(label, model.spec, model=model_word(model.path))
    )
    among = Selection(
        folders=tuple(Path(absolute(folder)) for folder in query.within),
        classes=tuple(known.id or known.name for known in classes),
    )
    if not query.photos and not query.images:
        among = replace(among, min_probability=query.min_score or 0.0)
        names = tuple(known.name for known in classes)
        [results] = _answers(index, query, lambda k: [index.most_probable(among, k)], [()])
        yield Answer(", ".join(query.labels), results, names)
        return
    among = replace(among, min_probability=LEAST_PROBABILITY)
    if query.box is not None and (len(query.photos) > 1 or os.path.isdir(query.photos[0])):
        raise UserError("a box is a region of one photo; name just that")
    embed = partial(embed_query_photos, index, model, mirror=query.mirror, skipped=skipped)
    away = UNLIKE_WEIGHT * _mean(list(embed(query.unlike)), query.unlike, skipped) if query.unlike else None
    photos = chain(
        embed(query.photos, box=query.box, standard_input=standard_input), embed_query_images(model, query.images)
    )
    asked: Iterable[tuple[tuple[Path, ...], NDArray[np.float32]]] = (
        ((photo.path,), photo.embedding) for photo in photos
    )
    if query.average:
        together = list(photos)
        asked = [(tuple(photo.path for photo in together), _mean(together, query.photos, skipped))]
    for batch in in_batches(asked, BATCH_SIZE):
        embeddings = np.stack([embedding if away is None else unit(embedding - away) for _, embedding in batch])
        find = partial(index.search, embeddings, min_score=query.min_score, among=among, recall=query.recall)
        files = [{Path(absolute(path)) for path in paths} for paths, _ in batch]
        answers = _answers(index, query, find, files)
        yield from (
            Answer(" + ".join(map(str, paths)), results) for (paths, _), results in zip(batch, answers, strict=True)
        )


def _answers(
    index: PhotoIndex,
    query: Query,
    find: Callable[[int], Sequence[Sequence[SearchResult]]],
    files: Sequence[Collection[Path]],
) -> list[list[SearchResult]]:
    """Find the best results of several queries, whose `files` are those asked with, copies taken together or marked."""
    if query.collapse:
        return best_contents(index, find, files, query.top)
    return [marked(results, asked) for results, asked in zip(find(query.top), files, strict=True)]


def _mean(photos: Sequence[QueryPhoto], named: Sequence[Path], skipped: Sequence[SkippedPhoto]) -> NDArray[np.float32]:
    """Average embeddings to (dim,) of unit length. Raises PhotoError where one of `named` is missing, or all are."""
    for photo in skipped:
        if photo.path in named:
            raise PhotoError(f"cannot read {photo.path}: {photo.reason}")
    if not photos:
        raise PhotoError(f"there is no photo in {', '.join(map(str, named))}")
    mean: NDArray[np.float32] = np.mean([photo.embedding for photo in photos], axis=0)
    if not has_direction(mean):
        raise PhotoError(f"{', '.join(map(str, named))} have nothing in common")
    return unit(mean)
