"""What a layer of a network makes of a photo: its strongest maps."""

from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import OptionError
from retrieval.figures.canvas import PLAIN, Look
from retrieval.figures.drawing import fitted, heat_colours, tiles
from retrieval.models.graph_file import GraphFile
from retrieval.models.model import Model

STRONGEST = 15
SIDE = 180
COLUMNS = 4
BRIGHTEST = 0.995
"""Share of the values that the scale holds."""


def layer_maps(model: Model, photo: Image.Image, layer: str) -> NDArray[np.float32]:
    """Return the maps (maps, rows, columns) of a layer, by the name of its tensor, for a photo.

    Raises OptionError for a layer that there is not, or that has no maps, and MissingPackageError (onnx).
    """
    file = GraphFile.read(model.path)
    known = file.tensors()
    if layer not in known:
        named = [name for name in known if name in file.shapes and len(file.shapes[name]) == 3]
        near = get_close_matches(layer, named, n=3, cutoff=0.5) or named[2:8]
        raise OptionError(f"{model.spec.name} has no layer {layer}; it has for example {', '.join(near)}")
    [values] = file.values(model.prepare(photo)[None], [layer])
    if values.ndim != 4:
        raise OptionError(f"{layer} of {model.spec.name} has no maps, but {values[0].size:,} values without a place")
    return np.asarray(values[0], np.float32)


def draw_activations(model: Model, photo: Image.Image, layer: str, look: Look = PLAIN) -> Image.Image:
    """Draw what the network sees of a photo, and the maps of a layer that are strongest on the mean, on one scale.

    Only what is above 0 is drawn: that is what goes on through a ReLU.
    """
    maps = np.maximum(layer_maps(model, photo, layer), 0)
    order = np.argsort(-maps.mean(axis=(1, 2)), kind="stable")[:STRONGEST]
    scale = float(np.quantile(maps[order], BRIGHTEST)) or float(maps[order].max()) or 1.0
    seen = Image.fromarray(model.prepare(photo))
    side = SIDE * look.scale
    pictures = [fitted(seen, side)]
    for number in order:
        colours = Image.fromarray(heat_colours(np.minimum(maps[number] / scale, 1)))
        pictures.append(colours.resize((side, side), Image.Resampling.NEAREST))
    captions = ["what the network sees", *(f"map {number}" for number in order)]
    count, rows, columns = maps.shape
    title = f"{layer} of {model.spec.name}: the strongest of {count} maps of {rows} x {columns}"
    return tiles(pictures, captions, columns=COLUMNS, side=SIDE, title=title, look=look)
