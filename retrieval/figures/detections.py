"""The picture of a detection: boxes with their labels on the photo, and beside it the heat map."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from PIL import Image

from index.errors import OptionError, UserError
from retrieval.detection.detect import Found, Scene
from retrieval.detection.photos import DetectedPhoto
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.drawing import FORMATS, check_suffix, fitted, save, warmed
from retrieval.figures.style import GAP, MARGIN, SERIES, SMALL, TEXT
from retrieval.photos.files import is_folder

SIDE = 720
"""Units of the longer side of the photo."""


def draw_detections(photo: Image.Image, scene: Scene, name: str, look: Look = PLAIN) -> Image.Image:
    """Draw an upright photo with its boxes, and the heat map of all that was found beside it."""
    shown = fitted(photo, SIDE * look.scale)
    heat = warmed(shown, scene.heat)
    width, height = (-(-side // look.scale) for side in shown.size)
    top = MARGIN + TEXT + GAP
    # A panorama has its heat map below it.
    beside = width < 2 * height
    x, y = (MARGIN + width + GAP, top) if beside else (MARGIN, top + height + GAP)
    canvas = Canvas(x + width + MARGIN, y + height + MARGIN, look)
    canvas.paste(MARGIN, top, shown)
    canvas.paste(x, y, heat)
    # From the least probable to the most, which so lies on top.
    for number, found in reversed(list(enumerate(scene.found))):
        _box(canvas, (MARGIN, top), (width, height), found, SERIES[number % len(SERIES)])
    told = name if scene.found else f"{name}: nothing is probable enough"
    canvas.text(MARGIN, MARGIN - 6, told, canvas.theme.ink, TEXT, width=x + width - MARGIN)
    return canvas.image


def _box(canvas: Canvas, place: tuple[int, int], size: tuple[int, int], found: Found, colour: str) -> None:
    """Draw a box of a photo that lies at a place in a size, and its label on it."""
    x, y, width, height = found.region.pixels(*size)
    canvas.box(place[0] + x, place[1] + y, width, height, outline=colour, line=3)
    text = f"{found.label}  {found.probability:.0%}"
    room = min(canvas.look.width_of(text, SMALL), size[0] - 12)
    across, high = room + 10, SMALL + 8
    left = place[0] + max(0, min(x, size[0] - across))
    upper = place[1] + (y - high if y >= high else y)
    canvas.box(left, upper, across + 1, high + 1, fill=colour)
    canvas.text(left + 5, upper + 2, text, "white", width=room)


@dataclass(frozen=True)
class DetectionPictures:
    """Where pictures of detections are written: one file for one photo, a folder for several."""

    place: Path
    several: bool
    look: Look = PLAIN

    @classmethod
    def to(cls, place: Path, photos: Sequence[Path], look: Look = PLAIN) -> "DetectionPictures":
        """Choose by what is named, and check it before photos are read. Raises OptionError and UserError."""
        several = len(photos) > 1 or any(map(is_folder, photos)) or os.path.isdir(place)
        if not several:
            check_suffix(place)
            return cls(place, several, look)
        if place.suffix.lower() in FORMATS and not os.path.isdir(place):
            raise OptionError(f"{place} is one picture, and there are several photos; name a folder for theirs")
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the folder {place} cannot be made ({(error.strerror or str(error)).lower()})") from error
        return cls(place, several, look)

    def draw(self, photo: DetectedPhoto) -> None:
        """Draw one photo; in a folder it is named by the photo, with a number where that name is taken."""
        assert photo.image is not None
        picture = draw_detections(photo.image, photo.scene, photo.path.name, self.look)
        save(picture, self._free_name(photo.path) if self.several else self.place, self.look)

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
