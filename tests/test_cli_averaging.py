"""`--crops` and several `-m` of classify and evaluate."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from cli import main
from retrieval.models.ensemble import Ensemble
from retrieval.models.model import Model
from retrieval.models.spec import ClassName
from retrieval.photos.decode import open_photo

MakePhoto = Callable[..., Path]


def run(*arguments: object, **options: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), **options)  # type: ignore[arg-type]


@pytest.fixture
def stranger(tmp_path: Path, tiny_model: Path) -> Path:
    """A model that names other things."""
    model, spec = onnx.load(tiny_model), Model.load(tiny_model, device="cpu").spec
    classes = tuple(ClassName(name) for name in ("cat", "dog", "mouse"))
    onnx.helper.set_model_props(model, replace(spec, name="stranger", classes=classes).to_metadata())
    onnx.save(model, tmp_path / "stranger.onnx")
    return tmp_path / "stranger.onnx"


def test_classify_averages_over_crops_and_models(tiny_model: Path, other_model: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("a.png", "green", seed=3)
    done = run("classify", "-m", tiny_model, "-m", other_model, "--crops", 10, "--format", "jsonl", photo)
    assert done.exit_code == 0, done.output
    several = Ensemble.load([tiny_model, other_model], crops=10, device="cpu")
    probabilities = several.run([several.prepare(open_photo(photo))]).probabilities[0]
    [best, *_] = json.loads(done.stdout)["predictions"]
    assert best["label"] == "green"
    assert best["probability"] == pytest.approx(float(probabilities[1]), abs=2e-6)
    middle = json.loads(run("classify", "-m", tiny_model, "--format", "jsonl", photo).stdout)["predictions"][0]
    assert middle["probability"] != best["probability"]


def test_evaluate_averages_too(tiny_model: Path, other_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    for colour in ("red", "green", "blue"):
        for seed in range(2):
            make_photo(f"data/{colour}/{seed}.png", colour, seed=seed)
    done = run("evaluate", tmp_path / "data", "-m", tiny_model, "-m", other_model, "--crops", 10, "--format", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["top1"] == 1


@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_models_of_other_classes_are_an_error(
    command: str, tiny_model: Path, stranger: Path, make_photo: MakePhoto
) -> None:
    done = run(command, make_photo("data/red/a.png").parents[1], "-m", tiny_model, "-m", stranger)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: tiny and stranger cannot be averaged (class 0 is red, n00000000 in the one")


@pytest.mark.parametrize("crops", ["0", "5", "ten"])
def test_crops_are_one_or_ten(tiny_model: Path, make_photo: MakePhoto, crops: str) -> None:
    assert run("classify", make_photo("a.png"), "-m", tiny_model, "--crops", crops).exit_code == 2


def test_models_and_crops_come_from_the_environment_too(
    tiny_model: Path, other_model: Path, stranger: Path, make_photo: MakePhoto
) -> None:
    photo = make_photo("a.png")
    both = {"FC7_MODEL": os.pathsep.join(map(str, (tiny_model, other_model))), "FC7_CLASSIFY_CROPS": "10"}
    assert run("classify", photo, env=both).exit_code == 0
    assert run("classify", photo, env={"FC7_MODEL": f"{tiny_model}{os.pathsep}{stranger}"}).exit_code == 1
