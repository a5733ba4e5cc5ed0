"""The picture of a detection: boxes with their labels on the photo, and beside it the heat map."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from PIL import Image, ImageDraw

from index.errors import OptionError, UserError
from retrieval.detection.detect import Found, Scene
from retrieval.detection.photos import DetectedPhoto
from retrieval.figures.drawing import FORMATS, check_suffix, fitted, save, warmed
from retrieval.figures.style import GAP, INK, MARGIN, PAPER, SMALL, TEXT, shortened, text_width, write_text

SIDE = 720
"""Pixels of the longer side of the photo."""
COLOURS = ("#e4572e", "#1c7ed6", "#2f9e44", "#ae3ec9", "#f08c00", "#0c8599", "#c2255c", "#5c7cfa", "#74b816", "#495057")


def draw_detections(photo: Image.Image, scene: Scene, name: str) -> Image.Image:
    """Draw an upright photo with its boxes, and the heat map of all that was found beside it."""
    shown = fitted(photo, SIDE)
    heat = warmed(shown, scene.heat)
    # From the least probable to the most, which so lies on top.
    draw = ImageDraw.Draw(shown)
    for number, found in reversed(list(enumerate(scene.found))):
        _box(draw, shown.size, found, COLOURS[number % len(COLOURS)])
    top = MARGIN + TEXT + GAP
    # A panorama has its heat map below it.
    beside = shown.width < 2 * shown.height
    place = (MARGIN + shown.width + GAP, top) if beside else (MARGIN, top + shown.height + GAP)
    width, height = place[0] + shown.width + MARGIN, place[1] + shown.height + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    sheet.paste(shown, (MARGIN, top))
    sheet.paste(heat, place)
    told = name if scene.found else f"{name}: nothing is probable enough"
    write_text(ImageDraw.Draw(sheet), (MARGIN, MARGIN - 6), shortened(told, width - 2 * MARGIN), INK)
    return sheet


def _box(draw: ImageDraw.ImageDraw, size: tuple[int, int], found: Found, colour: str) -> None:
    x, y, width, height = found.region.pixels(*size)
    draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=3)
    text = shortened(f"{found.label}  {found.probability:.0%}", size[0] - 12, SMALL)
    across, high = text_width(text, SMALL) + 10, SMALL + 8
    left = max(0, min(x, size[0] - across))
    upper = y - high if y >= high else y
    draw.rectangle((left, upper, left + across, upper + high), fill=colour)
    write_text(draw, (left + 5, upper + 2), text, "white", SMALL)


@dataclass(frozen=True)
class DetectionPictures:
    """Where pictures of detections are written: one file for one photo, a folder for several."""

    place: Path
    several: bool

    @classmethod
    def to(cls, place: Path, photos: Sequence[Path]) -> "DetectionPictures":
        """Choose by what is named, and check it before photos are read. Raises OptionError and UserError."""
        several = len(photos) > 1 or any(os.path.isdir(photo) for photo in photos) or os.path.isdir(place)
        if not several:
            check_suffix(place)
            return cls(place, several)
        if place.suffix.lower() in FORMATS and not os.path.isdir(place):
            raise OptionError(f"{place} is one picture, and there are several photos; name a folder for theirs")
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the folder {place} cannot be made ({(error.strerror or str(error)).lower()})") from error
        return cls(place, several)

    def draw(self, photo: DetectedPhoto) -> None:
        """Draw one photo; in a folder it is named by the photo, with a number where that name is taken."""
        assert photo.image is not None
        picture = draw_detections(photo.image, photo.scene, photo.path.name)
        save(picture, self._free_name(photo.path) if self.several else self.place)

    def _free_name(self, path: Path) -> Path:
        stem = path.stem if path.name != "-" else "stdin"
        names = (f"{stem}-detected{f'-{number}' if number else ''}.png" for number in count())
        taken = self.drawn
        name = next(name for name in names if name not in taken)
        taken.add(name)
        return self.place / name

    @cached_property
    def drawn(self) -> set[str]:
        """The names that were given."""
        return set()
