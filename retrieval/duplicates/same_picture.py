"""Tells whether two photos are one picture, altered: resaved, resized, lightly cropped, framed, recoloured, mirrored.

A picture is looked at as a thumbnail of grey values, whatever its shape was. A window of it is described by its cosine
transform: without the mean, so that brightness does not count, and of unit length, so that contrast does not either.
Each coefficient is weighted by its frequency, because those of natural pictures fall with it (Field, 1987): otherwise
the sky above and the ground below would make most landscapes the same. The likeness of two pictures is the largest
cosine between the whole of one and any window of the other, as it is or mirrored.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Width and height of a thumbnail."""

# Along each side; more tells pictures apart better, but forgives less when a crop falls between two windows.
COEFFICIENTS = 16
# Windows are this much of each side, and this many pixels of the thumbnail apart.
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8)
STEP = 0.5
# Length of the description of a picture with so little in it, about one grey level, that nothing can be said of it.
NOTHING = 200.0


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Shrink a picture to grey values (SIDE, SIDE), each the mean of its part of the picture."""
    return np.array(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def likeness(picture: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compare windows of a thumbnail (SIDE, SIDE) with the whole of others (n, SIDE, SIDE): n values, 1 is the same.

    It finds others that were cut out of the picture; to find the picture cut out of others, exchange them.
    """
    transform, windows = _transforms()
    parts = (transform @ picture.astype(np.float32) @ transform.T).reshape(windows, COEFFICIENTS, windows, COEFFICIENTS)
    described = _descriptors(parts.transpose(0, 2, 1, 3).reshape(-1, COEFFICIENTS, COEFFICIENTS))
    # The first window is the whole; mirrored, the odd waves along a row change their sign.
    whole = transform[:COEFFICIENTS]
    wholes = whole @ others.astype(np.float32) @ whole.T
    mirrored = wholes * np.where(np.arange(COEFFICIENTS) % 2, -1, 1).astype(np.float32)
    cosines = described @ _descriptors(np.concatenate([wholes, mirrored])).T
    best: NDArray[np.float32] = cosines.max(axis=0).reshape(2, -1).max(axis=0)
    return best


def _descriptors(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weight and normalise coefficients (n, COEFFICIENTS, COEFFICIENTS), down then across, to (n, values)."""
    frequency = np.arange(COEFFICIENTS, dtype=np.float32)
    values = (coefficients * np.hypot(frequency[:, None], frequency)).reshape(-1, COEFFICIENTS**2)
    described: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), NOTHING)
    return described


@cache
def _transforms() -> tuple[NDArray[np.float32], int]:
    """Make the matrix (windows · COEFFICIENTS, SIDE) from pixels to the DCT-II of each window; return their number."""
    number = np.arange(COEFFICIENTS)
    dct = np.cos(np.pi / COEFFICIENTS * (number + 0.5) * number[:, None]) * np.sqrt(2 / COEFFICIENTS)
    dct[0] /= np.sqrt(2)
    pixels = np.arange(SIDE)
    transforms = []
    for share in SHARES:
        room = SIDE * (1 - share)
        for start in np.linspace(0, room, round(room / STEP) + 1):
            edges = np.linspace(start, start + share * SIDE, COEFFICIENTS + 1)
            # How much of each pixel lies in each cell.
            covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
            transforms.append(dct @ (covered.clip(0) / (edges[1] - edges[0])))
    return np.concatenate(transforms).astype(np.float32), len(transforms)
