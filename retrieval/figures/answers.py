"""What a sheet shows of the answers of a search, and of groups of copies."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.answers import local_time
from retrieval.figures.sheet import SheetRow, Tile
from retrieval.text import file_size

if TYPE_CHECKING:
    from retrieval.duplicates.keep import DuplicateGroup, DuplicatePhoto
    from retrieval.searching.search import Answer


def search_rows(answers: Iterable["Answer"], *, labelled: bool = False) -> list[SheetRow]:
    """Return a row for each answer: the query at the left, scores and names below what was found.

    For labels alone there is a grid, with probabilities.
    """
    rows = []
    for answer in answers:
        found = tuple(
            Tile(result.path, (f"{result.score:.1%}" if labelled else f"{result.score:.3f}", result.path.name))
            for result in answer.results
        )
        asked = Path(answer.query)
        try:
            is_photo = asked.is_file()
        except (OSError, ValueError):  # words can be too long for a name
            is_photo = False
        left = Tile(asked, ("query", asked.name)) if is_photo else Tile(None, (answer.query,))
        rows.append(SheetRow(found, None if labelled else left))
    return rows


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
            tiles.append(Tile(photo.path, (heading, *lines), frozenset(differs)))
        rows.append(SheetRow(tuple(tiles)))
    return rows
