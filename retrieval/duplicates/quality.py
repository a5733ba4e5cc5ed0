"""Judges how near a file is to what a camera saw: real detail, not pixels; what was lost to JPEG; data of a camera.

Copies are compared with each other only, so measures need not be right, but must be wrong in the same way for all.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from index.errors import PhotoError
from index.records import IndexedFile
from retrieval.photos.camera_raw import is_camera_raw
from retrieval.photos.files import read_stamped
from retrieval.photos.formats import RAW, photo_format
from retrieval.pipeline.memory import decode_within_budget

TILE = 128
TILES = 16
"""Spectra are those of tiles of so many pixels a side, of the ones with the most contrast."""
BANDS = 64
"""Frequencies are told apart to this part of a cycle per pixel."""
LOW_BANDS, FULLEST = slice(2, 9), 0.2
"""What others are compared with: these bands, or, where a picture was enlarged so much that they are empty, this share
of the fullest."""
HELD = 0.1
"""A band holds detail if it has this share of that; natural pictures have the same in all, about."""
BLOCK = 8
"""Width and height of the blocks of JPEG."""
MOST_BLOCKS = 4096
LEAST_BLOCKS = 64
LARGEST, PARTS = 1024, 8
"""Coefficients are counted by their absolute value, to a part of 1; none is larger than half of 255 · BLOCK."""
STEPS = np.arange(2, 41)
"""Steps of quantisation that are told apart; 1 is none."""
REGULAR = 0.4
"""How regular coefficients are from which a step is believed; 1 is multiples of the step only."""
FLAT = 6
"""A row of blocks with fewer grey levels between its darkest and its brightest pixel is of one colour."""

_LOSSLESS = {"PNG", "BMP", "PPM", "TIFF"}
_FROM_CAMERAS = {"HEIF", "AVIF"}
_PALETTE = 3  # the colour type of a PNG


@dataclass(frozen=True, slots=True)
class Quality:
    """What a file holds of a picture. `detail` and `pixels` count without frames of one colour, `all_pixels` with them.

    `detail` counts those that the picture would need to hold what it does, by its spectrum: an enlarged picture has
    more pixels and no more detail. `step` is the coarsest step to which JPEG rounded, now or before it was saved again.
    `format` is 0 for pictures without loss and a camera's HEIC or AVIF, 1 for others, 2 for those of 256 colours.
    `camera` tells whether EXIF data name a camera, and are of a picture of this size.
    """

    raw: bool
    detail: float
    pixels: int
    all_pixels: int
    format: int
    camera: bool
    step: float

    @property
    def sharpness(self) -> float:
        """Detail, with less for each pixel that does nothing for it: falls when a picture is enlarged or shrunk."""
        return self.detail**2 / self.pixels


def quality_of(file: IndexedFile) -> Quality:
    """Judge the file of a photo. Raises PhotoError, also where it has changed since it was indexed."""
    data, stamp = read_stamped(file.path)
    if stamp != file.stamp:
        raise PhotoError("it has changed since it was indexed")
    return judge(data)


def judge(data: bytes) -> Quality:
    """Judge the bytes of a file, when there is memory to decode it. Raises PhotoError for what is no picture."""
    return decode_within_budget(data, lambda photo: _judged(data, photo.image))


def _judged(data: bytes, image: Image.Image) -> Quality:
    format = photo_format(data) or ""
    raw = format == RAW or (format == "TIFF" and is_camera_raw(data))
    grey = np.asarray(image.convert("L"))
    inside = _without_margins(grey)
    camera = not raw and _has_camera_data(image)
    step = compression_step(grey)
    palette = format == "GIF" or (format == "PNG" and data[25:26] == bytes([_PALETTE]))
    best = (format in _LOSSLESS and step == 1) or (format in _FROM_CAMERAS and camera)
    detail = inside.size * detail_share(inside)
    return Quality(raw, detail, inside.size, grey.size, 2 if palette else 1 - best, camera, step)


def detail_share(grey: NDArray[np.uint8]) -> float:
    """Return how much of the frequencies that grey values (h, w) could hold is filled, 0 to 1.

    The power of natural pictures falls with the square of the frequency (Field, 1987). Where it falls much faster there
    is no detail: blurred, or enlarged from fewer pixels.
    """
    side = min(TILE, *grey.shape)
    if side < 2 * BLOCK:
        return 1.0
    rows, columns = (
        np.unique(np.linspace(0, size - side, max(1, min(BLOCK, size // side))).astype(int)) for size in grey.shape
    )
    tiles = np.stack([grey[y : y + side, x : x + side] for y in rows for x in columns]).astype(np.float32)
    tiles -= tiles.mean(axis=(1, 2), keepdims=True)
    tiles = tiles[np.argsort(-tiles.std(axis=(1, 2)), kind="stable")[:TILES]]
    window = np.hanning(side)
    power = (np.abs(np.fft.rfft2(tiles * np.outer(window, window))) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    band = np.round(frequency * BANDS).astype(int).ravel()
    filled = np.bincount(band, (power * frequency**2).ravel()) / np.maximum(np.bincount(band), 1)
    filled = filled[: BANDS // 2 + 1]
    if not filled.any():
        return 0.0
    present = filled[LOW_BANDS][np.bincount(band)[LOW_BANDS] > 0]
    reference = max(float(np.median(present)), FULLEST * filled.max())
    return float((np.flatnonzero(filled >= HELD * reference)[-1] / (BANDS / 2)) ** 2)


def compression_step(grey: NDArray[np.uint8]) -> float:
    """Return the step to which low coefficients of blocks of grey values (h, w) were rounded, 1 where none is seen.

    After Fan and de Queiroz (2003): coefficients of a picture that once was a JPEG lie at multiples of its step, though
    it was saved again, better or without loss.
    """
    found = [1.0]
    # A picture that was turned has its incomplete blocks on the other side.
    for y, x in {(y, x) for y in (0, grey.shape[0] % BLOCK) for x in (0, grey.shape[1] % BLOCK)}:
        high, wide = (grey.shape[0] - y) // BLOCK, (grey.shape[1] - x) // BLOCK
        blocks = grey[y : y + high * BLOCK, x : x + wide * BLOCK].reshape(high, BLOCK, wide, BLOCK).swapaxes(1, 2)
        chosen = np.divmod(np.arange(0, high * wide, max(1, high * wide // MOST_BLOCKS)), wide)
        coefficients = blocks[chosen].reshape(-1, BLOCK**2).astype(np.float32) @ _low_waves()
        found.append(float(np.median([_step(values) for values in coefficients.T])))
    return max(found)


def _step(values: NDArray[np.floating[Any]]) -> float:
    """Return the largest step whose multiples the values (n,) are, those that are not 0."""
    counts = np.bincount(np.rint(np.abs(values) * PARTS).astype(np.int64), minlength=1)
    others = counts.sum() - counts.cumsum()[np.minimum(STEPS * PARTS // 2, len(counts) - 1)]
    regular = counts.astype(np.float32) @ _waves_of_steps()[: len(counts)]
    return float(STEPS[(others >= LEAST_BLOCKS) & (regular > REGULAR * others)].max(initial=1))


def _without_margins(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut off rows and columns of blocks at the edges that are of one colour: frames are no part of a picture."""
    for _ in range(2):
        starts = np.arange(0, grey.shape[0], BLOCK)
        darkest, brightest = grey.min(axis=1), grey.max(axis=1)
        contrast = np.maximum.reduceat(brightest, starts).astype(int) - np.minimum.reduceat(darkest, starts)
        busy = np.flatnonzero(contrast >= FLAT)
        if not len(busy):
            return grey
        grey = grey[busy[0] * BLOCK : (busy[-1] + 1) * BLOCK].T
    return grey


def _has_camera_data(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        inside = exif.get_ifd(ExifTags.IFD.Exif)
        sides = {inside.get(tag) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)} - {None, 0}
        names = (str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
        return any(names) and sides <= set(image.size)
    except Exception:  # whatever is wrong with a block of EXIF, it names no camera
        return False


@cache
def _low_waves() -> NDArray[np.float32]:
    """Make the waves (BLOCK², 3) of the three lowest coefficients of the orthonormal DCT-II, except the mean."""
    number = np.arange(BLOCK)
    flat, wave = np.full(BLOCK, np.sqrt(1 / BLOCK)), np.sqrt(2 / BLOCK) * np.cos(np.pi / BLOCK * (number + 0.5))
    waves = np.stack([np.outer(flat, wave), np.outer(wave, flat), np.outer(wave, wave)], axis=-1)
    return waves.reshape(BLOCK**2, 3).astype(np.float32)


@cache
def _waves_of_steps() -> NDArray[np.float32]:
    """Make a wave of each step, by the parts of a coefficient: 0 where the step rounds it to 0."""
    values = np.arange(LARGEST * PARTS + 1)[:, None] / PARTS
    return (np.cos(2 * np.pi / STEPS * values) * (values > STEPS / 2)).astype(np.float32)
