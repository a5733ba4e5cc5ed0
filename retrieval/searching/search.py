"""Answers queries from an index: photos by what they look like, by words, or by what is in them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.catalog.own_labels import SURE
from index.catalog.rows import has_direction
from index.catalog.schema import OWN
from index.catalog.selection import Selection
from index.errors import PhotoError, UserError
from index.files import absolute, known_place
from index.object_path import as_path
from index.records import IncompletePhoto, SearchResult, SkippedPhoto
from index.searchable import SearchableIndex
from retrieval.models.model import Model, model_word
from retrieval.photos.files import is_folder
from retrieval.pipeline.executor import in_batches
from retrieval.searching.copies import best_contents, looked_for, marked, there_first
from retrieval.searching.labels import classes_called
from retrieval.searching.own_labels import stored_name
from retrieval.searching.query import (
    Box,
    MainPart,
    QueryPhoto,
    embed_query_images,
    embed_query_photos,
    embed_query_texts,
    is_text,
    unit,
)

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
    """The best results for what a query asks: a photo, words, several as one, or labels, which mean these `classes`.

    `photos` are those that were asked with, as they were named; words and pictures that are no files are not there.
    """

    query: str
    results: list[SearchResult]
    classes: tuple[str, ...] = ()
    photos: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Query:
    """What is looked for, and which photos may be an answer.

    `photos`, `images` that a program has decoded, and `texts`, for a model with a text half, ask each by itself, or
    with `average` all as one; results should not be like the photos of `unlike` and the words of `unlike_texts`.
    Without any, what is looked for are the `labels`; with them only photos with one of these are results. Of results
    there are only those below the folders `within`, if there are any, and with `since` or `before` those that a camera
    dated from the one moment on, and before the other. For `box` and `mirror` see `embed_query_photos`,
    with `detect` only the main thing in each photo is looked at (retrieval/detection), for `recall`
    `PhotoIndex.search`. `min_score` is the least score, or for labels alone the least probability. With
    `collapse` there is one result of each content, and none that is a file of the query; without it they are marked.
    """

    photos: tuple[Path, ...] = ()
    average: bool = False
    unlike: tuple[Path, ...] = ()
    box: Box | None = None
    mirror: bool = False
    detect: bool = False
    labels: tuple[str, ...] = ()
    within: tuple[Path, ...] = ()
    since: datetime | None = None
    before: datetime | None = None
    top: int = 10
    min_score: float | None = None
    recall: float | None = None
    images: "tuple[Image, ...]" = ()
    texts: tuple[str, ...] = ()
    unlike_texts: tuple[str, ...] = ()
    collapse: bool = False
    embedded: tuple[QueryPhoto, ...] = ()
    """Photos whose embeddings are known already; they ask as `photos` do."""
    unlike_embedded: tuple[QueryPhoto, ...] = ()

    @property
    def for_labels(self) -> bool:
        """Whether labels alone are asked for."""
        return not (self.photos or self.images or self.texts or self.embedded)


def search_index(
    index: SearchableIndex,
    model: Model,
    query: Query,
    *,
    skipped: list[SkippedPhoto],
    incomplete: list[IncompletePhoto] | None = None,
    standard_input: BinaryIO | None = None,
) -> Iterator[Answer]:
    """Yield the best results for each photo of a query, then for each text, or for all as one, or for its labels.

    Photos that cannot be read are appended to `skipped`, those of which a part is missing to `incomplete`.
    Raises PhotoError if one that is named cannot be read, and is one of several that make one query; UserError for a
    label that is none, a folder that is not indexed, a box that is not inside the one photo, words where the model has
    no text half.
    """
    own = {label: name for label in query.labels if (name := stored_name(index, label)) is not None}
    meant = [label for label in query.labels if label not in own]
    word = model_word(model.path)
    classes = dict.fromkeys(known for label in meant for known in classes_called(label, model.spec, model=word))
    among = Selection(
        folders=tuple(known_place(as_path(absolute(folder)), index.roots()) for folder in query.within),
        classes=(*(OWN + name for name in own.values()), *(known.id or known.name for known in classes)),
        since=query.since,
        before=query.before,
    )
    if query.for_labels:
        among = replace(among, min_probability=query.min_score or 0.0)
        names = (*own.values(), *(known.name for known in classes))
        [results] = _answers(index, query, lambda k: [index.most_probable(among, k)], [()])
        yield Answer(", ".join(query.labels), results, names)
        return
    among = replace(among, min_probability=SURE if own else LEAST_PROBABILITY)
    if query.box is not None and (query.texts or len(query.photos) != 1 or is_folder(query.photos[0])):
        raise UserError("a box is a region of one photo; name just that")
    embed = partial(embed_query_photos, index, model, mirror=query.mirror, skipped=skipped, incomplete=incomplete)
    if query.detect and query.box is not None:
        raise UserError("a box and what is detected are two regions", hint="leave out one of --box and --detect")
    away = None
    if query.unlike or query.unlike_texts or query.unlike_embedded:
        unlike = [*query.unlike_embedded, *embed(query.unlike), *embed_query_texts(model, query.unlike_texts)]
        away = UNLIKE_WEIGHT * _mean(unlike, query.unlike, skipped)
    photos = chain(
        query.embedded,
        embed(
            query.photos,
            box=query.box,
            main_part=_main_part(model) if query.detect else None,
            standard_input=standard_input,
        ),
        embed_query_images(model, query.images),
        embed_query_texts(model, query.texts),
    )
    asked: Iterable[tuple[str, tuple[Path, ...], NDArray[np.float32]]]
    asked = ((photo.name, _paths([photo]), photo.embedding) for photo in photos)
    if query.average:
        together = list(photos)
        name = " + ".join(photo.name for photo in together)
        asked = [(name, _paths(together), _mean(together, query.photos, skipped))]
    for batch in in_batches(asked, BATCH_SIZE):
        embeddings = np.stack([embedding if away is None else unit(embedding - away) for *_, embedding in batch])
        find = partial(index.search, embeddings, min_score=query.min_score, among=among, recall=query.recall)
        answers = _answers(index, query, find, [_files(paths) for _, paths, _ in batch])
        yield from (
            Answer(name, results, photos=paths) for (name, paths, _), results in zip(batch, answers, strict=True)
        )


def _main_part(model: Model) -> MainPart:
    """Return what cuts the main thing out of a photo. Raises NoMapError and MissingPackageError."""
    from retrieval.detection.convolutional import ScoreMaps  # most searches do not need it
    from retrieval.detection.detect import cut_out

    return partial(cut_out, ScoreMaps.of(model.path, model.spec))


def _paths(photos: Sequence[QueryPhoto]) -> tuple[Path, ...]:
    """Return the photos that are asked with, as they are named; words have none."""
    return tuple(photo.path for photo in photos if isinstance(photo.path, Path))


def _files(paths: Sequence[Path]) -> set[Path]:
    """Return the files of photos, as absolute paths."""
    return {as_path(absolute(path)) for path in paths}


def _answers(
    index: SearchableIndex,
    query: Query,
    find: Callable[[int], Sequence[Sequence[SearchResult]]],
    files: Sequence[Collection[Path]],
) -> list[list[SearchResult]]:
    """Find the best results of several queries, whose `files` are those asked with, copies taken together or marked."""
    if query.collapse:
        return best_contents(index.photos, find, files, query.top)
    return [
        there_first(marked(looked_for(results), asked)) for results, asked in zip(find(query.top), files, strict=True)
    ]


def with_texts(query: Query, index: SearchableIndex, model: Model) -> Query:
    """Return a query in which those of its photos that are words, by `is_text`, are its texts."""
    photos, texts = _told_apart(query.photos, index, model)
    unlike, unlike_texts = _told_apart(query.unlike, index, model)
    return replace(query, photos=photos, texts=texts, unlike=unlike, unlike_texts=unlike_texts)


def _told_apart(
    named: Sequence[Path], index: SearchableIndex, model: Model
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    texts = [is_text(path, index, model) for path in named]
    return (
        tuple(path for path, text in zip(named, texts, strict=True) if not text),
        tuple(str(path) for path, text in zip(named, texts, strict=True) if text),
    )


def _mean(photos: Sequence[QueryPhoto], named: Sequence[Path], skipped: Sequence[SkippedPhoto]) -> NDArray[np.float32]:
    """Average embeddings to (dim,) of unit length. Raises PhotoError where one of `named` is missing, or all are."""
    for photo in skipped:
        if photo.path in named:
            raise PhotoError(f"cannot read {photo.path}: {photo.reason}")
    if not photos:
        raise PhotoError(f"there is no photo in {', '.join(map(str, named))}")
    mean: NDArray[np.float32] = np.mean([photo.embedding for photo in photos], axis=0)
    if not has_direction(mean):
        raise PhotoError(f"{', '.join(photo.name for photo in photos)} have nothing in common")
    return unit(mean)
