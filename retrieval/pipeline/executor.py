"""Stages of work in threads, each with a bounded number of results waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from typing import Protocol, TypeVar

from index.errors import PhotoError
from retrieval.pipeline.blas import one_blas_thread
from retrieval.pipeline.machine import usable_cores

Source = TypeVar("Source")
Result = TypeVar("Result")
Item = TypeVar("Item")

LOOK_AHEAD = 64
# Alone a picture takes the built-in network half as long again, and each batch is stored by itself.
SMALL_BATCH = 5
BATCH_SIZE = 16
BATCH_SIZE_ON_GPU = 64


class OnDevice(Protocol):
    """A model, or several as one."""

    @property
    def on_gpu(self) -> bool: ...


@dataclass(frozen=True)
class Concurrency:
    """Threads that decode and compute, photos that a batch has at most, and batches that run in parallel.

    `memory` is the bytes that pictures may take while they are decoded, None for the share that is usual.
    """

    workers: int
    batch_size: int
    parallel: int
    memory: int | None = None

    @classmethod
    def chosen(
        cls,
        model: OnDevice,
        *,
        workers: int | None = None,
        batch_size: int | None = None,
        memory: int | None = None,
    ) -> "Concurrency":
        """Choose what is not given: a thread a core, each with batches of its own; a GPU has large ones, in turn."""
        workers = workers or usable_cores()
        if model.on_gpu:
            return cls(workers, batch_size or BATCH_SIZE_ON_GPU, 1, memory)
        return cls(workers, batch_size or BATCH_SIZE, workers, memory)


@contextmanager
def photo_threads(workers: int | None = None) -> Iterator[Executor]:
    """Give threads, by default one a core, that stages can share; at the end what has not begun is cancelled."""
    threads = ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="fc7-photos")
    try:
        yield threads
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def in_threads(compute: Callable[[Source], Result], sources: Iterable[Source]) -> Iterator[Result]:
    """Compute something of each source, in order, by as many threads as there are cores; by none for one source.

    BLAS adds no threads of its own.
    """
    sources = list(sources)
    if len(sources) < 2 or usable_cores() < 2:
        yield from map(compute, sources)
        return
    with one_blas_thread(), photo_threads(min(usable_cores(), len(sources))) as threads:
        yield from threads.map(compute, sources)


def prepare_photos(
    sources: Iterable[Source],
    prepare: Callable[[Source], Result],
    *,
    workers: int | None = None,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], float] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """As `run_ahead`, with what `prepare` makes of each source, in threads that end with the generator.

    BLAS adds no threads of its own.
    """
    jobs = ((source, partial(prepare, source)) for source in sources)
    with one_blas_thread(), photo_threads(workers) as threads:
        yield from run_ahead(jobs, threads, look_ahead=look_ahead, weigh=weigh)


def run_ahead(
    jobs: Iterable[tuple[Source, Callable[[], Result]]],
    threads: Executor,
    *,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], float] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """Yield each source with the result of its call, which is made in one of the threads, in the order of the jobs.

    A PhotoError comes in the place of a result; any other exception is raised. Jobs are taken ahead of time until they
    weigh `look_ahead` together, or the oldest is done. What only the call refers to is freed as soon as it is done.
    """
    ahead: deque[tuple[Source, Future[Result]]] = deque()
    weight = 0.0

    def oldest() -> tuple[Source, Result | PhotoError]:
        source, future = ahead.popleft()
        try:
            return source, future.result()
        except PhotoError as error:
            return source, error

    for source, job in jobs:
        ahead.append((source, threads.submit(job)))
        del job
        weight += weigh(source)
        while ahead and (weight >= look_ahead or ahead[0][1].done()):
            weight -= weigh(ahead[0][0])
            yield oldest()
    while ahead:
        yield oldest()


def compute_ahead(
    prepared: Iterable[Item],
    compute: Callable[[list[Item]], Result],
    threads: Executor,
    concurrency: Concurrency,
    *,
    at_most: int,
) -> Iterator[Result]:
    """Yield what `compute` makes of each batch of at most `at_most` items, in order.

    A batch is computed in one of the threads that prepare the items, so that none of these waits for another: faster
    than a network in several threads, which wait for each other at every layer and for those that decode.
    """
    batches = in_batches(prepared, even_sizes(at_most, concurrency.batch_size, concurrency.parallel))
    # While all threads compute, or a GPU does, one more waits.
    for _, result in run_ahead(
        ((None, partial(compute, batch)) for batch in batches), threads, look_ahead=concurrency.parallel + 1
    ):
        assert not isinstance(result, PhotoError)
        yield result


def run_in_batches(
    jobs: Iterable[tuple[Source, Callable[[], Item]]],
    compute: Callable[[list[tuple[Source, Item | PhotoError]]], Result],
    concurrency: Concurrency,
    *,
    at_most: int,
) -> Iterator[Result]:
    """As `compute_ahead`, of what `run_ahead` makes of the jobs, in threads that end with the generator."""
    with photo_threads(concurrency.workers) as threads:
        yield from compute_ahead(run_ahead(jobs, threads), compute, threads, concurrency, at_most=at_most)


def in_batches(items: Iterable[Item], sizes: int | Iterable[int]) -> Iterator[list[Item]]:
    """Yield the items in lists of a size, or of one after the other of several; the last one perhaps shorter."""
    rest = iter(items)
    for size in repeat(sizes) if isinstance(sizes, int) else sizes:
        if not (batch := list(islice(rest, size))):
            return
        yield batch


def even_sizes(count: int, most: int, workers: int) -> Iterator[int]:
    """Yield sizes of at most `most` that add up to `count`, smaller towards the end, so that all workers end together.

    What is left is shared by all, again and again (guided self-scheduling, Polychronopoulos and Kuck 1987), down to
    sizes of 5.
    """
    while count > 0:
        yield (size := min(most, count, max(SMALL_BATCH, -(-count // workers))))
        count -= size
