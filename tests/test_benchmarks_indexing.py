"""Guards of the benchmark of indexing: what it says of memory, and the statistic of its goals. Speeds: `make bench`."""

from pathlib import Path

import pytest
from indexing import FEW, MEGABYTES, TINY, peak_memory, speed_row
from report import Goal
from sample_photos import write_photos

from retrieval.evaluation.speed import Costs, Measured, Speed
from retrieval.pipeline.executor import Concurrency

pytestmark = pytest.mark.slow


def test_memory_does_not_grow_with_photos(tmp_path: Path) -> None:
    write_photos(tmp_path / "few", FEW // 5, TINY)
    write_photos(tmp_path / "many", 3 * FEW, TINY)
    few, many = (peak_memory(tmp_path / name, tmp_path / f"{name}-index", None) for name in ("few", "many"))
    assert many <= 2.2 * few
    assert many <= 2 * MEGABYTES


def test_the_table_has_the_statistic_of_the_goals() -> None:
    costs = (Costs(0.001, 0.004, 0.005),) * 3
    measured = Measured("model", 10, 2, costs, (Speed(Concurrency(2, 16, 2), (100.0, 200.0, 90.0), (2.0,) * 3),))
    _, _, middle, span, rounds, _ = Goal("share of the bound", 0.9, measured.ratios).row()
    assert (middle, span, rounds) == ("0.5", "0.45 to 1", "3")
    assert speed_row("10", measured) == ["10", rounds, "1.00", "4.00", "5.00", "200", "100", "0.50", "0.45 to 1.00"]
