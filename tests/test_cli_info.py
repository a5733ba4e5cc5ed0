import json
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from cli_options import cache_folder


def info(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["info", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_card_of_a_model(tiny_model: Path) -> None:
    facts = json.loads(info(tiny_model, "--format", "json"))
    assert facts["model"] == "tiny"
    assert facts["classes"] == ["red", "green", "blue"]
    assert facts["embedding"] == "16 values"
    assert facts["accuracy: top1"] == 1.0
    assert facts["licence"] == "MIT"
    assert "architecture    tiny\n" in info(tiny_model)


def test_this_installation() -> None:
    facts = json.loads(info("--format", "json"))
    assert facts["fc7"] == version("fc7")
    assert facts["onnxruntime"] == version("onnxruntime")
    assert "built-in model" in facts
    assert facts["default index"]
    assert facts["cache"].removesuffix(" (none yet)") == str(cache_folder())


@pytest.mark.parametrize("name", ["none.onnx", "text.onnx", "folder"])
def test_what_is_neither_model_nor_index_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.onnx").write_text("words")
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(main, ["info", str(tmp_path / name)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")


def test_what_is_not_there_is_told_without_options_of_other_commands(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["info", str(tmp_path / "none")])
    assert done.stderr.startswith(f"Error: there is no {tmp_path / 'none'}; ")
    assert "-m" not in done.stderr


def test_the_layers_of_a_model() -> None:
    facts = json.loads(info("--layers", "--format", "json"))
    assert facts["model"] == "tiny-imagenet-200"
    assert facts["total"]["parameters"] == sum(layer["parameters"] for layer in facts["layers"][:-1])
    assert facts["layers"][1]["output"] == [64, 28, 28]
    lines = info("--layers").splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "neurons", "parameters", "forward", "backward", "ms"]
    assert [line.split()[0] for line in lines[-4:-2]] == ["total", "embedding"]


@pytest.mark.parametrize(("arguments", "status"), [(["folder"], 1), (["none.onnx"], 1), (["--skipped"], 2)])
def test_layers_of_what_is_no_model_are_an_error(tmp_path: Path, arguments: list[str], status: int) -> None:
    (tmp_path / "folder").mkdir()
    named = [word if word.startswith("-") else str(tmp_path / word) for word in arguments]
    done = CliRunner().invoke(main, ["info", "--layers", *named])
    assert (done.exit_code, done.stdout) == (status, "")
    assert "no model file" in done.stderr or "leave out one of them" in done.stderr
