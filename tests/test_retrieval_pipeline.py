"""Preparing in threads: in order, bounded, and over at once when it must be."""

import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.errors import PhotoError
from index.records import FileStamp
from retrieval.models.model import Model
from retrieval.pipeline.executor import (
    SMALL_BATCH,
    Concurrency,
    compute_ahead,
    even_sizes,
    in_batches,
    photo_threads,
    prepare_photos,
    run_ahead,
)
from retrieval.pipeline.stages import Stages


def test_results_come_in_the_order_of_the_sources() -> None:
    def prepare(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(prepare_photos(range(50), prepare, workers=8)) == [(number, number**2) for number in range(50)]


def test_a_photo_error_takes_the_place_of_a_result() -> None:
    def prepare(number: int) -> int:
        if number % 3 == 0:
            raise PhotoError(f"no {number}")
        return number

    outcomes = dict(prepare_photos(range(10), prepare, workers=2))
    assert [number for number, outcome in outcomes.items() if isinstance(outcome, PhotoError)] == [0, 3, 6, 9]
    assert str(outcomes[3]) == "no 3"


def test_any_other_exception_is_raised_in_its_turn() -> None:
    def prepare(number: int) -> float:
        return 1 / (3 - number)

    results = prepare_photos(range(10), prepare, workers=4)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)


class Counted:
    """Numbers, of which `taken` have been asked for."""

    def __init__(self, count: int) -> None:
        self._count, self.taken = count, 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self._count):
            self.taken += 1
            yield number


def test_no_more_sources_are_taken_than_the_look_ahead() -> None:
    sources = Counted(100)
    for done, _ in enumerate(prepare_photos(sources, str, workers=2, look_ahead=5), 1):
        assert sources.taken <= min(done + 4, 100)
    assert sources.taken == 100


def test_heavy_sources_are_taken_less_far_ahead() -> None:
    taken: list[int] = []

    def sources() -> Iterator[int]:
        for weight in (1, 1, 50, 1, 2, 3, 4, 1, 1, 1):
            taken.append(weight)
            yield weight

    done = 0
    for done, (weight, _) in enumerate(prepare_photos(sources(), str, look_ahead=6, weigh=lambda weight: weight), 1):
        assert taken[done - 1] == weight
        assert sum(taken[done:-1]) < 6
    assert done == 10


class Unfinished(Executor):
    """Takes jobs, counts them, and has none done before its result is asked for."""

    def __init__(self) -> None:
        self.taken = 0

    def submit(self, job: Callable[..., Any], /, *args: Any, **options: Any) -> "Future[Any]":
        self.taken += 1
        future: Future[Any] = Future()
        future.result = lambda timeout=None: None  # type: ignore[method-assign]
        return future


@pytest.mark.parametrize(("size", "most"), [(0, 16), (1 << 20, 16), (1_400_000, 12), (2_080_000, 9), (100 << 20, 1)])
def test_files_are_read_ahead_by_their_number_and_their_bytes(tiny_model: Path, size: int, most: int) -> None:
    """16 files or 16 MiB, the last of which may be more than that by itself."""
    model, readers = Model.load(tiny_model), Unfinished()
    stages = Stages(model, Concurrency(1, 1, 1), readers=readers, threads=readers)
    paths = [b"%d.jpg" % number for number in range(100)]
    next(stages.read(Path(), paths, dict.fromkeys(paths, FileStamp(size, 0))))
    assert readers.taken == most


@pytest.mark.parametrize("look_ahead", [1, 2])
def test_the_smallest_look_ahead_works(look_ahead: int) -> None:
    assert [result for _, result in prepare_photos(range(5), str, look_ahead=look_ahead)] == list("01234")


def test_closing_cancels_what_has_not_begun() -> None:
    begun = []
    release = threading.Event()

    def prepare(number: int) -> int:
        begun.append(number)
        if number:
            release.wait(10)
        return number

    results = prepare_photos(range(50), prepare, workers=2, look_ahead=40)
    assert next(results) == (0, 0)
    threading.Timer(0.3, release.set).start()
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fc7-photos")]


def test_an_interrupt_ends_the_threads() -> None:
    def consume() -> None:
        for number, _ in prepare_photos(range(1000), str, workers=2):
            if number == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fc7-photos")]


def test_ctrl_c_while_waiting_for_a_photo_is_prompt() -> None:
    begun = []

    def prepare(number: int) -> int:
        begun.append(number)
        if number == 10:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return number

    with pytest.raises(KeyboardInterrupt):
        for _ in prepare_photos(range(1000), prepare, workers=2, look_ahead=500):
            pass
    assert len(begun) < 250
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fc7-photos")]


def test_an_exception_of_the_sources_is_raised() -> None:
    def sources() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(prepare_photos(sources(), str))


def test_what_only_a_call_holds_is_let_go_when_it_is_done() -> None:
    class Load:
        def weight(self) -> int:
            return 1

    alive: list[weakref.ref[Load]] = []

    def jobs() -> Iterator[tuple[int, partial[int]]]:
        for number in range(20):
            load = Load()
            alive.append(weakref.ref(load))
            yield number, partial(Load.weight, load)

    with photo_threads(1) as threads:
        next(run_ahead(jobs(), threads, look_ahead=20))
        until = time.monotonic() + 10
        while sum(ref() is not None for ref in alive) > 2 and time.monotonic() < until:
            time.sleep(0.001)
        assert sum(ref() is not None for ref in alive) <= 2


def test_batches() -> None:
    assert list(in_batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches([], 3)) == []


def test_batches_of_given_sizes() -> None:
    assert list(in_batches(range(7), [4, 2, 9])) == [[0, 1, 2, 3], [4, 5], [6]]
    assert list(in_batches(range(3), iter([4, 2]))) == [[0, 1, 2]]


@given(count=st.integers(0, 500), most=st.integers(1, 40), workers=st.integers(1, 20))
def test_sizes_add_up_and_end_small(count: int, most: int, workers: int) -> None:
    sizes = list(even_sizes(count, most, workers))
    assert sum(sizes) == count
    assert all(1 <= size <= most for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
    # Given one after the other to whoever has had least, all workers end up with about as much.
    shares = [0] * workers
    for size in sizes:
        shares[shares.index(min(shares))] += size
    if count >= most * workers * 2:
        assert max(shares) - min(shares) <= max(SMALL_BATCH, most // workers + 1)


def test_one_worker_has_full_batches() -> None:
    assert list(even_sizes(10, 4, 1)) == [4, 4, 2]
    assert list(even_sizes(10, 16, 2)) == [5, 5]
    assert list(even_sizes(40, 16, 2)) == [16, 12, 6, 5, 1]


@given(count=st.integers(0, 60), workers=st.integers(1, 4), batch_size=st.integers(1, 20), parallel=st.integers(1, 4))
def test_batches_are_computed_in_order_and_as_large_as_may_be(
    count: int, workers: int, batch_size: int, parallel: int
) -> None:
    def compute(batch: list[int]) -> list[int]:
        time.sleep(0.0005 * (batch[0] % 3))
        return [number**2 for number in batch]

    concurrency = Concurrency(workers, batch_size, parallel)
    with photo_threads(workers) as threads:
        found = list(compute_ahead(range(count), compute, threads, concurrency, at_most=count))
    assert [number for batch in found for number in batch] == [number**2 for number in range(count)]
    assert [len(batch) for batch in found] == list(even_sizes(count, batch_size, parallel))


def test_few_batches_wait() -> None:
    """What is prepared is not taken further ahead than for one batch more than are computed at once."""
    items = Counted(1000)
    with photo_threads(2) as threads:
        for done, batch in enumerate(compute_ahead(items, list, threads, Concurrency(2, 10, 2), at_most=1000), 1):
            assert len(batch) == 10
            assert items.taken <= 10 * (done + 2)
            if done == 20:
                break


def test_stages_share_threads() -> None:
    """Two stages over one pool: all come out in order, and never more calls run than there are threads."""
    running, most = 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        return number + 1

    with photo_threads(3) as threads:
        first = run_ahead(((number, partial(work, number)) for number in range(40)), threads, look_ahead=10)
        second = ((number, partial(work, result)) for number, result in first if not isinstance(result, PhotoError))
        found = list(run_ahead(second, threads, look_ahead=4))
    assert found == [(number, number + 2) for number in range(40)]
    assert most <= 3
