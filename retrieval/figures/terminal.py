"""Rows of photos as text for a terminal: pictures by the protocol that it knows, or half-blocks of colour.

A line of photos is one picture, so that it needs no moves of the cursor; what is below them is text.
"""

import base64
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError
from retrieval.figures.rows import SheetRow, Tile, pictures_of
from retrieval.figures.style import DARK
from retrieval.photos.previews import Previews
from retrieval.text import printable

Protocol = Literal["kitty", "iterm2", "sixel", "blocks"]

TILE, BLOCK_TILE, BETWEEN = 24, 30, 2
"""Columns of a photo, also where a column is but one pixel, unless the screen is narrower; and between two."""
PAYLOAD = 4096
"""Characters that the protocol of kitty takes at a time."""
COLOURS = 255
"""Of a sixel picture, as xterm has them."""
BLOCK = (1, 2)
"""Pixels of a character that is a half-block."""
LEFT_TO_RIGHT = "\u200e"
"""Mark on both sides of a text with letters from right to left: without it, terminals that turn such text, as mlterm
does, would turn the whole line, and names would stand below the wrong photos."""
RESET, BOLD, MARK = "\x1b[0m", "\x1b[1m", "\x1b[33m"


@dataclass(frozen=True)
class Screen:
    """What shows pictures: a terminal of so many columns, whose characters have `cell` (width, height) pixels."""

    protocol: Protocol
    columns: int
    cell: tuple[int, int]
    true_colour: bool = True
    plain: bool = False
    """Whether text is without colours, as NO_COLOR asks; pictures have theirs."""

    @property
    def grain(self) -> tuple[int, int]:
        """The pixels (width, height) of a character that pictures have here."""
        return BLOCK if self.protocol == "blocks" else self.cell


def preview_rows(rows: Sequence[SheetRow], previews: Previews, screen: Screen) -> Iterator[str]:
    """Yield each line of photos of a sheet, with the text below them."""
    width = min(BLOCK_TILE if screen.protocol == "blocks" else TILE, screen.columns - 1)
    beside = max(1, (screen.columns - 1 + BETWEEN) // (width + BETWEEN))
    pictures = pictures_of(rows, previews.preview)
    for row in rows:
        tiles = [(tile, next(pictures)) for tile in row.all_tiles]
        for start in range(0, len(tiles), beside):
            line = tiles[start : start + beside]
            strip = _strip([shown for _, shown in line], [tile for tile, _ in line], width, screen)
            drawn = "" if strip is None else shown_in(strip, screen) + "\n"
            yield f"\n{drawn}{_below([_told(tile, shown, width, screen) for tile, shown in line], width)}"


def shown_in(picture: Image.Image, screen: Screen) -> str:
    """Return a picture in RGBA, whole characters wide and high, as text; the cursor ends in its last line."""
    columns, lines = picture.width // screen.grain[0], picture.height // screen.grain[1]
    match screen.protocol:
        case "kitty":
            return _kitty(picture, columns, lines)
        case "iterm2":
            size = f"width={columns};height={lines};preserveAspectRatio=0"
            return f"\x1b]1337;File=inline=1;{size}:{_png(picture)}\x07"
        case "sixel":
            return _sixel(picture)
        case "blocks":
            return _blocks(picture, true_colour=screen.true_colour)


def _strip(
    shown: Sequence[Sequence[Image.Image | PhotoError]], tiles: Sequence[Tile], width: int, screen: Screen
) -> Image.Image | None:
    """Put photos beside each other, on what is transparent; None where there are none."""
    across, high = screen.grain
    side = width * across
    pitch = (width + BETWEEN) * across
    strip = Image.new("RGBA", (len(tiles) * pitch, -(-side // high) * high))
    top = strip.height
    for number, (tile, pictures) in enumerate(zip(tiles, shown, strict=True)):
        part = side // tile.across
        for place, picture in enumerate(pictures):
            if isinstance(picture, PhotoError):
                continue
            below, beside = divmod(place, tile.across)
            lines = -(-len(pictures) // tile.across)
            whole = picture.copy()
            whole.thumbnail((part, part), Image.Resampling.LANCZOS)
            y = strip.height - (lines - below) * part + part - whole.height
            strip.paste(whole, (number * pitch + beside * part, y))
            top = min(top, y)
    if top >= strip.height:
        return None
    return strip.crop((0, max(0, top) // high * high, strip.width - BETWEEN * across, strip.height))


def _told(tile: Tile, shown: Sequence[Image.Image | PhotoError], width: int, screen: Screen) -> list[str]:
    """Return the lines below a tile, each as wide as the tile."""
    reasons = [f"({picture})" for picture in shown if isinstance(picture, PhotoError)]
    lines = [_fitted(reason, width) for reason in reasons]
    if tile.title:
        title = _fitted(tile.title, width)
        lines.append(title if screen.plain else BOLD + title + RESET)
    for number, line in enumerate(tile.lines):
        text = _fitted(line, width)
        lines.append(MARK + text + RESET if number in tile.marked and not screen.plain else text)
    for bar in tile.bars:
        percent = f"{bar.share:4.0%}"
        text = _fitted(bar.label, width - len(percent) - 1) + " " + percent
        ends = _place(text, round(bar.share * width))
        colour = DARK.accent_bar if bar.true else DARK.bar
        if screen.plain:
            lines.append(text)
            continue
        lines.append(_on(colour, true_colour=screen.true_colour) + text[:ends] + RESET + text[ends:])
    return lines


def _below(told: Sequence[list[str]], width: int) -> str:
    """Put lines of text beside each other; all are as wide as a tile."""
    high = max(map(len, told))
    padded = [lines + [" " * width] * (high - len(lines)) for lines in told]
    return "".join((" " * BETWEEN).join(beside).rstrip(" ") + "\n" for beside in zip(*padded, strict=True))


def cells(text: str) -> int:
    """Return how many columns a text takes (UAX 11): a Chinese letter takes two, an accent of its own none."""
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitted(text: str, width: int) -> str:
    """Return a text of just so many columns, with an ellipsis in its middle where something was left out."""
    text = printable(text)
    if cells(text) > width:
        kept = min(len(text) - 1, 2 * width)
        while kept > 0 and cells(short := f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}") > width:
            kept -= 1
        text = short if kept > 0 else "…"
    spare = " " * (width - cells(text))
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in text):
        text = LEFT_TO_RIGHT + text + LEFT_TO_RIGHT
    return text + spare


def _place(text: str, width: int) -> int:
    """Return how many characters of a text take so many columns."""
    taken = 0
    for place, character in enumerate(text):
        taken += _cells(character)
        if taken > width:
            return place
    return len(text)


def _on(colour: str, *, true_colour: bool) -> str:
    """Return what makes text legible on a colour of the dark theme, on a light terminal too."""
    ink, paper = (tuple(bytes.fromhex(part[1:])) for part in (DARK.ink, colour))
    code = _true_colour if true_colour else _colour_of_256
    return f"\x1b[{code(38, ink)};{code(48, paper)}m"


def _of_256(colour: Sequence[int]) -> int:
    """Return the number of the nearest colour of xterm's cube of 6×6×6, or of its greys."""
    levels = (0, 95, 135, 175, 215, 255)
    red, green, blue = (min(range(6), key=lambda level: abs(levels[level] - part)) for part in colour)
    grey = min(23, max(0, round((sum(colour) / 3 - 8) / 10)))
    in_cube = sum((levels[level] - part) ** 2 for level, part in zip((red, green, blue), colour, strict=True))
    as_grey = sum((8 + 10 * grey - part) ** 2 for part in colour)
    return 232 + grey if as_grey < in_cube else 16 + 36 * red + 6 * green + blue


def _png(picture: Image.Image) -> str:
    data = BytesIO()
    picture.save(data, "PNG", compress_level=1)
    return base64.b64encode(data.getvalue()).decode()


def _kitty(picture: Image.Image, columns: int, lines: int) -> str:
    """See https://sw.kovidgoyal.net/kitty/graphics-protocol: a PNG, shown at once, without an answer."""
    data = _png(picture)
    parts = [data[start : start + PAYLOAD] for start in range(0, len(data), PAYLOAD)]
    first = f"a=T,f=100,q=2,c={columns},r={lines},"
    return "".join(
        f"\x1b_G{first if number == 0 else ''}m={int(number < len(parts) - 1)};{part}\x1b\\"
        for number, part in enumerate(parts)
    )


def _sixel(picture: Image.Image) -> str:
    """Return bands of six rows, a colour at a time (DEC, VT330/VT340 Programmer Reference Manual, chapter 14)."""
    height = picture.height // 6 * 6  # another band would begin one more line of text
    picture = picture.crop((0, 0, picture.width, height))
    solid = np.asarray(picture)[..., 3] >= 128
    flat = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT)
    palette = np.array(flat.getpalette() or [], np.uint16).reshape(-1, 3) * 100 // 255
    colours = np.asarray(flat)
    out = [f'\x1bP0;1q"1;1;{picture.width};{height}']
    out += [f"#{number};2;{red};{green};{blue}" for number, (red, green, blue) in enumerate(palette.tolist())]
    weights = (1 << np.arange(6, dtype=np.uint8))[:, None]
    for top in range(0, height, 6):
        band, there = colours[top : top + 6], solid[top : top + 6]
        numbers = np.unique(band[there])
        bits = (((band == numbers[:, None, None]) & there) * weights).sum(1, dtype=np.uint8) + 63
        out += [f"#{number}{_run_lengths(row)}$" for number, row in zip(numbers.tolist(), bits, strict=True)]
        out.append("-")
    return "".join(out[:-1]) + "\x1b\\"


def _run_lengths(codes: NDArray[np.uint8]) -> str:
    """Return what is drawn of one colour in a band; nothing has to be said of what is empty at its end."""
    runs = re.finditer(r"(.)\1*", codes.tobytes().decode("ascii").rstrip("?"))
    return "".join(f"!{len(run[0])}{run[1]}" if len(run[0]) > 3 else run[0] for run in runs)


def _blocks(picture: Image.Image, *, true_colour: bool) -> str:
    """Return two pixels in a character, the upper one as its colour, the lower one as that behind it."""
    pixels = np.asarray(picture).tolist()
    code = _true_colour if true_colour else _colour_of_256
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line, before = [], ""
        for (*above, there), (*below, also) in zip(upper, lower, strict=True):
            if there and also:
                paint, block = f"{code(38, above)};{code(48, below)}", "▀"
            elif there or also:
                paint, block = f"{code(38, above if there else below)};49", "▀" if there else "▄"
            else:
                paint, block = "0", " "
            line.append(block if paint == before else f"\x1b[{paint}m{block}")
            before = paint
        lines.append("".join(line) + RESET)
    return "\n".join(lines)


def _true_colour(kind: int, colour: Sequence[int]) -> str:
    return f"{kind};2;{colour[0]};{colour[1]};{colour[2]}"


def _colour_of_256(kind: int, colour: Sequence[int]) -> str:
    return f"{kind};5;{_of_256(colour)}"
