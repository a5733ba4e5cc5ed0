"""Photos to measure with, the same wherever they are made: crops of the samples of scikit-image and scikit-learn.

What decoding costs depends on the size of a picture and on how much is in it, so these are of real ones, with the
noise of a camera, as JPEGs of quality 90.
"""

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

SMALL = (500, 400)
LARGE = (4000, 3000)
PICTURES = 24
NOISE = 4.0


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write `count` JPEGs of `size` (width, height) into a folder, and return their paths; those there already stay.

    There are at most 24 pictures, but no two files are the same: each has a comment of its own, or an index would look
    at the first of them only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{size[0]}x{size[1]}-{number:06}.jpg" for number in range(count)]
    if all(path.is_file() for path in paths):
        return paths
    encoded = [as_jpeg(picture) for picture in islice(pictures(size), min(count, PICTURES))]
    for number, path in enumerate(paths):
        path.write_bytes(with_comment(encoded[number % PICTURES], f"photo {number}"))
    return paths


def pictures(size: tuple[int, int], *, seed: int = 0) -> Iterator[Image.Image]:
    """Yield for ever what may be photos: half to the whole of a sample picture, brought to a size."""
    random = np.random.default_rng(seed)
    sources = [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    sources += [Image.fromarray(pixels) for pixels in load_sample_images().images]
    noise = np.rint(random.standard_normal((size[1], size[0], 3), np.float32) * NOISE).astype(np.int16)
    while True:
        for source in sources:
            part = random.uniform(0.5, 1.0)
            width, height = (side * part for side in source.size)
            left, top = random.uniform(0, source.width - width), random.uniform(0, source.height - height)
            clean = source.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
            noise = np.roll(noise, random.integers(size[1]), axis=0)  # cheaper than as much of it again
            yield Image.fromarray((np.asarray(clean) + noise).clip(0, 255).astype(np.uint8))


def as_jpeg(picture: Image.Image) -> bytes:
    """Encode a picture as cameras and editors do by default."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def with_comment(jpeg: bytes, comment: str) -> bytes:
    """Return a JPEG with a comment, which changes the file and no pixel (ITU-T T.81, B.2.4.5)."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]
