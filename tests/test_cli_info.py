import json
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main


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
