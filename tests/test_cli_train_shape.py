"""The options of `fc7 train` that choose the network's shape."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from training_samples import reduced, write_shapes

from cli import main
from retrieval.models.model import Model
from training.loop.checkpoint import Checkpoint
from training.networks.architectures import ALEXNET_64, CONFIGS, Shape, shape_options

CHOSEN = Shape(activation="tanh", pooling="average", overlap=False, squash=True, norm="contrast")
OPTIONS = ("--activation", "tanh", "--pooling", "average", "--no-overlap", "--squash", "--norm", "contrast")


def train(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


@pytest.mark.slow
def test_a_run_keeps_the_shape_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "alexnet-64", reduced(ALEXNET_64))
    data, run = write_shapes(tmp_path / "data", each=10), tmp_path / "run"
    done = train(data, "-o", run, *OPTIONS, "--colour-noise", 0.1, "--lr", 0.01, "--epochs", 1, "--grow", "")
    assert done.exit_code == 0, done.output
    checkpoint = Checkpoint.load(run / "last.pt")
    assert checkpoint.config.shape == CHOSEN
    assert checkpoint.recipe.colour_noise == 0.1
    assert checkpoint.normalisation.colours.any()
    assert Model.load(run / "model.onnx").spec.arch_config["local_norm"] == "contrast"

    resumed = train(data, "-o", run, "--resume", "--epochs", 2)
    assert resumed.exit_code == 0, resumed.output
    assert Checkpoint.load(run / "last.pt").config == checkpoint.config

    tuned = train(data, "-o", tmp_path / "tuned", "--from", run / "model.onnx", "--epochs", 1, "--head-epochs", 0)
    assert tuned.exit_code == 0, tuned.output
    assert Checkpoint.load(tmp_path / "tuned" / "last.pt").config.shape == CHOSEN


@pytest.mark.parametrize("option", [OPTIONS[:2], OPTIONS[2:4], ("--overlap",), OPTIONS[5:]])
def test_a_network_that_is_there_brings_its_shape(tmp_path: Path, option: tuple[str, ...]) -> None:
    resumed = train(tmp_path, "-o", tmp_path / "run", "--resume", *option)
    assert resumed.exit_code == 2
    assert "only --epochs" in resumed.stderr
    tuned = train(tmp_path, "-o", tmp_path / "run", "--from", "builtin", *option)
    assert tuned.exit_code == 2
    assert f"leave out {option[0]}" in tuned.stderr


def test_every_value_of_a_shape_is_an_option_with_its_default_shown() -> None:
    text = " ".join(train("--help").output.split())
    for option in shape_options():
        assert f"--{option.name}" in text
    assert "[default: alexnet: response, alexnet-owt: none, alexnet-64: batch, alexnet-128: batch]" in text
