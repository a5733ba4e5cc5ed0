"""Temperatures and calibration errors, against what is known beforehand; temperatures in a model file."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from index.errors import ModelError
from retrieval.evaluation.calibration import calibration_error, fit_temperature, log_loss, reliability
from retrieval.models.model import Model
from retrieval.models.spec import ClassGroup, ClassName, ModelSpec
from retrieval.models.temperature import calibrated, tempered
from training.export.model_file import write_temperatures


def softmax(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def drawn(temperature: float, photos: int = 4000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities at temperature 1, and targets drawn from those at another."""
    random = np.random.default_rng(0)
    scores = random.standard_normal((photos, 10)) * 3
    shares = softmax(scores / temperature)
    targets = np.array([random.choice(10, p=row / row.sum()) for row in shares.astype(float)])
    return softmax(scores), targets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_is_found_that_the_targets_were_drawn_at(temperature: float) -> None:
    probabilities, targets = drawn(temperature)
    fitted = fit_temperature(probabilities, targets)
    assert fitted == pytest.approx(temperature, rel=0.1)
    after = tempered(probabilities, fitted)
    assert calibration_error(reliability(after, targets)) < 0.03
    for other in (fitted * 0.9, fitted * 1.1):
        assert log_loss(after, targets) < log_loss(tempered(probabilities, other), targets)


def test_a_temperature_divides_the_scores_and_keeps_their_order() -> None:
    scores = np.random.default_rng(1).standard_normal((5, 7)) * 4
    np.testing.assert_allclose(tempered(softmax(scores), 2.5), softmax(scores / 2.5), atol=1e-6)
    np.testing.assert_array_equal(tempered(softmax(scores), 2.5).argsort(), softmax(scores).argsort())
    assert np.isfinite(tempered(np.array([[1.0, 0.0, 0.0]], np.float32), 5.0)).all()


def test_the_error_is_the_mean_gap_by_photos() -> None:
    # At 0.9 one of two is right, at 0.6 both are, at 0.8 three of four.
    confidence = np.array([0.9, 0.9, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8])
    targets = np.array([0, 1, 0, 0, 0, 0, 0, 1])
    diagram = reliability(np.stack([confidence, 1 - confidence], axis=1), targets, bins=20)
    assert [bin.photos for bin in diagram if bin.photos] == [2, 4, 2]
    assert [bin.accuracy for bin in diagram if bin.photos] == [1.0, 0.75, 0.5]
    assert calibration_error(diagram) == pytest.approx((2 * 0.4 + 4 * 0.05 + 2 * 0.4) / 8)


def test_each_group_has_a_temperature_of_its_own() -> None:
    groups = (ClassGroup("a", 2), ClassGroup("b", 3))
    spec = ModelSpec("m", "a", tuple(map(ClassName, "vwxyz")), 8, 8, 2, 2, "f", groups=groups, temperatures=(1, 2))
    scores = np.random.default_rng(2).standard_normal((4, 5))
    plain = np.concatenate([softmax(scores[:, :2]), softmax(scores[:, 2:])], axis=1)
    found = calibrated(plain, spec)
    np.testing.assert_allclose(found[:, :2], plain[:, :2], atol=1e-6)
    np.testing.assert_allclose(found[:, 2:], softmax(scores[:, 2:] / 2), atol=1e-6)


def test_a_model_file_keeps_its_temperature_and_its_index(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    shutil.copy(tiny_model, copy)
    write_temperatures(copy, [3.0])
    before, after = Model.load(tiny_model, device="cpu"), Model.load(copy, device="cpu")
    assert (before.spec.temperatures, after.spec.temperatures) == ((), (3.0,))
    assert after.spec.fingerprint == before.spec.fingerprint
    pixels = np.random.default_rng(3).integers(0, 256, (4, *[before.spec.crop] * 2, 3), np.uint8)
    found, plain = after.run(pixels), before.run(pixels)
    np.testing.assert_array_equal(found.embedding, plain.embedding)
    np.testing.assert_allclose(found.probabilities, tempered(plain.probabilities, 3.0))
    assert not np.allclose(found.probabilities, plain.probabilities)
    np.testing.assert_array_equal(after.run_uncalibrated(pixels).probabilities, plain.probabilities)
    write_temperatures(copy, [1.0])  # again, over the one before
    np.testing.assert_array_equal(Model.load(copy, device="cpu").run(pixels).probabilities, plain.probabilities)


@pytest.mark.parametrize("wrong", [[1.0, 1.0], [0.0], [-1.0], [float("nan")], [float("inf")]])
def test_a_temperature_that_makes_no_sense_is_refused(wrong: list[float], tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    shutil.copy(tiny_model, copy)
    with pytest.raises(ModelError, match="temperatures"):
        write_temperatures(copy, wrong)
    assert copy.read_bytes() == tiny_model.read_bytes()
    model = onnx.load(copy)
    model.metadata_props.add(key="fc7.temperatures", value=json.dumps(wrong))
    onnx.save(model, copy)
    with pytest.raises(ModelError, match="temperatures"):
        Model.load(copy, device="cpu")
