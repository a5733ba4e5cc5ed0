"""Boxes in a photo: the best one in a heat map, how far two overlap, and which of many say the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 32
"""Places of a heat map on a side when a box is looked for in it."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box in shares of a photo's width and height: 0 is its left or upper edge, 1 its right or lower one."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Its share of the photo."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def middle(self) -> tuple[float, float]:
        """The place of its middle, x and y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def within(self, frame: "Region") -> "Region":
        """Return where it lies in the photo when it is a box in a part of the photo, `frame`."""
        width, height = frame.right - frame.left, frame.bottom - frame.top
        return Region(
            frame.left + self.left * width,
            frame.top + self.top * height,
            frame.left + self.right * width,
            frame.top + self.bottom * height,
        )

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return x, y, width and height in pixels of a photo, whole and at least one."""
        x, y = min(round(self.left * width), width - 1), min(round(self.top * height), height - 1)
        return x, y, max(1, round(self.right * width) - x), max(1, round(self.bottom * height) - y)


WHOLE = Region(0.0, 0.0, 1.0, 1.0)


def shared_area(one: Region, other: Region) -> float:
    """Return the area that two boxes share."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(width, 0.0) * max(height, 0.0)


def overlap(one: Region, other: Region) -> float:
    """Return intersection over union of two boxes, 0 to 1 (the overlap of PASCAL VOC and ILSVRC)."""
    shared = shared_area(one, other)
    union = one.area + other.area - shared
    return shared / union if union > 0 else 0.0


def covered(one: Region, other: Region) -> float:
    """Return which share of the smaller of two boxes lies in the other."""
    smaller = min(one.area, other.area)
    return shared_area(one, other) / smaller if smaller > 0 else 0.0


def around(boxes: Sequence[Region]) -> Region:
    """Return the smallest box that all boxes lie in."""
    return Region(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def best_box(heat: NDArray[np.float32], threshold: float) -> Region:
    """Return the box in which a heat map (rows, columns) from 0 to 1 exceeds a threshold by most in sum.

    It is the best subwindow of Lampert, Blaschko, Hofmann (2008), "Beyond Sliding Windows", here by trying all: unlike
    the bounding box of what lies above the threshold, single warm places do not stretch it.
    """
    sums = np.pad((resized(heat, GRID, GRID) - threshold).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    first, last = _spans(GRID)
    rows = sums[last] - sums[first]
    values = rows[:, last] - rows[:, first]
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    return Region(
        float(first[column]) / GRID, float(first[row]) / GRID, float(last[column]) / GRID, float(last[row]) / GRID
    )


@lru_cache(maxsize=1)
def _spans(places: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, last = np.triu_indices(places + 1, 1)
    return first, last


def resized(plane: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return a map (rows, columns) with as many columns and rows, smoothly."""
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def stretched(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map with its least value as 0 and its greatest as 1; of a map without differences all is 1."""
    low, high = float(plane.min()), float(plane.max())
    return np.ones_like(plane) if high - low < 1e-9 else (plane - low) / (high - low)
