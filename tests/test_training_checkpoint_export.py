"""Exporting a checkpoint: from the pictures of its run, from the same ones elsewhere, or from others."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from told import told
from training_samples import CPU, TINY, TINY_RECIPE, checkpoint_of, lively, write_shapes

import training.export.embedding
from index.errors import OptionError
from retrieval.models.model import Model
from retrieval.models.spec import ModelSpec
from training.data.dataset import scan_dataset
from training.data.pictures import load_dataset
from training.errors import DatasetError, ExportError
from training.export.checkpoint_export import accuracy_in_training, export_checkpoint
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.loop.checkpoint import Checkpoint, EpochMetrics
from training.loop.run import TrainResult, train
from training.loop.run_folder import BEST


class Notes(list[str]):
    """A report that keeps its lines."""

    def note(self, text: str) -> None:
        self.append(text)

    decoded = 0

    def loading(self, done: int, total: int) -> None:
        """Remember how many there are."""
        self.decoded = total

    def asking(self, done: int, total: int) -> None:
        """Forget it."""

    def batch(self, epoch: int, epochs: int, done: int, total: int, loss: float, top1: float, rate: float) -> None:
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
    return export_checkpoint(
        result.folder / BEST, out, hardware=CPU, report=Notes() if report is None else report, **given
    )


def test_a_checkpoint_is_exported_again(result: TrainResult, tmp_path: Path) -> None:
    spec = export(result, tmp_path / "small.onnx", dim=3)
    assert (spec.name, spec.dim, spec.classes) == ("small", 3, Checkpoint.load(result.folder / BEST).classes)
    # With the same pictures and layers it is the model that the run itself left.
    again = export(result, tmp_path / "same.onnx")
    assert result.spec is not None
    assert (again.fingerprint, again.accuracy) == (result.spec.fingerprint, result.spec.accuracy)


def test_of_very_many_pictures_only_those_needed_are_decoded(
    result: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.export.embedding, "PICTURES", 7)
    checkpoint, report = Checkpoint.load(result.folder / BEST), Notes()
    found = export(result, tmp_path / "few.onnx", dim=3, report=report)
    dataset = scan_dataset(tmp_path / "data", validation=checkpoint.recipe.validation, seed=checkpoint.recipe.seed)
    assert len(dataset.train) > 7
    assert report.decoded == 7 + len(dataset.validation)

    # They are those that would be taken of all pictures.
    pictures, validation = load_dataset(dataset, TINY.resize, hardware=CPU)
    of_all = export_model(
        checkpoint, tmp_path / "all.onnx", pictures=pictures, validation=validation, embedding=EmbeddingRecipe(dim=3)
    )
    assert found.fingerprint == of_all.fingerprint
    monkeypatch.undo()
    assert export(result, tmp_path / "of-all.onnx", dim=3).fingerprint != found.fingerprint


def test_the_pictures_of_a_checkpoint_may_have_moved(result: TrainResult, tmp_path: Path) -> None:
    moved = shutil.move(tmp_path / "data", tmp_path / "moved")
    with told(DatasetError, r"learned from are not at .*data any more; give their folder with --data"):
        export(result, tmp_path / "m.onnx")
    report = Notes()
    assert result.spec is not None
    assert export(result, tmp_path / "m.onnx", data=moved, report=report).accuracy == result.spec.accuracy
    assert report == []


def test_other_pictures_teach_the_embedding_and_measure_nothing(result: TrainResult, tmp_path: Path) -> None:
    (tmp_path / "data" / "red square" / "000.png").unlink()
    with told(DatasetError, r"data have changed since .*best.pt learned from them; add --data .*data to"):
        export(result, tmp_path / "m.onnx")
    other, report = write_shapes(tmp_path / "other", each=4, seed=9), Notes()
    (other / "red square").rename(other / "pink square")
    spec = export(result, tmp_path / "m.onnx", data=other, report=report)
    best = Checkpoint.load(result.folder / BEST)
    assert (spec.accuracy["top1"], spec.accuracy["source"]) == (
        round(best.history[-1].validation_top1, 4),
        "measured in training",
    )
    assert spec.classes == best.classes
    assert spec.training["fingerprint"] == best.data["fingerprint"]
    assert len(report) == 1
    assert report[0].endswith("did not learn from these pictures: its accuracy stays that of its training")
    adjusted = Notes()
    spec = export(result, tmp_path / "adjusted.onnx", data=other, report=adjusted, logit_adjustment=1.0)
    assert spec.accuracy == {}, "nobody knows that of the adjusted names"
    assert adjusted[0].endswith("its accuracy is left out")
    assert "how frequent classes are is taken from the pictures in" in adjusted[1]


def test_a_model_can_see_another_part_of_a_picture_than_in_training(result: TrainResult, tmp_path: Path) -> None:
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste("blue", (30, 0, 60, 30))
    trained = Model.load(result.folder / "model.onnx", device="cpu")
    assert trained.prepare(wide).shape == (28, 28, 3)
    for options, seen, colours in (
        ({"resize": 28}, "the largest middle square as 28 pixels", {(0, 0, 255)}),
        ({"resize_mode": "squash"}, "the whole picture as 28 pixels", {(255, 0, 0), (0, 0, 255)}),
        ({"resize_mode": "trim"}, "the middle, at most 5:4, as 28 pixels", {(0, 0, 255), (255, 0, 0)}),
        ({"resize": 40}, "central 28 of 40 pixels", {(0, 0, 255)}),
    ):
        spec = export(result, tmp_path / "m.onnx", **options)
        model = Model.load(tmp_path / "m.onnx", device="cpu")
        assert spec.accuracy["crop"] == seen, "measured on what it sees"
        found = model.prepare(wide)
        assert colours <= {tuple(pixel) for pixel in found.reshape(-1, 3).tolist()}
        assert ((255, 0, 0) in colours) == bool((found[:, 0] == (255, 0, 0)).all()), "the ends of the picture"
        assert model.spec.fingerprint != trained.spec.fingerprint
    assert export(result, tmp_path / "m.onnx", resize=32, resize_mode="crop").accuracy == trained.spec.accuracy

    other = write_shapes(tmp_path / "other", each=4, seed=9)
    report = Notes()
    assert export(result, tmp_path / "m.onnx", data=other, resize=28, report=report).accuracy == {}
    assert report[0].endswith("its accuracy is left out")


def test_what_a_model_cannot_see_is_refused(result: TrainResult, tmp_path: Path) -> None:
    with told(OptionError, "tiny sees 28 pixels; resize pictures to at least that, not 27"):
        export(result, tmp_path / "m.onnx", resize=27)
    with told(OptionError, "tiny sees a picture that is squashed as 28 pixels, not 32"):
        export(result, tmp_path / "m.onnx", resize=32, resize_mode="squash")
    path = result.folder / BEST
    checkpoint = Checkpoint.load(path)
    checkpoint.normalisation = replace(checkpoint.normalisation, mean=torch.zeros(3, 32, 32))
    checkpoint.save(path)
    with told(ExportError, "best.pt subtracts a mean picture of 32 pixels"):
        export(result, tmp_path / "m.onnx", resize=28)
    assert not (tmp_path / "m.onnx").exists()


def test_how_frequent_classes_are_is_seen_in_photos_of_ones_own(result: TrainResult, tmp_path: Path) -> None:
    photos = [write_shapes(tmp_path / name, each=4, seed=seed) for name, seed in (("one", 5), ("two", 6))]
    (photos[0] / "damaged.png").write_bytes(b"no picture")
    report = Notes()
    specs = {
        name: export(result, tmp_path / f"{name}.onnx", logit_adjustment=1.0, prior_photos=folders, report=report)
        for name, folders in {"its": (), "one": photos[:1], "both": photos}.items()
    }
    found = [len(list(folder.rglob("0*.png"))) for folder in photos]
    assert [spec.training.get("prior_photos") for spec in specs.values()] == [None, found[0], sum(found)]
    assert any("damaged.png" in line for line in report)
    assert len({spec.fingerprint for spec in specs.values()}) == 3
    pixels = np.random.default_rng(0).integers(0, 256, (8, TINY.crop, TINY.crop, 3), np.uint8)
    answers = [Model.load(tmp_path / f"{name}.onnx", device="cpu").run(pixels) for name in specs]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.embedding, answers[0].embedding)
        # Only by how much each class is preferred do they differ: a factor for each class in the odds.
        odds = np.log(answer.probabilities / answers[0].probabilities)
        shift = odds - odds.mean(1, keepdims=True)
        np.testing.assert_allclose(shift, np.broadcast_to(shift[:1], shift.shape), atol=0.02)

    # Photos twice are those photos, and what is frequent in them is named less.
    one_kind = photos[0] / "red square"
    spec = export(result, tmp_path / "m.onnx", logit_adjustment=1.0, prior_photos=[one_kind, one_kind, one_kind.parent])
    assert spec.training["prior_photos"] == found[0]
    spec = export(result, tmp_path / "m.onnx", logit_adjustment=1.0, prior_photos=[one_kind])
    plain, adjusted = (Model.load(path, device="cpu") for path in (result.folder / "model.onnx", tmp_path / "m.onnx"))
    squares = np.stack([plain.prepare(Image.open(path)) for path in sorted(one_kind.iterdir())])
    expected = plain.run(squares).probabilities.mean(0)
    now = adjusted.run(squares).probabilities.mean(0)
    assert now[expected.argmax()] < expected.max()


def test_prior_photos_that_show_nothing_are_refused(result: TrainResult, tmp_path: Path) -> None:
    def refused(message: str, folder: Path) -> None:
        with told(DatasetError, message):
            export(result, tmp_path / "m.onnx", logit_adjustment=1.0, prior_photos=[folder])

    refused("there is no folder .*gone", tmp_path / "gone")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    refused("damaged holds no photos in which to see how frequent each class is; give a folder of photos", damaged)
    (damaged / "a.png").write_bytes(b"no picture")
    refused("none of the photos that show how frequent each class is could be read; give others", damaged)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(("side", "step", "known"), [(28, 0, True), (20, 0, False), (28, 3, False)])
def test_an_accuracy_is_of_the_weights_and_of_whole_crops(side: int, step: int, known: bool) -> None:
    checkpoint = checkpoint_of(lively(TINY, 3))
    assert accuracy_in_training(checkpoint) == {}
    checkpoint.history = [EpochMetrics(1, side, 0.1, 1.0, 0.5, 1.0, 0.25, 1.0, 100.0, 0.0, 1.0)]
    checkpoint.step = step
    assert bool(accuracy_in_training(checkpoint)) == known


def test_the_place_is_looked_at_before_anything_is_read(tmp_path: Path) -> None:
    for out, message in ((tmp_path / "gone" / "m.onnx", "there is no folder .*gone to write"), (tmp_path, "a folder")):
        with told(ExportError, message):
            export_checkpoint(tmp_path / "none.pt", out, hardware=CPU, report=Notes())
