"""Finds where a picture may lie in another: which window of it, in which of the eight orientations.

A window is described by its cosine transform: without the mean, so that brightness does not count, and of unit length,
so that contrast does not either. Each coefficient is weighted by its frequency, because those of natural pictures fall
with it (Field, 1987): otherwise the sky above and the ground below would make most landscapes the same. The likeness of
two pictures is the largest cosine between the whole of one and any window of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

ORIENTATIONS = 8
"""As it is, mirrored, turned: 4 stands for exchanged rows and columns, then 2 for upside down, 1 for left to right."""


@dataclass(frozen=True)
class Grid:
    """Windows of pictures of `side`²: `shares` of each side, about a pixel apart, described by `coefficients`².

    `nothing` is the length of a description with so little in it that nothing can be said of the picture. Without
    `lines`, what is the same all along a row or a column does not count.
    """

    side: int
    coefficients: int
    shares: tuple[float, ...]
    nothing: float
    lines: bool = True

    @property
    def weights(self) -> NDArray[np.float32]:
        """The weight of each coefficient, down then across."""
        number = np.arange(self.coefficients, dtype=np.float32)
        weights: NDArray[np.float32] = np.hypot(number[:, None], number).astype(np.float32)
        if not self.lines:
            weights[0] = weights[:, 0] = 0
        return weights


PHOTOS = Grid(32, 8, (1.0, 0.9, 0.8, 0.7), nothing=40.0)
DOCUMENTS = Grid(64, 24, (1.0, 0.95, 0.9, 0.85, 0.8), nothing=200.0, lines=False)


def oriented(pictures: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Turn or mirror pictures (..., s, s)."""
    if orientation & 4:
        pictures = pictures.swapaxes(-1, -2)
    return pictures[..., :: -1 if orientation & 2 else 1, :: -1 if orientation & 1 else 1]


def spectra(pictures: NDArray[np.float32], coefficients: int) -> NDArray[np.float32]:
    """Transform whole pictures (n, s, s) to (n, coefficients, coefficients), down then across."""
    transform, _ = transforms(pictures.shape[-1], coefficients, (1.0,))
    return (transform @ pictures @ transform.T).astype(np.float32, copy=False)


def oriented_spectra(whole: NDArray[np.float32], orientations: int = ORIENTATIONS) -> NDArray[np.float32]:
    """Make the spectra (8, n, c, c) of pictures in all orientations, or the first ones, from theirs (n, c, c)."""
    # Of a mirrored picture, the odd waves change their sign.
    sign = np.where(np.arange(whole.shape[-1]) % 2, -1, 1).astype(np.float32)
    return np.stack(
        [
            (whole.swapaxes(-1, -2) if orientation & 4 else whole)
            * (sign[:, None] if orientation & 2 else np.float32(1))
            * (sign if orientation & 1 else np.float32(1))
            for orientation in range(orientations)
        ]
    )


def find_windows(
    picture: NDArray[np.float32], others: NDArray[np.float32], grid: Grid, orientations: int = ORIENTATIONS
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Find the window of a picture (s, s) that is most like the whole of each other (n, s, s).

    Returns likeness (n,), the orientation (n,) into which the other is to be brought, and the windows as (start, share)
    of the height (n, 2) and of the width (n, 2). To find the picture in others, exchange them.
    """
    return best_windows(picture, described_wholes(others, grid, orientations), grid)


def described_wholes(
    pictures: NDArray[np.float32], grid: Grid, orientations: int = ORIENTATIONS
) -> NDArray[np.float32]:
    """Describe whole pictures (n, s, s), in all orientations or the first ones: (orientations, n, values)."""
    return _described(oriented_spectra(spectra(pictures, grid.coefficients), orientations), grid)


def best_windows(
    picture: NDArray[np.float32], wholes: NDArray[np.float32], grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Find windows as `find_windows`, of others that are described already (orientations, n, values)."""
    orientations, count, _ = wholes.shape
    _, places = transforms(grid.side, grid.coefficients, grid.shares)
    described = described_windows(picture, grid)
    cosines = described @ wholes.reshape(-1, described.shape[1]).T
    window = cosines.argmax(axis=0)
    best = cosines[window, np.arange(len(window))].reshape(orientations, -1)
    orientation, each = best.argmax(axis=0), np.arange(count)
    down, across = np.divmod(window.reshape(orientations, -1)[orientation, each], len(places))
    return best[orientation, each], orientation, places[down], places[across]


def described_windows(picture: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Describe all windows of a picture (s, s): (windows down · windows across, values)."""
    transform, places = transforms(grid.side, grid.coefficients, grid.shares)
    parts = (transform @ picture @ transform.T).reshape(len(places), grid.coefficients, len(places), -1)
    # Weighted while the coefficients of a window are brought together, and divided where they are: it takes a third
    # less time.
    values = np.multiply(parts.transpose(0, 2, 1, 3), grid.weights, order="C", dtype=np.float32)
    values = values.reshape(-1, grid.coefficients**2)
    values /= np.maximum(np.sqrt(np.einsum("wv,wv->w", values, values)), np.float32(grid.nothing))[:, None]
    return values


def _described(coefficients: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Weight and normalise spectra (..., c, c) to (..., values)."""
    values = (coefficients * grid.weights).reshape(*coefficients.shape[:-2], grid.coefficients**2)
    unit: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), grid.nothing)
    return unit


@cache
def transforms(
    side: int, coefficients: int, shares: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Make the matrix of `window_transform` for windows about a pixel apart; return (start, share) (windows, 2) too."""
    places = [
        (start, share)
        for share in shares
        for start in np.linspace(0, 1 - share, round(side * (1 - share)) + 1).tolist()
    ]
    return window_transform(side, coefficients, places), np.array(places)


def window_transform(side: int, coefficients: int, places: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
    """Make the matrix (windows · coefficients, side) from pixels to the DCT-II of windows (start, share) of a row."""
    number = np.arange(coefficients)
    dct = np.cos(np.pi / coefficients * (number + 0.5) * number[:, None]) * np.sqrt(2 / coefficients)
    dct[0] /= np.sqrt(2)
    pixels = np.arange(side)
    parts = []
    for start, share in places:
        edges = side * np.linspace(start, start + share, coefficients + 1)
        # How much of each pixel lies in each cell.
        covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        parts.append(dct @ (covered.clip(0) / (edges[1] - edges[0])))
    return np.concatenate(parts).astype(np.float32)
