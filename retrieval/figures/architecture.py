"""A network drawn: its layers in their order, with sizes, parameters and multiply-adds."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from PIL import Image

from index.errors import ModelError
from retrieval.figures.canvas import PLAIN, Canvas, Look
from retrieval.figures.style import BLUE, GAP, MARGIN, SMALL, TEXT
from retrieval.models.cost import layer_of
from retrieval.models.graph_file import GraphFile, attributes

KINDS = {"Conv": "convolution", "Gemm": "dense", "MatMul": "dense", "MaxPool": "pooling", "AveragePool": "pooling"}
KINDS |= {"GlobalAveragePool": "average", "ReduceMean": "average"}
ROW = 24
COLUMNS = (190, 240, 120, 200, 200)
"""Widths of name, kind, output, and the bars of parameters and multiply-adds."""
NUMBER = 60
"""Width of the number before a bar."""
BLOCKS = 210
"""Units of the highest block."""


@dataclass(frozen=True)
class Layer:
    """A layer for one picture: `output` as (maps, rows, columns) or (values,); `detail` is its filter and stride."""

    name: str
    kind: str
    detail: str
    output: tuple[int, ...]
    parameters: int
    products: int
    """Multiply-adds."""


def layers_of(path: Path | None) -> tuple[Layer, ...]:
    """Read the layers that are learned or pool, up to the probabilities or, without classes, to fc7.

    Raises ModelError and MissingPackageError (onnx).
    """
    file = GraphFile.read(path)
    end = "probabilities" if "probabilities" in file.producers else "fc7"
    found = []
    for node in file.ancestors(end):
        output = file.shapes.get(node.output[0], ())
        if node.op_type not in KINDS or not output:
            continue
        weights = [values for name in node.input[1:] if (values := file.constant(name)) is not None]
        kind = KINDS[node.op_type]
        if kind in ("convolution", "dense") and not (weights and weights[0].ndim >= 2):
            continue  # a product of two tensors has nothing learned
        if layer_of(node.name).startswith("norm"):
            # Its sums over neighbouring maps are a convolution with fixed weights.
            found.append(Layer(layer_of(node.name), "local norm", "", output, 0, 0))
            continue
        if kind == "average" and len(file.shapes.get(node.input[0], ())) != 3:
            continue
        parameters = sum(values.size for values in weights) if kind in ("convolution", "dense") else 0
        products = weights[0].size * prod(output[1:]) if parameters else 0
        name = (node.name or node.output[0]).removesuffix(".sum")
        found.append(Layer(name, kind, _detail(node.op_type, attributes(node)), output, parameters, products))
    if not found:
        raise ModelError(f"{file.path.name} has no layers that are known here")
    return tuple(found)


def _detail(operator: str, values: dict[str, object]) -> str:
    sides = values.get("kernel_shape")
    if not isinstance(sides, list):
        return ""
    strides = values.get("strides")
    step = strides[0] if isinstance(strides, list) else 1
    groups = values.get("group", 1)
    parts = ["x".join(map(str, sides)), *([f"step {step}"] if step != 1 else [])]
    return ", ".join(parts + ([f"{groups} groups"] if groups != 1 else []))


def draw_architecture(layers: tuple[Layer, ...], name: str, side: int, look: Look = PLAIN) -> Image.Image:
    """Draw a network as blocks, as high as their maps are wide, and below them a table with bars.

    `side` is that of the picture that goes in, in pixels.
    """
    width = sum(COLUMNS) + 2 * MARGIN
    blocks = MARGIN + TEXT + GAP
    table = blocks + BLOCKS + 4 * GAP + SMALL
    height = table + ROW * (len(layers) + 2) + MARGIN
    canvas = Canvas(width, height, look)
    total = sum(layer.parameters for layer in layers), sum(layer.products for layer in layers)
    title = f"{name}: {total[0] / 1e6:,.1f} million parameters, {total[1] / 1e6:,.0f} million multiply-adds a picture"
    canvas.text(MARGIN, MARGIN - 6, title, canvas.theme.ink, TEXT, width=width - 2 * MARGIN)
    _blocks(canvas, [("input", (3, side, side)), *((layer.kind, layer.output) for layer in layers)], blocks, width)
    _table(canvas, layers, table, total)
    return canvas.image


def _blocks(canvas: Canvas, outputs: list[tuple[str, tuple[int, ...]]], top: int, width: int) -> None:
    """Draw a block for each output, those of the same size as one in a row left out where there are too many."""
    if len(outputs) > 20:
        outputs = [one for one, before in zip(outputs, [("", ()), *outputs], strict=False) if one[1] != before[1]]
    most = max(prod(output) for _, output in outputs)
    largest = max(output[-1] for _, output in outputs if len(output) == 3)
    widest = max(output[0] for _, output in outputs if len(output) == 3)
    room, theme = (width - 2 * MARGIN) / len(outputs), canvas.theme
    fills = {"convolution": BLUE, "dense": theme.accent, "input": theme.grey}
    for number, (kind, output) in enumerate(outputs):
        maps, side = (output[0], output[-1]) if len(output) == 3 else (output[0], 0)
        high = max(6, round(BLOCKS * side / largest)) if side else max(6, round(BLOCKS * min(maps / most, 1) ** 0.25))
        across = max(4, round((room - 8) * (maps / widest) ** 0.5)) if side else 8
        x = MARGIN + round(number * room + (room - across) / 2)
        y = top + BLOCKS - high
        canvas.box(x, y, across + 1, high + 1, fill=fills.get(kind, theme.line), outline=theme.ink)
        told = f"{maps}" if side else f"{maps:,}"
        if (wide := canvas.look.width_of(told, SMALL - 2)) <= room:
            place = MARGIN + number * room + (room - wide) / 2
            canvas.text(place, top + BLOCKS + 4, told, theme.grey, SMALL - 2, width=wide)


def _table(canvas: Canvas, layers: tuple[Layer, ...], top: int, total: tuple[int, int]) -> None:
    starts = [MARGIN + sum(COLUMNS[:number]) for number in range(len(COLUMNS))]
    theme, rooms = canvas.theme, [room - GAP for room in COLUMNS]
    for x, room, head in zip(starts, rooms, ("layer", "kind", "output", "parameters", "multiply-adds"), strict=True):
        canvas.text(x, top, head, theme.grey, width=room)
    canvas.box(MARGIN, top + ROW - 4, sum(COLUMNS), 1, fill=theme.line)
    most = max(layer.parameters for layer in layers), max(layer.products for layer in layers)
    for number, layer in enumerate(layers, 1):
        y = top + number * ROW
        kind = f"{layer.kind} {layer.detail}".strip()
        for x, room, text in zip(starts, rooms, (layer.name, kind, "x".join(map(str, layer.output))), strict=False):
            canvas.text(x, y, text, theme.ink, width=room)
        for place, count, greatest, colour in (
            (starts[3], layer.parameters, most[0], BLUE),
            (starts[4], layer.products, most[1], theme.accent),
        ):
            if count:
                canvas.text(place, y, _short(count), theme.ink, width=NUMBER)
                room = COLUMNS[3] - NUMBER - 10
                canvas.box(place + NUMBER, y + 3, max(1, room * count / greatest), 11, fill=colour)
    y = top + (len(layers) + 1) * ROW
    canvas.box(MARGIN, y - 4, sum(COLUMNS), 1, fill=theme.line)
    for x, text in ((starts[0], "total"), (starts[3], _short(total[0])), (starts[4], _short(total[1]))):
        canvas.text(x, y, text, theme.ink, width=COLUMNS[0] - GAP)


def _short(count: int) -> str:
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * unit:  # three digits of less would round to a thousand of the next unit
            return f"{count / unit:.3g}{letter}" if count < 999.5 * unit else f"{count / unit:,.0f}{letter}"
    return str(count)
