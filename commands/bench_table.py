"""What a measurement found, as text: a table for people, JSON for programs."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from statistics import median

from retrieval.evaluation.speed import Measured, Speed
from retrieval.pipeline.executor import Concurrency

STAGES = ("reading", "decoding", "network")
WORTH_TELLING = 0.01


def format_measured(measured: Measured, format: str, *, source: str, width: int | None = None) -> Iterator[str]:
    """A measurement as "table" or as one "json" object; `source` says what photos they are."""
    costs, usual, best = measured.usual_costs, measured.speeds[0], measured.best
    bound, limit = median(measured.bounds), limiting(measured)
    if format == "json":
        record = {
            "model": measured.model,
            "photos": measured.photos,
            "source": source,
            "cores": measured.cores,
            "taken_by_host": measured.taken,
            "rounds": len(measured.costs),
            "seconds_a_photo": {name: value for name, value in asdict(costs).items() if value},
            "bound": bound,
            "photos_a_second": usual.rate,
            "share_of_bound": median(measured.ratios),
            "limit": limit,
            "speeds": [
                {
                    "workers": speed.concurrency.workers,
                    "batch_size": speed.concurrency.batch_size,
                    "photos_a_second": speed.rate,
                }
                for speed in measured.speeds
            ],
            "best": {"workers": best.concurrency.workers, "batch_size": best.concurrency.batch_size},
        }
        yield json.dumps(record, ensure_ascii=False, indent=2) + "\n"
        return
    yield f"{measured.model} on {measured.photos} photos, {source}\n\n"
    yield f"{'':<12}  {'photos/s':>9}  {'ms each':>8}\n"
    for name in STAGES:
        if seconds := getattr(costs, name):
            yield _line(name, measured.cores / seconds, seconds)
    if costs.gpu:
        yield _line("network", 1 / costs.gpu, costs.gpu)
    yield _line("bound", bound)
    yield _line("indexing", usual.rate) + "\n"
    yield f"{'workers':>7}  {'batch':>5}  {'photos/s':>9}\n"
    for speed in measured.speeds:
        mark = "  best" if speed is best else ""
        yield f"{speed.concurrency.workers:>7}  {speed.concurrency.batch_size:>5}  {speed.rate:>9,.1f}{mark}\n"
    yield "\n"
    advice = (
        "the usual --workers and --batch-size are best"
        if best is usual
        else f"fastest is fc7 index {flags(best, usual.concurrency)}"
    )
    taken = (
        f", less the {measured.taken:.0%} of their time that this virtual machine's host gave to others"
        if measured.taken >= WORTH_TELLING
        else ""
    )
    note = (
        f"Indexing reaches {median(measured.ratios):.0%} of the bound, medians of {len(measured.costs)} rounds; "
        f"{limit} limits it, and {advice}. A stage is as fast as {measured.cores} cores are that do nothing else; the "
        f"bound is what they could do in all stages if none ever waited{taken}. Files were read before, and lay in "
        "memory."
    )
    yield (note if width is None else textwrap.fill(note, width)) + "\n"


def limiting(measured: Measured) -> str:
    """Return the stage that takes most of the time."""
    costs = measured.usual_costs
    if costs.gpu and 1 / costs.gpu <= costs.bound(measured.cores):
        return "network"
    return max(STAGES, key=lambda name: float(getattr(costs, name)))


def flags(speed: Speed, usual: Concurrency) -> str:
    """Return the options that choose a concurrency."""
    words = []
    if speed.concurrency.workers != usual.workers:
        words.append(f"--workers {speed.concurrency.workers}")
    if speed.concurrency.batch_size != usual.batch_size:
        words.append(f"--batch-size {speed.concurrency.batch_size}")
    return " ".join(words)


def _line(name: str, rate: float, seconds: float | None = None) -> str:
    return f"{name:<12}  {rate:>9,.1f}" + (f"  {1e3 * seconds:>8.2f}" if seconds else "") + "\n"
