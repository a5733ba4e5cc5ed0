"""Cold starts take no more than twice what start.py allows them."""

from pathlib import Path

import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from start import CLASSIFY, HELP, IMPORTS, NOTHING, SEARCH, goals, measure, programs


def test_a_ratio_is_of_one_round() -> None:
    times = {NOTHING: (1.0, 2.0), HELP: (3.0, 4.0), IMPORTS: (4.0, 5.0), CLASSIFY: (6.0, 10.0), SEARCH: (12.0, 5.0)}
    assert [goal.measured for goal in goals(times)] == [(3.0, 2.0), (1.5, 2.0), (2.0, 0.5)]


@pytest.mark.slow
def test_cold_starts_are_quick(tmp_path: Path) -> None:
    times = measure(programs(tmp_path, 2_000), rounds=5)
    for goal in goals(times):
        assert min(goal.measured) < 2 * goal.goal, goal.what
