"""What `fc7 bench` measures with: photos of a folder, of an index, or made for it."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from index.errors import IndexNotFoundError, UserError
from index.photo_index import PhotoIndex
from retrieval.photos.scan import expand_paths

SIZE = (4000, 3000)
MADE = 24
FROM_INDEX = 1_000


def photos_to_measure(folder: Path | None, index: Path, work: Path) -> tuple[str, list[Path]]:
    """Find photos and say what they are: those of a folder; without one of the index in `index`, else made in `work`.

    Raises UserError where the folder has none.
    """
    if folder is not None:
        if not os.path.isdir(folder):
            raise UserError(f"{folder} is not a folder", hint="name one that holds photos with --photos")
        photos = expand_paths([folder])
        if not photos:
            raise UserError(f"there are no photos in {folder} or below it", hint="name another folder with --photos")
        return f"of {folder}", photos
    try:
        with PhotoIndex.open(index) as opened:
            photos = [path for path in opened.photos.random_paths(FROM_INDEX, Random(0)) if os.path.isfile(path)]
    except IndexNotFoundError:
        photos = []
    if photos:
        return f"of the index in {index}", photos
    return f"made for this, {SIZE[0]}×{SIZE[1]} pixels", list(make_photos(work, MADE))


def make_photos(folder: Path, count: int) -> Iterator[Path]:
    """Write JPEGs of the size that phones take: soft shapes of random colours, with noise."""
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(96, 160, (SIZE[1], SIZE[0], 3), np.uint8))
    for number in range(count):
        shapes = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        path = folder / f"{number:02}.jpg"
        Image.blend(shapes.resize(SIZE, Image.Resampling.BICUBIC), noise, 0.3).save(path, quality=90)
        yield path
