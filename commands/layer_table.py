"""The layers of a model as text: a table for people, blocks where it does not fit, JSON for programs."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from retrieval.models.cost import LayerCost, ModelCost

HEADS = ("layer", "kind", "output", "neurons", "parameters", "forward", "backward", "ms")
TEXTS = 3
"""Columns of text, flush left; numbers are flush right."""


def format_layers(cost: ModelCost, format: str, *, width: int | None = None) -> Iterator[str]:
    """The layers as "table", at most `width` columns wide, or as one "json" object."""
    if format == "json":
        record = {
            "model": cost.name,
            "threads": cost.threads,
            "runs": cost.runs,
            "layers": [asdict(layer) for layer in cost.layers],
            "total": {name: value for name, value in asdict(cost.total).items() if value},
        }
        yield json.dumps(record, ensure_ascii=False, indent=2) + "\n"
        return
    rows = [_cells(layer) for layer in cost.in_table]
    widths = [max(map(len, column)) for column in zip(HEADS, *rows, strict=True)]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        for row in (HEADS, *rows):
            yield _line(row, widths)
    else:
        for row in rows:
            yield from _block(row)
    note = (
        f"forward, backward: millions of multiply-adds for one picture; ms: fastest of {cost.runs} runs "
        f"of one picture on {cost.threads} {'thread' if cost.threads == 1 else 'threads'}"
    )
    yield "\n" + (note if width is None else textwrap.fill(note, width)) + "\n"


def _cells(layer: LayerCost) -> tuple[str, ...]:
    counts = (f"{count:,}" if count else "" for count in (layer.neurons, layer.parameters))
    products = (f"{count / 1e6:,.1f}" if count else "" for count in (layer.forward, layer.backward))
    time = f"{layer.milliseconds:.{1 if layer.milliseconds >= 100 else 2}f}"
    return layer.name, layer.kind, "×".join(map(str, layer.output)), *counts, *products, time


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = (cell.ljust(width) for cell, width in zip(cells[:TEXTS], widths, strict=False))
    numbers = (cell.rjust(width) for cell, width in zip(cells[TEXTS:], widths[TEXTS:], strict=True))
    return "  ".join([*texts, *numbers]) + "\n"


def _block(cells: Sequence[str]) -> Iterator[str]:
    yield "  ".join(filter(None, cells[:TEXTS])) + "\n"
    for cell, head in zip(cells[TEXTS:], HEADS[TEXTS:], strict=True):
        if cell:
            yield f"{cell:>15}  {head}\n"
