"""Loose guards of what the benchmarks of indexing and decoding hold fc7 to: half of each goal, of small runs."""

import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest
from decoding import compared
from indexing import FEW, MEGABYTES, TINY, peak_memory, speed_row
from report import Goal
from sample_photos import LARGE, SMALL, write_photos

from retrieval.evaluation.speed import Costs, Measured, Speed, measure
from retrieval.models.model import Model
from retrieval.pipeline.executor import Pace, usable_cores

pytestmark = pytest.mark.slow


def spare_cores() -> float:
    """How many cores other work leaves to threads that never wait."""

    def work(_: int) -> float:
        until, data = time.perf_counter() + 0.5, bytes(1 << 20)
        while time.perf_counter() < until:
            blake2b(data)
        return time.thread_time()

    started, cores = time.perf_counter(), usable_cores()
    with ThreadPoolExecutor(cores) as threads:
        return sum(threads.map(work, range(cores))) / (time.perf_counter() - started)


@pytest.mark.parametrize("count", [10, 200])
def test_indexing_reaches_half_its_goal(count: int, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", count, SMALL)
    model = Model.load(device="cpu", threads=1)
    shares = []
    for _ in range(3):
        spare = spare_cores()
        found = measure(model, photos, paces=[Pace.chosen(model)], rounds=1, work=tmp_path)
        shares.append(found.speeds[0].rate / found.usual_costs.bound(spare))
    assert max(shares) >= 0.45


def test_decoding_reaches_half_its_goal(tmp_path: Path) -> None:
    for count, size in ((50, SMALL), (2, LARGE)):
        files = [path.read_bytes() for path in write_photos(tmp_path / str(count), count, size)]
        ours, theirs = compared(files, 64, 3)
        assert max(their / our for our, their in zip(ours, theirs, strict=True)) >= 0.45


def test_memory_does_not_grow_with_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "few", FEW // 5, TINY)
    write_photos(tmp_path / "many", 3 * FEW, TINY)
    few, many = (peak_memory(tmp_path / name, tmp_path / f"{name}-index", None) for name in ("few", "many"))
    assert many <= 2.2 * few
    assert many <= 2 * MEGABYTES


def test_the_table_has_the_statistic_of_the_goals() -> None:
    costs = (Costs(0.001, 0.004, 0.005),) * 3
    measured = Measured("model", 10, 2, costs, (Speed(Pace(2, 16, 2), (100.0, 200.0, 90.0), (2.0,) * 3),))
    _, _, middle, span, rounds, _ = Goal("share of the bound", 0.9, measured.ratios).row()
    assert (middle, span, rounds) == ("0.5", "0.45 to 1", "3")
    assert speed_row("10", measured) == ["10", rounds, "1.00", "4.00", "5.00", "200", "100", "0.50", "0.45 to 1.00"]
