"""Exporting a checkpoint: from the pictures of its run, from the same ones elsewhere, or from others."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from training_samples import CPU, TINY, TINY_RECIPE, write_shapes

from index.errors import DatasetError
from retrieval.spec import ModelSpec
from training.checkpoint import Checkpoint, EpochMetrics
from training.checkpoint_export import export_checkpoint
from training.embedding import EmbeddingRecipe
from training.run import BEST, TrainResult, train


class Notes(list[str]):
    """A report that keeps its lines."""

    def note(self, text: str) -> None:
        self.append(text)

    def loading(self, done: int, total: int) -> None:
        """Forget it."""

    def batch(self, epoch: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
        """Forget it."""

    def epoch(self, row: EpochMetrics, epochs: int) -> None:
        """Forget it."""


@pytest.fixture
def result(tmp_path: Path) -> TrainResult:
    """A short run on five pictures of each shape."""
    data = write_shapes(tmp_path / "data", each=5)
    recipe = TINY_RECIPE.changed(epochs=1)
    embedding = EmbeddingRecipe(dim=4)
    return train(data, tmp_path / "run", recipe, hardware=CPU, report=Notes(), config=TINY, embedding=embedding)


def export(result: TrainResult, out: Path, *, dim: int = 4, report: Notes | None = None, **options: Any) -> ModelSpec:
    given = {"embedding": EmbeddingRecipe(dim=dim), **options}
    return export_checkpoint(result.folder / BEST, out, hardware=CPU, report=report or Notes(), **given)


def test_a_checkpoint_is_exported_anew(result: TrainResult, tmp_path: Path) -> None:
    spec = export(result, tmp_path / "small.onnx", dim=3)
    assert (spec.name, spec.dim, spec.classes) == ("small", 3, Checkpoint.load(result.folder / BEST).classes)
    # With the same pictures and layers it is the model that the run itself left.
    again = export(result, tmp_path / "same.onnx")
    assert result.spec is not None
    assert (again.fingerprint, again.accuracy) == (result.spec.fingerprint, result.spec.accuracy)


def test_the_pictures_of_a_checkpoint_may_have_moved(result: TrainResult, tmp_path: Path) -> None:
    moved = shutil.move(tmp_path / "data", tmp_path / "moved")
    with pytest.raises(DatasetError, match=r"learned from are not at .*data any more; give their folder with --data"):
        export(result, tmp_path / "m.onnx")
    report = Notes()
    assert result.spec is not None
    assert export(result, tmp_path / "m.onnx", data=moved, report=report).accuracy == result.spec.accuracy
    assert report == []
