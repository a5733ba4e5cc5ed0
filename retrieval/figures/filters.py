"""The filters of a network's first layer as a picture, as in figure 3 of Krizhevsky, Sutskever, Hinton (2012)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index.errors import ModelError
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.style import GAP, MARGIN, SMALL, TEXT
from retrieval.models.graph_file import GraphFile, attributes

SIDE = 66
"""Units that a filter is drawn in, about: each of its weights is a square of whole units."""
COLUMNS = 16
BRIGHTEST = 0.995
"""Share of the weights that the scale holds: one large filter would make all others grey."""


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters (count, 3, rows, columns) of a first layer; `halves`: 2 for a divided network, as that of 2012."""

    weights: NDArray[np.float32]
    layer: str
    halves: int


def first_filters(path: Path | None) -> Filters:
    """Read the first layer of a model file. Raises ModelError where it has no filters over colours."""
    file = GraphFile.read(path)
    convolutions = [node for node in file.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        weights = file.constant(node.input[1])
        if weights is not None and weights.ndim == 4 and weights.shape[1] == 3:
            groups = {int(attributes(other).get("group", 1)) for other in convolutions}
            divided = 2 in groups and len(weights) % 2 == 0
            return Filters(weights.astype(np.float32), node.name or node.output[0], 2 if divided else 1)
    raise ModelError(f"{file.path.name} has no filters over the colours of a picture")


def draw_filters(filters: Filters, name: str, look: Look = PLAIN) -> Image.Image:
    """Draw the filters in a grid. All have one scale, on which grey is 0; a few of the greatest weights are cut off."""
    weights = filters.weights
    count, _, rows, columns = weights.shape
    square = max(1, SIDE // max(rows, columns))
    greatest = float(np.quantile(np.abs(weights), BRIGHTEST)) or 1.0
    values = np.clip(0.5 + weights / (2 * greatest), 0, 1)
    pixels = (255 * values).round().astype(np.uint8).transpose(0, 2, 3, 1)
    in_row = COLUMNS if count >= COLUMNS else count
    parts = np.split(pixels, filters.halves)
    step_x, step_y = columns * square + 3, rows * square + 3
    lines = sum(-(-len(part) // in_row) for part in parts)
    told = f"{count} filters of {rows} x {columns} pixels: {filters.layer}, {name}"
    width = max(in_row * step_x - 3, look.width_of(told))
    top = MARGIN + TEXT + GAP
    between = (filters.halves - 1) * (GAP * 2 + SMALL)
    canvas = Canvas(width + 2 * MARGIN, top + lines * step_y + between + MARGIN, look)
    canvas.text(MARGIN, MARGIN - 6, told, canvas.theme.ink, TEXT, width=width)
    for part in parts:
        _paste(canvas, part, top, (step_x, step_y), square, in_row)
        top += -(-len(part) // in_row) * step_y
        if part is not parts[-1]:
            below = "above the one half of the network, below the other"
            canvas.text(MARGIN, top + 2, below, canvas.theme.grey, width=width)
            top += GAP * 2 + SMALL
    return canvas.image


def _paste(
    canvas: Canvas, filters: NDArray[np.uint8], top: int, step: tuple[int, int], square: int, in_row: int
) -> None:
    square *= canvas.look.scale
    for number, pixels in enumerate(filters):
        picture = Image.fromarray(pixels.repeat(square, axis=0).repeat(square, axis=1))
        canvas.paste(MARGIN + number % in_row * step[0], top + number // in_row * step[1], picture)
