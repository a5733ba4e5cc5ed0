"""How all pictures look: colours on light and dark, sizes, fonts, and text that is safe to draw.

Text is drawn by Pillow's own font. What that font lacks, such as accents or Hebrew, is drawn by a font of the machine
or of matplotlib where there is one; what no font has is drawn without its accents, or as a square.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from PIL import ImageDraw, ImageFont

from retrieval.text import printable

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

TEXT, SMALL = 16, 13
"""Sizes of text in pixels."""
GAP, MARGIN = 8, 20
UNKNOWN = "□"
OTHER_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")
"""Looked for where the system keeps its fonts."""


@dataclass(frozen=True)
class Theme:
    """Colours: of the paper, text, text that matters less, lines, what stands out; and of bars behind text."""

    paper: str
    ink: str
    grey: str
    line: str
    accent: str
    bar: str
    accent_bar: str


LIGHT = Theme("#ffffff", "#202124", "#6b7075", "#d4d7da", "#c2410c", "#cfe0f3", "#f9cdb4")
DARK = Theme("#17181a", "#e8eaed", "#9aa0a6", "#3c4043", "#ff8a5c", "#2b4561", "#7a3a1c")
BLUE = "#1c7ed6"
"""What is not text, such as a bar of a chart, on light and on dark."""
SERIES = ("#e4572e", BLUE, "#2f9e44", "#ae3ec9", "#f08c00", "#0c8599", "#c2255c", "#5c7cfa", "#74b816", "#495057")
"""Things that are told apart by their colours, on light and on dark: boxes, the lines of a chart."""


@cache
def font(size: int) -> Font:
    """Return Pillow's own font at a size."""
    return ImageFont.load_default(size)


@cache
def _other_font(size: int) -> Font | None:
    """Return a font with more letters at a size, None where there is none."""
    places = list(OTHER_FONTS)
    package = find_spec("matplotlib")  # which is not imported for that
    if package is not None and package.origin is not None:
        places.append(str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / OTHER_FONTS[0]))
    for place in places:
        try:
            return ImageFont.truetype(place, size)
        except OSError:
            continue
    return None


@cache
def _has(chosen: Callable[[int], Font | None], character: str) -> bool:
    known = chosen(TEXT)
    if known is None:
        return False
    # A font draws what it does not have as what nothing has.
    return character.isspace() or bytes(known.getmask(character)) != bytes(known.getmask("\uffff"))


def drawable(text: str, size: int = TEXT) -> tuple[str, Font]:
    """Return a text in one line with what cannot be drawn replaced, and the font that draws it."""
    text = printable(text)
    if all(_has(font, character) for character in text):
        return text, font(size)
    other = _other_font(size)
    chosen = font if other is None else _other_font
    safe = "".join(_replaced(character, chosen) for character in text)
    return safe, other or font(size)


def _replaced(character: str, chosen: Callable[[int], Font | None]) -> str:
    if _has(chosen, character):
        return character
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn"):
        return ""
    if character == "×":
        return "x"
    plain = unicodedata.normalize("NFKD", character)[0]
    return plain if _has(chosen, plain) else UNKNOWN if _has(chosen, UNKNOWN) else "?"


def text_width(text: str, size: int = TEXT) -> int:
    """Return how wide a text is, in pixels."""
    safe, chosen = drawable(text, size)
    return round(chosen.getlength(safe, direction=_direction(chosen)))


def _direction(chosen: Font) -> Literal["ltr"] | None:
    """Return which way lines run: a name that begins with a Hebrew letter keeps its suffix at the right.

    Only Raqm lays out text of two directions, and Pillow's own font is drawn without it.
    """
    with_raqm = isinstance(chosen, ImageFont.FreeTypeFont) and chosen.layout_engine == ImageFont.Layout.RAQM
    return "ltr" if with_raqm else None


def write_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    colour: str,
    size: int = TEXT,
    *,
    bold: bool = False,
) -> None:
    """Draw a text with its upper left corner at a place; `bold` in strokes that are thicker."""
    safe, chosen = drawable(text, size)
    draw.text(place, safe, colour, chosen, stroke_width=size / 40 if bold else 0, direction=_direction(chosen))


def shortened(text: str, width: int, size: int = TEXT) -> str:
    """Return a text that fits into a width, with an ellipsis in its middle where something was left out."""
    text = printable(text)
    if text_width(text, size) <= width:
        return text
    least, most = 0, len(text) - 1
    while least < most:  # the most characters that fit
        kept = (least + most + 1) // 2
        if text_width(_without_middle(text, kept), size) <= width:
            least = kept
        else:
            most = kept - 1
    return _without_middle(text, least)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
