"""What pictures are drawn on: a layout in units, which a sharp picture has two pixels or more for, light or dark."""

import math
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from retrieval.figures.style import DARK, LIGHT, SMALL, TEXT, Theme, shortened, text_width, write_text


@dataclass(frozen=True)
class Look:
    """How a picture is to look: in which colours, and with how many pixels for a unit of length."""

    dark: bool = False
    scale: int = 1

    @property
    def theme(self) -> Theme:
        """The colours."""
        return DARK if self.dark else LIGHT

    def width_of(self, text: str, size: int = TEXT) -> int:
        """Return how many units a text of a size needs."""
        return math.ceil(text_width(text, size * self.scale) / self.scale)


PLAIN = Look()


class Canvas:
    """A picture of `width` by `height` units; places and lengths are in units, and sizes of text too."""

    def __init__(self, width: int, height: int, look: Look = PLAIN) -> None:
        self.look, self.theme = look, look.theme
        self.image = Image.new("RGB", (width * look.scale, height * look.scale), self.theme.paper)
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str,
        size: int = SMALL,
        *,
        width: int,
        align: Literal["left", "centre", "right"] = "left",
        bold: bool = False,
    ) -> None:
        """Write a line into a width from its upper left corner; what is wider is shortened in the middle."""
        scale = self.look.scale
        short = shortened(text, width * scale, size * scale)
        spare = width - text_width(short, size * scale) / scale
        x += {"left": 0.0, "centre": spare / 2, "right": spare}[align]
        write_text(self._draw, (round(x * scale), round(y * scale)), short, colour, size * scale, bold=bold)

    def picture(self, x: int, y: int, side: int, picture: Image.Image) -> None:
        """Paste a picture, whole, into a square: at its bottom, close to the text below it.

        One that is smaller than the square has a unit for each of its pixels.
        """
        scale = self.look.scale
        factor = min(1.0, side / max(picture.size)) * scale
        width, height = (max(1, round(length * factor)) for length in picture.size)
        # Photos come at twice the size, and the means of four pixels are what they need.
        whole = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=1.0)
        self.image.paste(whole, (x * scale + (side * scale - width) // 2, (y + side) * scale - height))

    def paste(self, x: float, y: float, picture: Image.Image) -> None:
        """Paste a picture, whose pixels stay as they are, with its upper left corner at a place."""
        self.image.paste(picture, (round(x * self.look.scale), round(y * self.look.scale)))

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str = "", outline: str = "", line: int = 1
    ) -> None:
        """Draw a rectangle, its outline `line` units wide; one that is less than a pixel wide is left out."""
        scale = self.look.scale
        left, top = round(x * scale), round(y * scale)
        right, bottom = round((x + width) * scale) - 1, round((y + height) * scale) - 1
        if right >= left and bottom >= top:
            self._draw.rectangle((left, top, right, bottom), fill or None, outline or None, width=line * scale)
