"""What a new run begins with: the recipe of what it starts from, and the changes asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from training_samples import CPU, TINY, checkpoint_of, lively

import training.loop.new_run
from training.data.sources import Source
from training.loop.new_run import NO_MARGIN_SCALE, train_new
from training.loop.recipe import RECIPES, Recipe
from training.loop.report import SilentReport


def dict_of(mapping: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Return the mapping itself, to be changed for a test."""
    assert isinstance(mapping, dict)
    return mapping


@pytest.mark.parametrize(
    ("seen", "shape", "scale", "expected"),
    [
        (None, {}, None, 1.0),
        (None, {"squash": True}, None, NO_MARGIN_SCALE),
        (None, {"squash": True}, 1.0, 1.0),
        (32, {}, None, 1.0),
        (28, {}, None, NO_MARGIN_SCALE),
        (28, {}, 0.5, 0.5),
    ],
)
def test_a_network_that_sees_all_of_the_square_learns_from_smaller_crops(
    seen: int | None,
    shape: dict[str, bool],
    scale: float | None,
    expected: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Recipe] = []
    monkeypatch.setattr(training.loop.new_run, "train", lambda _s, _o, recipe, **_: begun.append(recipe))
    monkeypatch.setitem(dict_of(RECIPES), TINY.arch, RECIPES["alexnet-64"])
    start = None
    if seen:
        start = tmp_path / "start.pt"
        checkpoint = checkpoint_of(lively(TINY, 3))
        checkpoint.config = TINY.seeing(seen)
        checkpoint.save(start)
    changes: dict[str, Any] = {"batch_size": None, "lr": None, "scale": scale}
    train_new(
        [Source(tmp_path)],
        tmp_path / "run",
        hardware=CPU,
        report=SilentReport(),
        arch=None,
        start=start,
        teacher=None,
        shape=shape,
        changes=changes,
        names=None,
        cache=None,
    )
    assert [recipe.scale for recipe in begun] == [expected]
