import json
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from commands.options import cache_folder
from index.errors import MissingPackageError
from retrieval.info import _card

MakePhoto = Callable[..., Path]


def info(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["info", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_card_of_a_model(tiny_model: Path) -> None:
    facts = json.loads(info(tiny_model, "--format", "json"))
    assert facts["model"] == "tiny"
    assert facts["classes"] == ["red", "green", "blue"]
    assert (facts["dim"], facts["accuracy"]) == (16, {"top1": 1.0, "top5": 1.0})
    assert (facts["file"], facts["bytes"]) == (str(tiny_model), tiny_model.stat().st_size)
    assert facts["licence"] == "MIT"
    table = info(tiny_model)
    assert "architecture    tiny\n" in table
    assert "embedding       16 values\n" in table
    assert "accuracy: top1  1.0\n" in table


def test_this_installation() -> None:
    facts = json.loads(info("--format", "json"))
    assert facts["fc7"] == version("fc7")
    assert facts["packages"]["onnxruntime"] == version("onnxruntime")
    assert (facts["builtin_model"], facts["problems"]) == ("builtin", [])
    assert facts["runs_on"][-1] == "CPUExecutionProvider"
    assert facts["cache"] == str(cache_folder())
    assert "built-in model builtin (" in " ".join(info().split())


def test_programs_get_plain_values_by_plain_names(tmp_path: Path, tiny_model: Path, make_photo: MakePhoto) -> None:
    place = tmp_path / "index"
    arguments = ["index", make_photo("photos/a.png").parent, "-m", tiny_model, "--index", place]
    assert CliRunner().invoke(main, list(map(str, arguments))).exit_code == 0
    found = [json.loads(info(*named, "--format", "json")) for named in ((), (tiny_model,), (place,))]
    assert all(name.isidentifier() for facts in found for name in facts)
    index = found[-1]
    assert (index["kind"], index["chosen_kind"], index["dim"]) == ("Flat", "auto", 16)
    assert (index["recall_at_10"], index["nprobe"], index["unseen_folders"]) == (1.0, None, [])
    assert isinstance(index["bytes"], int)
    assert datetime.fromisoformat(index["created"]).tzinfo is not None


def test_what_cannot_be_used_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> int:
        raise MissingPackageError("FAISS is not installed")

    monkeypatch.setattr("retrieval.info.faiss_gpus", missing)
    facts = json.loads(info("--format", "json"))
    assert (facts["faiss_gpus"], facts["problems"]) == (None, ["FAISS runs on nothing: FAISS is not installed"])
    assert "FAISS runs on nothing: FAISS is not installed" in " ".join(info().split())


def test_what_is_empty_in_a_recipe_is_left_out_of_the_table() -> None:
    recipe = {"dropout": 0.5, "grow": "", "patience": 0}
    assert _card("training", {"recipe": recipe}) == {"training: recipe": {"dropout": 0.5, "patience": 0}}


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


@pytest.mark.slow
def test_the_layers_of_a_model() -> None:
    facts = json.loads(info("--layers", "--format", "json"))
    assert facts["model"] == "builtin"
    assert facts["total"]["parameters"] == sum(layer["parameters"] for layer in facts["layers"][:-1])
    assert facts["layers"][1]["output"] == [48, 56, 56]
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
