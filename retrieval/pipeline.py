"""Prepares photos in threads, a bounded way ahead of where they are needed."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

from index.errors import PhotoError

Source = TypeVar("Source")
Result = TypeVar("Result")
Item = TypeVar("Item")

LOOK_AHEAD = 64


def prepare_photos(
    sources: Iterable[Source],
    prepare: Callable[[Source], Result],
    *,
    workers: int | None = None,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], int] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """Yield each source with what `prepare` makes of it in one of `workers` threads, in the order of the sources.

    A PhotoError comes in the place of a result; any other exception is raised. Sources are taken ahead
    of time until they weigh `look_ahead` together. Closing the generator, or an exception such as Ctrl-C, cancels what
    has not begun.
    """
    jobs = ((source, partial(prepare, source)) for source in sources)
    return run_ahead(jobs, workers=workers, look_ahead=look_ahead, weigh=weigh)


def run_ahead(
    jobs: Iterable[tuple[Source, Callable[[], Result]]],
    *,
    workers: int | None = None,
    look_ahead: int = LOOK_AHEAD,
    weigh: Callable[[Source], int] = lambda _: 1,
) -> Iterator[tuple[Source, Result | PhotoError]]:
    """As `prepare_photos`, with a call for each source; what only the call holds is let go of as soon as it is done."""
    ahead: deque[tuple[Source, Future[Result]]] = deque()
    weight = 0

    def oldest() -> tuple[Source, Result | PhotoError]:
        source, future = ahead.popleft()
        try:
            return source, future.result()
        except PhotoError as error:
            return source, error

    executor = ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="fc7-photos")
    try:
        for source, job in jobs:
            ahead.append((source, executor.submit(job)))
            del job
            weight += weigh(source)
            while ahead and weight >= look_ahead:
                weight -= weigh(ahead[0][0])
                yield oldest()
        while ahead:
            yield oldest()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`, the last one perhaps shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
