"""What a sheet shows of the answers of a search, of classified photos, and of groups of copies."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from index.files import absolute
from index.object_path import as_path
from retrieval.answers import Classification, local_time
from retrieval.figures.rows import Bar, SheetRow, Tile
from retrieval.models.spec import ClassName
from retrieval.pipeline.embed import STANDARD_INPUT
from retrieval.searching.labels import plain
from retrieval.text import file_size

if TYPE_CHECKING:
    from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
    from retrieval.searching.search import Answer

FEW, FEW_SIDE, MANY_SIDE = 3, 400, 240
"""So many classified photos are shown in squares of a larger side."""


def search_rows(
    answers: Iterable["Answer"], *, labelled: bool = False, standard_input: bytes | None = None
) -> list[SheetRow]:
    """Return a row for each answer: the query at the left, scores and names below what was found.

    For labels alone there is a grid, with probabilities. `standard_input` is the photo that the query - stands for.
    """
    rows = []
    for answer in answers:
        found = tuple(
            Tile((result.path,), (f"{result.score:.1%}" if labelled else f"{result.score:.3f}", result.path.name))
            for result in answer.results
        )
        asked = {path: _source(path, standard_input) for path in answer.photos}
        photos = tuple(source for source in asked.values() if source is not None)
        names = [shown_name(path) for path in asked]
        if not photos:
            left = Tile((), (answer.query,))
        elif len(names) == 1:
            left = Tile(photos, ("query", *names))
        else:
            left = Tile(photos, (f"query: {len(names)} photos together", *names[:2], *["…"][: len(names) - 2]))
        rows.append(SheetRow(found, None if labelled else left))
    return rows


def shown_name(path: Path) -> str:
    """Return what a photo is called below it."""
    return "standard input" if path == STANDARD_INPUT else path.name


def _source(path: Path, standard_input: bytes | None) -> Path | bytes | None:
    return standard_input if path == STANDARD_INPUT else path


def classified_rows(
    photos: Iterable[Classification],
    classes: Iterable[ClassName],
    *,
    standard_input: bytes | None = None,
) -> list[SheetRow]:
    """Return a grid of photos, each above its most probable names as bars (Krizhevsky et al. 2012, figure 4).

    The names are those of the table, terms first and guesses with a "?"; where all are guesses it says "unsure".

    The true label is that of the class, or of the user's own label, which a photo's folder is called by; its bar is
    marked. A few photos are shown larger.
    """
    known = {plain(word): found for found in classes for word in (found.name, *found.synonyms, found.id) if word}
    tiles = []
    for photo in photos:
        path, predictions = photo.path or Path(), photo.predictions
        folder = plain(as_path(absolute(path)).parent.name) if path != STANDARD_INPUT else ""
        truth = known.get(folder)
        own = next((found.label for found in predictions if found.group and plain(found.label) == folder), "")
        bars = tuple(
            Bar(
                f"{found.label}{'?' * guess}",
                found.probability,
                own == found.label or (truth is not None and (truth.name, truth.id) == (found.label, found.id)),
            )
            for found, guess in photo.told
        )
        source = _source(path, standard_input)
        title = truth.name if truth is not None else own
        lines = (shown_name(path), *(["unsure"] if photo.unsure else []))
        tiles.append(Tile(() if source is None else (source,), lines, title=title, bars=bars))
    return [SheetRow(tuple(tiles), side=FEW_SIDE if len(tiles) <= FEW else MANY_SIDE)] if tiles else []


def duplicate_rows(groups: Iterable["DuplicateGroup"]) -> list[SheetRow]:
    """Return a row for each group, the best first; what differs from the best is marked below the others."""
    parts: tuple[Callable[[DuplicatePhoto], str], ...] = (
        lambda photo: photo.path.name,
        lambda photo: f"{photo.width} x {photo.height}",
        lambda photo: file_size(photo.size),
        lambda photo: f"{local_time(photo.mtime_ns):%Y-%m-%d %H:%M}",
        lambda photo: str(photo.path.parent),
    )
    rows = []
    for group in groups:
        best = group.photos[0]
        tiles = []
        for photo in group.photos:
            lines = tuple(part(photo) for part in parts)
            differs = {number for number, part in enumerate(parts, 1) if part(photo) != part(best)}
            heading = f"{group.likeness}: best" if photo is best else group.likeness
            tiles.append(Tile((photo.path,), (heading, *lines), frozenset(differs)))
        rows.append(SheetRow(tuple(tiles)))
    return rows
