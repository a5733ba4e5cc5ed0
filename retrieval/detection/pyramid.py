"""A photo at several sizes through a fully convolutional network: windows with their labels, and heat maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Images

from retrieval.detection.boxes import Region, stretched
from retrieval.detection.convolutional import ScoreMaps

if TYPE_CHECKING:
    from PIL.Image import Image

SCALES = (1.2, 1.7, 2.4)
"""How large the shorter side becomes, in sides of what the network takes: in steps of about √2.

The first is about what networks are tested at: 256 pixels for one that takes 224.
"""
SCALES_OF_WINDOWS = (1.2, 1.7)
"""The same for networks that classify windows: what they say of smaller ones is seldom right."""
THRESHOLD, THRESHOLD_OF_WINDOWS = 0.225, 0.15
"""What a box's heat must exceed (`best_box`): of eight values from 0.1 to 0.35 those that gave the most right boxes.

They were chosen on 300 of the 10,000 validation pictures of Tiny-ImageNet, the first with EfficientNet-Lite0, the
second with the built-in model. On 2,000 pictures the first is as good as 0.2: 61.3 % and 61.5 % of the boxes are right.
"""
FINER = 2.0
"""Of networks that classify windows: heat comes from windows so many times smaller than those that are labelled.

They say less exactly what is there, and more exactly where.
"""
LONGEST = 12
"""A panorama becomes no longer than so many sides of what the network takes, which bounds memory and time."""


@dataclass(frozen=True, eq=False)
class Level:
    """A photo at one size.

    `windows` has the probabilities (classes, rows, columns) of each window; a window is `extent` (width, height) in
    shares of the photo, and they lie evenly between its edges. `heat` has scores (classes, rows, columns), each map
    over the whole photo, and `threshold` is what the heat of a box must exceed.
    """

    windows: NDArray[np.float32]
    extent: tuple[float, float]
    heat: NDArray[np.float32]
    threshold: float

    def region(self, row: int, column: int) -> Region:
        """Return where a window lies."""
        rows, columns = self.windows.shape[1:]
        left = _start(column, columns, self.extent[0])
        top = _start(row, rows, self.extent[1])
        return Region(left, top, left + self.extent[0], top + self.extent[1])

    def heat_of(self, label: int) -> NDArray[np.float32]:
        """Return how warm the photo is for a class (rows, columns), 0 to 1.

        It is half what speaks for the class, and half how far the scores of all classes differ, which is more where
        there is anything that the network knows: a class alone lights up only what sets it apart from others.
        """
        return stretched(stretched(self.heat[label]) + self._spread)

    @cached_property
    def _spread(self) -> NDArray[np.float32]:
        return stretched(self.heat.std(axis=0))


def _start(place: int, places: int, extent: float) -> float:
    return (1.0 - extent) * (place / (places - 1) if places > 1 else 0.5)


def levels(maps: ScoreMaps, image: "Image", scales: Sequence[float] | None = None) -> Iterator[Level]:
    """Run a network over a photo at each scale, and over its mirror image, and yield what it says."""
    for scale in scales or (SCALES if maps.window > 1 else SCALES_OF_WINDOWS):
        scores = _scores(maps, image, scale)
        windows = maps.windows(scores)
        width, height = sizes(image.size, maps.spec.crop, scale)
        extent = (min(1.0, maps.spec.crop / width), min(1.0, maps.spec.crop / height))
        if maps.window > 1:
            yield Level(windows, extent, scores, THRESHOLD)
        else:
            finer = _spread_out(_scores(maps, image, scale * FINER), extent)
            yield Level(windows, extent, finer, THRESHOLD_OF_WINDOWS)


def sizes(size: tuple[int, int], crop: int, scale: float) -> tuple[int, int]:
    """Return width and height at which a network that takes `crop` pixels looks at a photo of a size."""
    shorter = crop * scale
    factor = shorter / min(size)
    width, height = (max(crop, min(round(side * factor), LONGEST * crop)) for side in size)
    return width, height


def _scores(maps: ScoreMaps, image: "Image", scale: float) -> NDArray[np.float32]:
    """Return the scores (classes, rows, columns) of a photo at a scale, averaged with those of its mirror image."""
    size = sizes(image.size, maps.spec.crop, scale)
    pixels = np.asarray(image.convert("RGB").resize(size, Images.Resampling.BICUBIC, reducing_gap=3.0))
    scores = maps.run(np.stack([pixels, pixels[:, ::-1]]))
    mean: NDArray[np.float32] = (scores[0] + scores[1][:, :, ::-1]) / 2
    return mean


def _spread_out(scores: NDArray[np.float32], extent: tuple[float, float]) -> NDArray[np.float32]:
    """Return the scores of windows as maps over the whole photo: at each place the mean of the windows around it."""
    share = (extent[0] / FINER, extent[1] / FINER)
    rows, columns = scores.shape[1:]
    down, across = (_covering(count, part) for count, part in ((rows, share[1]), (columns, share[0])))
    spread: NDArray[np.float32] = np.einsum("crk,yr,xk->cyx", scores, down, across, optimize=True).astype(np.float32)
    return spread


CELLS = 16
"""Places of a map on a side where windows are spread out; the built-in model has 11 by 11 of a square photo."""


def _covering(windows: int, extent: float) -> NDArray[np.float32]:
    """Return the weights (CELLS, windows) of windows at places: less with the distance of their centres."""
    starts = np.array([_start(place, windows, extent) for place in range(windows)])
    places = (np.arange(CELLS) + 0.5) / CELLS
    distance = (places[:, None] - (starts + extent / 2)) / (extent / 4)
    near = np.exp(-0.5 * distance**2) + 1e-9
    weights: NDArray[np.float32] = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def cut(plane: NDArray[np.float32], frame: Region) -> NDArray[np.float32]:
    """Return the part of a map (rows, columns) over the whole photo that lies in a frame, on 16 by 16 places."""
    rows, columns = plane.shape
    image = Images.fromarray(np.ascontiguousarray(plane, np.float32))
    box = (frame.left * columns, frame.top * rows, frame.right * columns, frame.bottom * rows)
    return np.asarray(image.resize((CELLS, CELLS), Images.Resampling.BICUBIC, box=box))
