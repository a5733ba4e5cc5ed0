"""What sheets and previews in a terminal show: rows of photos, each with text and bars below it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from index.errors import PhotoError
from retrieval.figures.style import GAP, SMALL, TEXT
from retrieval.pipeline.executor import prepare_photos
from retrieval.text import printable

SIDE = 200
"""Of the square that a photo is shown in, unless its row has another."""
WIDTH = 6 * (SIDE + GAP) - GAP
"""Of photos beside each other; a longer row goes on below."""
LARGE = 320
"""From this side of a photo on, its text is larger."""
BELOW = 20
"""Between the lines of a row."""
TOGETHER = 3
"""At most so many photos by so many are shown in one square."""

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Bar:
    """A name with a share from 0 to 1, and whether it is the true one, which has another colour."""

    label: str
    share: float
    true: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """Photos, files or the bytes of such, in one square, or without any the first line; and what is below them.

    That is a title, lines, of which those of `marked` numbers are coloured, and bars.
    """

    photos: tuple[Path | bytes, ...]
    lines: tuple[str, ...]
    marked: frozenset[int] = frozenset()
    title: str = ""
    bars: tuple[Bar, ...] = ()

    @property
    def across(self) -> int:
        """How many photos are beside each other in the square; those that do not fit are left out."""
        return min(TOGETHER, math.ceil(math.sqrt(len(self.photos)))) or 1

    @property
    def words(self) -> str:
        """What stands in the place of photos where there are none."""
        return printable(self.lines[0] if self.lines else "")

    def height(self, side: int, sizes: Sequence[tuple[int, int] | None]) -> int:
        """Return how high its photos are in a square of a side, or the words in their place, in units.

        The sizes are those of the photos (width, height) in pixels, None for one that cannot be read.
        """
        if self.across > 1:
            return -(-len(sizes) // self.across) * (side // self.across)
        size = sizes[0] if sizes else None
        return side // 2 if size is None else math.ceil(size[1] * min(1.0, side / max(size)))


@dataclass(frozen=True)
class SheetRow:
    """Photos beside each other in squares of a side, and what stands at their left, if anything."""

    tiles: tuple[Tile, ...]
    left: Tile | None = None
    side: int = SIDE

    @property
    def all_tiles(self) -> tuple[Tile, ...]:
        """Those at the left and the others."""
        return self.tiles if self.left is None else (self.left, *self.tiles)

    @property
    def columns(self) -> int:
        """How many tiles are beside each other, without that at the left."""
        return max(1, min(len(self.tiles), (WIDTH + GAP) // (self.side + GAP)))

    @property
    def lines(self) -> Iterator[list[tuple[Tile, int]]]:
        """The tiles that are beside each other, each with its distance from the left edge; at least one line."""
        pitch = self.side + GAP
        start = 0 if self.left is None else pitch
        for first in range(0, max(len(self.tiles), 1), self.columns):
            tiles = self.tiles[first : first + self.columns]
            line = [(tile, start + place * pitch) for place, tile in enumerate(tiles)]
            yield line if first or self.left is None else [(self.left, 0), *line]

    @property
    def width(self) -> int:
        """The width of all tiles, in units."""
        return (self.columns + (self.left is not None)) * (self.side + GAP) - GAP

    @cached_property
    def titled(self) -> bool:
        """Whether any of its tiles has a title: then all have room for one."""
        return any(tile.title for tile in self.all_tiles)

    @cached_property
    def most_lines(self) -> int:
        """How many lines of text there are below a photo, where there are most of them."""
        return max(len(tile.lines) for tile in self.all_tiles)

    @cached_property
    def text_height(self) -> int:
        """The height of what is below a photo, where there is most of it."""
        bars = max(len(tile.bars) for tile in self.all_tiles)
        return 4 + (self.titled + self.most_lines) * self.line_height + bars * self.bar_height

    @property
    def text_size(self) -> int:
        """The size of text."""
        return TEXT if self.side >= LARGE else SMALL

    @property
    def line_height(self) -> int:
        """The height of a line of text."""
        return self.text_size + 5

    @property
    def bar_height(self) -> int:
        """The height of a bar, with its distance from the next."""
        return self.text_size + 10

    @property
    def tile_height(self) -> int:
        """The height of a tile whose photo is as high as its square."""
        return self.side + self.text_height

    @property
    def height(self) -> int:
        """The height of all lines of tiles, where each has such a photo."""
        return max(1, -(-len(self.tiles) // self.columns)) * (self.tile_height + BELOW) - BELOW


def pictures_of(
    rows: Sequence[SheetRow], load: Callable[[Path | bytes, int], Shown]
) -> Iterator[tuple[Shown | PhotoError, ...]]:
    """Yield the photos of each tile, row by row, the left one first, as `load` gives them for a side of pixels.

    They are loaded by as many threads as there are cores, a few tiles ahead. In the place of a photo that cannot be
    read is the error. There are twice as many pixels as units.
    """

    def loaded(photo: Path | bytes, side: int) -> Shown | PhotoError:
        try:
            return load(photo, side)
        except PhotoError as error:
            return error

    def tile_pictures(asked: tuple[Tile, int]) -> tuple[Shown | PhotoError, ...]:
        tile, side = asked
        return tuple(loaded(photo, 2 * (side // tile.across)) for photo in tile.photos[: tile.across**2])

    for _, shown in prepare_photos(((tile, row.side) for row in rows for tile in row.all_tiles), tile_pictures):
        assert not isinstance(shown, PhotoError)
        yield shown
