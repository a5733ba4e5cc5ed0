"""How fast photos are indexed here: what each stage costs by itself, what that allows, and what is reached."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from index.errors import PhotoError, UserError
from index.index_writer import IndexWriter
from retrieval.indexing.index_folders import index_folders
from retrieval.models.model import Model
from retrieval.pipeline.executor import (
    Concurrency,
    compute_ahead,
    photo_threads,
    run_ahead,
)
from retrieval.pipeline.machine import usable_cores
from retrieval.pipeline.progress import Progress
from retrieval.pipeline.stages import prepare_photo, read_content

ROUNDS = 3
MOST_PHOTOS = 1_000
SECONDS_A_RUN = 0.7
"""What is over sooner is repeated."""
WORTH_CHANGING = 1.05
"""How much faster another concurrency must be to be recommended: less is chance."""


@dataclass(frozen=True)
class Costs:
    """Seconds that a photo takes in each stage by itself: of a core, and of a GPU where the network runs on one."""

    reading: float
    decoding: float
    network: float
    gpu: float = 0.0

    @property
    def of_cores(self) -> tuple[tuple[str, float], ...]:
        """Stages by name, with the seconds of a core; 0 for a network that runs on a GPU."""
        return ("reading", self.reading), ("decoding", self.decoding), ("network", self.network)

    def bound(self, cores: float) -> float:
        """Return how many photos a second all cores could do if none of them ever waited."""
        processor = cores / (self.reading + self.decoding + self.network)
        return min(processor, 1 / self.gpu) if self.gpu else processor


@dataclass(frozen=True)
class Speed:
    """Photos a second in each round of indexing at a concurrency, and how many cores the host left for it during it."""

    concurrency: Concurrency
    rates: tuple[float, ...]
    cores: tuple[float, ...]

    @property
    def rate(self) -> float:
        """The median."""
        return median(self.rates)


@dataclass(frozen=True)
class Measured:
    """What was measured, in turn, in each round; the first of `speeds` is that of the usual concurrency.

    The bound accounts for time that a host takes from a virtual machine, but not for other programs that run in it.
    """

    model: str
    photos: int
    cores: int
    costs: tuple[Costs, ...]
    speeds: tuple[Speed, ...]

    @property
    def bounds(self) -> tuple[float, ...]:
        """What the cores allowed that were there at the usual concurrency, in photos a second, by round."""
        return tuple(costs.bound(cores) for costs, cores in zip(self.costs, self.speeds[0].cores, strict=True))

    @property
    def ratios(self) -> tuple[float, ...]:
        """What share of the bound is reached at the usual concurrency, by round."""
        return tuple(rate / bound for rate, bound in zip(self.speeds[0].rates, self.bounds, strict=True))

    @property
    def bound(self) -> float:
        """What the cores allowed at the usual concurrency, in photos a second: the median."""
        return median(self.bounds)

    @property
    def ratio(self) -> float:
        """What share of the bound is reached at the usual concurrency: the median."""
        return median(self.ratios)

    @property
    def limit(self) -> str:
        """The stage that takes most of the time: "reading", "decoding" or "network"."""
        costs = self.usual_costs
        if costs.gpu and 1 / costs.gpu <= costs.bound(self.cores):
            return "network"
        return max(costs.of_cores, key=lambda stage: stage[1])[0]

    @property
    def taken(self) -> float:
        """What share of all cores the host took away at the usual concurrency: the median."""
        return 1 - median(self.speeds[0].cores) / self.cores

    @cached_property
    def usual_costs(self) -> Costs:
        """The median of each stage."""
        names = ("reading", "decoding", "network", "gpu")
        return Costs(**{name: median(getattr(costs, name) for costs in self.costs) for name in names})

    @property
    def best(self) -> Speed:
        """The fastest concurrency, or the usual one where no other is clearly faster."""
        fastest = max(self.speeds, key=lambda speed: speed.rate)
        return fastest if fastest.rate > WORTH_CHANGING * self.speeds[0].rate else self.speeds[0]


def measure(
    model: Model,
    photos: Sequence[Path],
    *,
    concurrencies: Sequence[Concurrency],
    rounds: int = ROUNDS,
    work: Path | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure stages and indexing in turn, `rounds` times, after once for warming up; the model has one thread.

    What is written lies in a temporary folder (in `work`), and is gone at the end. Raises UserError where a photo
    cannot be read.
    """
    costs: list[Costs] = []
    rates: list[list[tuple[float, float]]] = [[] for _ in concurrencies]
    steps, done = (rounds + 1) * (1 + len(concurrencies)), 0
    with TemporaryDirectory(prefix="fc7-bench-", dir=work) as temporary:
        folder = _linked(photos, Path(temporary) / "photos")
        for number in range(rounds + 1):
            tasks: list[Callable[[], None]] = [lambda: costs.append(costs_alone(model, photos, concurrencies[0]))]
            tasks += [
                partial(_append_rate, rates[place], model, folder, concurrency)
                for place, concurrency in enumerate(concurrencies)
            ]
            for task in tasks:
                if progress is not None:
                    progress(done, steps)
                task()
                done += 1
            if number == 0:
                costs.clear()
                for found in rates:
                    found.clear()
    speeds = tuple(
        Speed(concurrency, *zip(*found, strict=True)) for concurrency, found in zip(concurrencies, rates, strict=True)
    )
    return Measured(model.spec.name, len(photos), usable_cores(), tuple(costs), speeds)


def costs_alone(model: Model, photos: Sequence[Path], concurrency: Concurrency) -> Costs:
    """Measure each stage with nothing beside it: one thread a core, and the time of the processor in each thread."""
    with photo_threads() as threads:
        found = [
            _checked(*pair)
            for pair in run_ahead(((photo, partial(_prepared, model, photo)) for photo in photos), threads)
        ]
        prepared = [pixels for _, _, pixels in found]
        started = time.perf_counter()
        spent = list(compute_ahead(prepared, partial(_computed, model), threads, concurrency, at_most=len(prepared)))
        elapsed = time.perf_counter() - started
    reading, decoding = (sum(times) / len(photos) for times in zip(*[row[:2] for row in found], strict=True))
    if model.on_gpu:
        return Costs(reading, decoding, 0.0, gpu=elapsed / len(photos))
    return Costs(reading, decoding, sum(spent) / len(photos))


def indexing_rate(model: Model, folder: Path, concurrency: Concurrency) -> tuple[float, float]:
    """Index a folder into new indexes, again and again if it is small; return photos a second, and cores left for it.

    What the host takes is counted in hundredths of a second: a single run may be too short to tell.
    """
    photos, elapsed, taken = 0, 0.0, 0.0
    while elapsed < SECONDS_A_RUN:
        before = taken_by_host()
        found, seconds = _index_once(model, folder, concurrency)
        photos, elapsed, taken = photos + found, elapsed + seconds, taken + taken_by_host() - before
    return photos / elapsed, usable_cores() - taken / elapsed


def _index_once(model: Model, folder: Path, concurrency: Concurrency) -> tuple[int, float]:
    """Return how many photos were indexed, and the seconds it took."""
    with (
        TemporaryDirectory(prefix="fc7-bench-", dir=folder.parent) as temporary,
        IndexWriter.open_for_writing(
            Path(temporary), fingerprint=model.spec.fingerprint, model_name=model.spec.name, dim=model.spec.dim
        ) as index,
    ):
        started = time.perf_counter()
        [report] = index_folders(index, model, [folder], concurrency=concurrency)
        elapsed = time.perf_counter() - started
    assert report.counts is not None
    return report.counts.new + report.counts.copied, elapsed


def concurrencies_to_try(model: Model) -> list[Concurrency]:
    """List the usual concurrency, then others that differ from it in one thing."""
    usual = Concurrency.chosen(model)
    workers = sorted({1, max(1, usual.workers // 2), usual.workers, 2 * usual.workers} - {usual.workers})
    sizes = [size for size in (4, 16, 64) if size != usual.batch_size]
    return [
        usual,
        *(Concurrency.chosen(model, workers=number) for number in workers),
        *(replace(usual, batch_size=size) for size in sizes),
    ]


def enough_photos(model: Model, photos: Sequence[Path]) -> list[Path]:
    """Choose photos from all over a collection, as many as a run of a second or two takes; those that can be read."""
    spread = [photos[place] for place in np.linspace(0, len(photos) - 1, min(len(photos), MOST_PHOTOS)).astype(int)]
    started, readable = time.perf_counter(), []
    for place in np.random.default_rng(0).permutation(len(spread)):
        try:
            _prepared(model, spread[place])
        except PhotoError:
            continue
        readable.append(spread[place])
        # In one thread, without the network: about half of what it takes with both, on all cores or few.
        if time.perf_counter() - started > SECONDS_A_RUN:
            break
    if not readable:
        raise UserError("none of these photos can be read", hint="name a folder of others with --photos")
    return readable


def _linked(photos: Sequence[Path], folder: Path) -> Path:
    folder.mkdir()
    for number, photo in enumerate(photos):
        (folder / f"{number:06}{photo.suffix}").symlink_to(os.path.abspath(photo))
    return folder


def _append_rate(rates: list[tuple[float, float]], model: Model, folder: Path, concurrency: Concurrency) -> None:
    rates.append(indexing_rate(model, folder, concurrency))


def _prepared(model: Model, photo: Path) -> tuple[float, float, NDArray[np.uint8]]:
    """Read and decode a photo: seconds of this thread for either, and the pixels."""
    started = time.thread_time()
    content = read_content(photo)
    read = time.thread_time()
    pixels = prepare_photo(model, content.data).pixels
    return read - started, time.thread_time() - read, pixels


def _checked(
    photo: Path, found: tuple[float, float, NDArray[np.uint8]] | PhotoError
) -> tuple[float, float, NDArray[np.uint8]]:
    if isinstance(found, PhotoError):
        raise UserError(f"cannot read {photo}: {found}; measure with photos that can be read")
    return found


def _computed(model: Model, batch: Sequence[NDArray[np.uint8]]) -> float:
    started = time.thread_time()
    model.run(np.stack(batch))
    return time.thread_time() - started


def taken_by_host(counted: Path = Path("/proc/stat")) -> float:
    """Return how long the host of a virtual machine has had these cores for others, in seconds of a core.

    This is `steal` in Linux's /proc/stat, proc(5); elsewhere it is not known, and 0.
    """
    if not counted.is_file():
        return 0.0
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in counted.read_text("ascii").splitlines()]
    return sum(int(words[8]) for words in lines if words and words[0] in names) / os.sysconf("SC_CLK_TCK")
