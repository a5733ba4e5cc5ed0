"""Which photo of a group is kept, and why: never by the alphabet.

Each criterion is asked only where all before it say the same. A photo is compared with its whole group, so that small
differences of what is measured do not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from retrieval.answers import duplicate_group
from retrieval.duplicates.quality import Quality
from retrieval.photos.exclusions import in_library, is_listed

Likeness = Literal["exact", "altered", "alike"]
LIKENESSES: tuple[Likeness, ...] = get_args(Likeness)

CRITERIA = (
    "keep_in",  # a folder that was named, in their order
    "place",  # not in a bin or a snapshot
    "raw",  # what the camera's sensor gave
    "detail",  # real detail, by the spectrum
    "camera",  # EXIF data of a camera
    "not_enlarged",  # no smaller photo is sharper
    "pixels",  # more of the picture
    "format",  # lossless, or as cameras write it
    "compression",  # JPEG has rounded less, which is not seen in what was cropped or resized since
    "library",  # in a library of Apple's programs, which would miss it
    "file",  # no link: its file may lie on a drive that is removed
    "reference",  # in a folder of --against
    "links",  # links lead to it
    "age",  # oldest
    "path",  # shortest path
    "order",  # indexed first
)
# Measures say nothing that differ by less: half of the detail, a quarter more in steps, a twentieth of the pixels.
SAME_DETAIL, SAME_STEP, SAME_PIXELS = 0.5, 1.25, 0.95
# A photo is enlarged if another has so much less pixels and is so much sharper.
FEWER_PIXELS, SHARPER = 0.7, 1.1


@dataclass(frozen=True, slots=True)
class DuplicatePhoto:
    """A photo of a group; width and height of the upright picture, `reference` if it lies in a folder compared with.

    `link` where its path is a symbolic link. `names` are the paths of this one file (links) among the photos compared;
    all but one of them are left out. `quality` is None in a group of exact copies, where it is the same for all.
    """

    path: Path
    width: int
    height: int
    size: int
    mtime_ns: int
    reference: bool
    link: bool
    names: int = 1
    id: int = 0
    content_hash: bytes = b""
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Two or more photos that belong together, best first; `kept_because` are the CRITERIA by which it is the best."""

    likeness: Likeness
    photos: tuple[DuplicatePhoto, ...]
    kept_because: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(duplicate_group(self))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where they lie."""
        return tuple(photo.path for photo in self.photos)

    @property
    def spare(self) -> tuple[DuplicatePhoto, ...]:
        """All but the best that can be taken away.

        None of the reference, no file with several names, whose links might break, and none out of a photo library.
        """
        return tuple(
            photo
            for photo in self.photos[1:]
            if not photo.reference and photo.names == 1 and not in_library(bytes(photo.path))
        )


def best_first(photos: Mapping[int, DuplicatePhoto], keep_in: Sequence[Path] = ()) -> tuple[list[int], tuple[str, ...]]:
    """Order the numbers of two or more photos, the one to keep first, and name the CRITERIA that made it so."""
    found = [photo.quality for photo in photos.values() if photo.quality is not None]
    judged = {
        number: (*_where(photo, keep_in), *_what(photo.quality, found), *_which(photo))
        for number, photo in photos.items()
    }
    best, *others = sorted(judged, key=judged.__getitem__)
    decided = {
        next(name for name, one, two in zip(CRITERIA, judged[best], judged[other], strict=True) if one != two)
        for other in others
    }
    return [best, *others], tuple(name for name in CRITERIA if name in decided)


def _where(photo: DuplicatePhoto, keep_in: Sequence[Path]) -> tuple[int, bool]:
    place = next((order for order, folder in enumerate(keep_in) if photo.path.is_relative_to(folder)), len(keep_in))
    return place, is_listed(bytes(photo.path))


def _what(quality: Quality | None, group: Sequence[Quality]) -> tuple[float, ...]:
    if quality is None:
        return (0.0,) * 7
    most, least = max(other.detail for other in group), min(other.step for other in group)
    largest, widest = max(other.pixels for other in group), max(other.all_pixels for other in group)
    # Both: a brighter copy may end in white where the original does not, and a frame adds nothing.
    whole = quality.pixels >= SAME_PIXELS * largest or quality.all_pixels >= SAME_PIXELS * widest
    enlarged = any(
        other.pixels < FEWER_PIXELS * quality.pixels and other.sharpness > SHARPER * quality.sharpness
        for other in group
    )
    return (
        not quality.raw,
        0 if quality.detail >= SAME_DETAIL * most else most - quality.detail,
        not quality.camera,
        enlarged,
        0 if whole else largest - quality.pixels,
        quality.format,
        0 if quality.step <= SAME_STEP * least else quality.step,
    )


def _which(photo: DuplicatePhoto) -> tuple[int, ...]:
    path = bytes(photo.path)
    return not in_library(path), photo.link, not photo.reference, -photo.names, photo.mtime_ns, len(path), photo.id
