"""What in a photo speaks for a label: the class activation map, or by how much hiding a part lowers its probability."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Images

from index.errors import MissingPackageError
from retrieval.detection.boxes import stretched
from retrieval.detection.convolutional import NoMapError, ScoreMaps
from retrieval.detection.pyramid import levels
from retrieval.models.model import Model
from retrieval.pipeline.executor import BATCH_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image

Method = Literal["class activation map", "occlusion"]
PLACES = 12
"""Patches on a side, when a part of a photo is hidden; each is a fifth of the side, so they overlap."""
PATCH = 0.2
GREY = 124


def attention(
    model: Model, photo: "Image", labels: Sequence[int]
) -> tuple["Image", NDArray[np.float32], float, Method]:
    """Return what was looked at, its heat (rows, columns) from 0 to 1, the labels' probability, and how it was made.

    Networks that end in an average give their class activation map (Zhou et al. 2016), over the whole photo. Of others
    parts are hidden, one after the other (Zeiler, Fergus 2014, section 4.2), of the square that the network takes.
    """
    probability = float(model.run(model.prepare(photo)[None]).probabilities[0, list(labels)].sum())
    try:
        maps = ScoreMaps.of(model.path, model.spec)
    except (NoMapError, MissingPackageError):
        maps = None
    if maps is not None and maps.window > 1:
        heat = next(levels(maps, photo)).heat
        scores = heat[list(labels)].max(axis=0) - np.median(heat, axis=0)
        return photo, stretched(np.maximum(scores, 0)), probability, "class activation map"
    pixels = model.prepare(photo)
    return Images.fromarray(pixels), occlusion(model, pixels, labels), probability, "occlusion"


def occlusion(model: Model, pixels: NDArray[np.uint8], labels: Sequence[int]) -> NDArray[np.float32]:
    """Return by how much the labels' log-probability falls where a part of prepared pixels (crop, crop, 3) is grey."""
    side = len(pixels)
    patch = max(1, round(PATCH * side))
    starts = np.linspace(-patch / 2, side - patch / 2, PLACES).round().astype(int)
    hidden = []
    for top in starts:
        for left in starts:
            copy = pixels.copy()
            copy[max(top, 0) : top + patch, max(left, 0) : left + patch] = GREY
            hidden.append(copy)
    rows = [
        model.run(hidden[start : start + BATCH_SIZE]).probabilities[:, list(labels)].sum(axis=1)
        for start in range(0, len(hidden), BATCH_SIZE)
    ]
    whole = model.run(pixels[None]).probabilities[0, list(labels)].sum()
    fall = np.log(whole + 1e-6) - np.log(np.concatenate(rows) + 1e-6)
    return stretched(np.maximum(fall.reshape(PLACES, PLACES), 0).astype(np.float32))
