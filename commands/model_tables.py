"""What is known of models and their speed, as text: facts, layers, measurements."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from commands.tables import aligned, as_json, paragraph, wrapped
from retrieval.answers import measured_speed, model_layers
from retrieval.text import printable

if TYPE_CHECKING:
    from retrieval.evaluation.speed import Measured, Speed
    from retrieval.info import Facts
    from retrieval.models.cost import LayerCost, ModelCost
    from retrieval.pipeline.executor import Concurrency

MANY = 10  # parts of a value, of which a table shows only the first few
FEW = 3
LEAST_ROOM = 24  # columns for the value beside its name; with less it goes below
LAYER_COLUMNS = ("layer", "kind", "output", "neurons", "parameters", "forward", "backward", "ms")
LAYER_TEXTS = 3  # columns of text, which are flush left
WORTH_TELLING = 0.01


def format_facts(facts: "Facts", format: str, *, width: int | None = None) -> Iterator[str]:
    """The rows of facts as "table", aligned, one of several parts on as many lines, or the values as "json" object.

    A table has `width` columns at most, except for words that are longer, as paths are.
    """
    if format == "json":
        yield as_json(facts.values, indent=2) + "\n"
        return
    column = max((len(name) for name in facts.rows), default=0) + 2
    beside = width is None or width - column >= LEAST_ROOM
    for name, value in facts.rows.items():
        indent = " " * (column if beside else 2)
        lines = [part for line in _lines(value) for part in wrapped(printable(line), width, len(indent))]
        if not beside:
            yield f"{name}\n"
        for number, line in enumerate(lines):
            yield f"{f'{name:<{column}}' if beside and number == 0 else indent}{line}\n"


def format_layers(cost: "ModelCost", format: str, *, width: int | None = None) -> Iterator[str]:
    """The layers as "table", in blocks where it does not fit into `width` columns, or as one "json" object."""
    if format == "json":
        yield as_json(model_layers(cost), indent=2) + "\n"
        return
    rows = [_layer_row(layer) for layer in cost.in_table]
    widths = [max(map(len, column)) for column in zip(LAYER_COLUMNS, *rows, strict=True)]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        yield from (aligned(row, widths, texts=LAYER_TEXTS) for row in (LAYER_COLUMNS, *rows))
    else:
        for row in rows:
            yield "  ".join(filter(None, row[:LAYER_TEXTS])) + "\n"
            numbers = zip(row[LAYER_TEXTS:], LAYER_COLUMNS[LAYER_TEXTS:], strict=True)
            yield from (f"{number:>15}  {column}\n" for number, column in numbers if number)
    yield paragraph(
        f"forward, backward: millions of multiply-adds for one picture; ms: fastest of {cost.runs} runs "
        f"of one picture on {cost.threads} {'thread' if cost.threads == 1 else 'threads'}",
        width,
    )


def format_measured(measured: "Measured", format: str, *, source: str, width: int | None = None) -> Iterator[str]:
    """A measurement as "table" or as one "json" object; `source` says what photos they are."""
    if format == "json":
        yield as_json(measured_speed(measured, source), indent=2) + "\n"
        return
    costs, usual, best = measured.usual_costs, measured.speeds[0], measured.best
    stages = [(name, measured.cores / seconds, seconds) for name, seconds in costs.of_cores if seconds]
    if costs.gpu:
        stages.append(("network", 1 / costs.gpu, costs.gpu))
    rows = [(name, f"{rate:,.1f}", f"{1e3 * seconds:.2f}") for name, rate, seconds in stages]
    rows += [("bound", f"{measured.bound:,.1f}", ""), ("indexing", f"{usual.rate:,.1f}", "")]
    yield f"{measured.model} on {measured.photos} photos, {source}\n\n"
    yield from (aligned(row, (12, 9, 8), texts=1) for row in (("", "photos/s", "ms each"), *rows))
    yield "\n"
    speeds = [
        (
            str(speed.concurrency.workers),
            str(speed.concurrency.batch_size),
            f"{speed.rate:,.1f}",
            "best" if speed is best else "",
        )
        for speed in measured.speeds
    ]
    yield from (aligned(row, (7, 5, 9, 0)) for row in (("workers", "batch", "photos/s", ""), *speeds))
    advice = (
        "the usual --workers and --batch-size are best"
        if best is usual
        else f"fastest is fc7 index {_speed_options(best, usual.concurrency)}"
    )
    taken = (
        f", less the {measured.taken:.0%} of their time that this virtual machine's host gave to others"
        if measured.taken >= WORTH_TELLING
        else ""
    )
    yield paragraph(
        f"Indexing reaches {measured.ratio:.0%} of the bound, medians of {len(measured.costs)} rounds; "
        f"{measured.limit} limits it, and {advice}. A stage is as fast as {measured.cores} cores are that do nothing "
        f"else; the bound is what they could do in all stages if none ever waited{taken}. Files were read before, and "
        "lay in memory.",
        width,
    )


def _lines(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}: {part}" for name, part in value.items()] or ["none"]
    if isinstance(value, list | tuple) and len(value) > MANY:
        return [f"{len(value)}: {', '.join(map(str, value[:FEW]))}, …"]
    if isinstance(value, list | tuple):
        return [str(part) for part in value] or ["none"]
    return [str(value)]


def _layer_row(layer: "LayerCost") -> tuple[str, ...]:
    counts = (f"{count:,}" if count else "" for count in (layer.neurons, layer.parameters))
    products = (f"{count / 1e6:,.1f}" if count else "" for count in (layer.forward, layer.backward))
    time = f"{layer.milliseconds:.{1 if layer.milliseconds >= 100 else 2}f}"
    return layer.name, layer.kind, "×".join(map(str, layer.output)), *counts, *products, time


def _speed_options(speed: "Speed", usual: "Concurrency") -> str:
    """Return the options that choose a concurrency."""
    chosen = {"--workers": speed.concurrency.workers, "--batch-size": speed.concurrency.batch_size}
    default = {"--workers": usual.workers, "--batch-size": usual.batch_size}
    return " ".join(f"{option} {value}" for option, value in chosen.items() if value != default[option])
