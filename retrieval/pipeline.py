"""Stages of work in threads, each a bounded way ahead of where its results are needed."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice, repeat
from typing import TypeVar

from index.errors import PhotoError

Source = TypeVar("Source")
Result = TypeVar("Result")
Item = TypeVar("Item")

LOOK_AHEAD = 64


@contextmanager
def photo_threads(workers: int | None = None) -> Iterator[Executor]:
    """Give threads, by default one a core, that stages can share; at the end what has not begun is cancelled."""
    threads = ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="fc7-photos")
    try:
        yield threads
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def prepare_photos(
    sources: Iterable[Source],
    prepare: Callable[[Source], Result],
    *,
    workers: int | None = None,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], int] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """As `run_ahead_alone`, with what `prepare` makes of each source."""
    jobs = ((source, partial(prepare, source)) for source in sources)
    return run_ahead_alone(jobs, workers=workers, look_ahead=look_ahead, weigh=weigh)


def run_ahead_alone(
    jobs: Iterable[tuple[Source, Callable[[], Result]]],
    *,
    workers: int | None = None,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], int] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """As `run_ahead`, in threads of its own; closing the generator ends them."""
    with photo_threads(workers) as threads:
        yield from run_ahead(jobs, threads, look_ahead=look_ahead, weigh=weigh)


def run_ahead(
    jobs: Iterable[tuple[Source, Callable[[], Result]]],
    threads: Executor,
    *,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], int] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """Yield each source with the result of its call, which is made in one of the threads, in the order of the jobs.

    A PhotoError comes in the place of a result; any other exception is raised. Jobs are taken ahead of time until they
    weigh `look_ahead` together. What only the call holds is let go of as soon as it is done.
    """
    ahead: deque[tuple[Source, Future[Result]]] = deque()
    weight = 0

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
        while ahead and weight >= look_ahead:
            weight -= weigh(ahead[0][0])
            yield oldest()
    while ahead:
        yield oldest()


def in_batches(items: Iterable[Item], sizes: int | Iterable[int]) -> Iterator[list[Item]]:
    """Yield the items in lists of a size, or of one after the other of several; the last one perhaps shorter."""
    rest = iter(items)
    for size in repeat(sizes) if isinstance(sizes, int) else sizes:
        if not (batch := list(islice(rest, size))):
            return
        yield batch


def even_sizes(count: int, most: int, workers: int) -> Iterator[int]:
    """Yield sizes of at most `most` that add up to `count`, smaller towards the end, so that all workers end together.

    What is left is shared by all, again and again (guided self-scheduling, Polychronopoulos and Kuck 1987).
    """
    while count > 0:
        yield (size := min(most, -(-count // workers)))
        count -= size


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
