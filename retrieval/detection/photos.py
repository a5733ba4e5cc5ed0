"""Detection over many photos, however they are named: files, folders, or `-` for what comes on standard input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError
from index.records import IncompletePhoto, SkippedPhoto
from retrieval.detection.convolutional import ScoreMaps
from retrieval.detection.detect import MIN_PROBABILITY, TOP, Scene, look
from retrieval.detection.pyramid import SCALES
from retrieval.photos.decode import Photo
from retrieval.photos.files import MAX_BYTES, check_size
from retrieval.photos.scan import expand_paths
from retrieval.pipeline.embed import STANDARD_INPUT
from retrieval.pipeline.executor import photo_threads, run_ahead
from retrieval.pipeline.memory import decode_within_budget
from retrieval.pipeline.progress import Progress
from retrieval.searching.query import Box

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 1600
"""Pixels of the longer side at which a photo is kept for its picture."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing in a photo: its label, and its box in pixels of the upright photo."""

    label: str
    id: str | None
    probability: float
    box: Box


@dataclass(frozen=True, eq=False)
class DetectedPhoto:
    """What was found in a photo, the most probable first; `image` is the photo, no larger than 1,600 pixels."""

    path: Path
    detections: tuple[Detection, ...]
    scene: Scene
    image: "Image | None" = None


def detect_paths(
    maps: ScoreMaps,
    paths: Sequence[Path],
    *,
    min_probability: float = MIN_PROBABILITY,
    top: int = TOP,
    keep_images: bool = False,
    standard_input: BinaryIO | None = None,
    skipped: list[SkippedPhoto],
    incomplete: list[IncompletePhoto] | None = None,
    progress: Progress | None = None,
) -> Iterator[DetectedPhoto]:
    """Yield what is found in the photos that can be read, in order; the others are appended to `skipped`.

    Those of which a part is missing are appended to `incomplete` too.
    """

    def detected(path: Path, source: Path | bytes) -> DetectedPhoto:
        if isinstance(source, bytes):
            check_size(len(source))

        def found(photo: Photo) -> DetectedPhoto:
            if photo.missing is not None and incomplete is not None:
                incomplete.append(IncompletePhoto(path, photo.missing))
            scene = look(maps, photo.image, min_probability=min_probability, top=top)
            detections = in_pixels(scene, photo.width, photo.height)
            image = photo.image.copy() if keep_images else None
            if image is not None:
                image.thumbnail((SHOWN, SHOWN))
            return DetectedPhoto(path, detections, scene, image)

        return decode_within_budget(source, found, shorter_side=side_looked_at(maps))

    photos = expand_paths(paths, skipped=skipped)

    def source_of(path: Path) -> Path | bytes:
        # Standard input is read here and not in a thread, which Ctrl-C could not wake from waiting for it.
        return standard_input.read(MAX_BYTES + 1) if standard_input and path == STANDARD_INPUT else path

    jobs = ((path, partial(detected, path, source_of(path))) for path in photos)
    with photo_threads(WORKERS) as threads:
        for done, (path, answer) in enumerate(run_ahead(jobs, threads, look_ahead=2 * WORKERS), 1):
            if isinstance(answer, PhotoError):
                skipped.append(SkippedPhoto(path, str(answer)))
            else:
                yield answer
            if progress is not None:
                progress(done, len(photos))


def side_looked_at(maps: ScoreMaps) -> int:
    """Return the pixels of the shorter side at which a photo is looked at."""
    return round(maps.spec.crop * SCALES[-1])


def detect_in(
    maps: ScoreMaps,
    path: Path,
    pixels: NDArray[np.uint8],
    *,
    width: int,
    height: int,
    min_probability: float = MIN_PROBABILITY,
    top: int = TOP,
) -> DetectedPhoto:
    """Find things in a photo that is decoded already, pixels (h, w, 3); width and height are those of all of it."""
    from PIL import Image

    scene = look(maps, Image.fromarray(pixels), min_probability=min_probability, top=top)
    return DetectedPhoto(path, in_pixels(scene, width, height), scene)


def in_pixels(scene: Scene, width: int, height: int) -> tuple[Detection, ...]:
    """Return what was found in a photo of this size, upright."""
    return tuple(
        Detection(one.label, one.id, one.probability, Box(*one.region.pixels(width, height))) for one in scene.found
    )


WORKERS = 2
"""Photos that are looked at together: while one is decoded, the network works on the other on all cores."""
