"""What the shell completes: labels, indexes and models."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from cli import main

Fc7 = Callable[..., Result]
MakePhoto = Callable[..., Path]


def completed(*words: object, incomplete: str) -> list[tuple[str, str]]:
    found = ShellComplete(main, {}, "fc7", "_FC7_COMPLETE").get_completions(list(map(str, words)), incomplete)
    return [(item.type, item.value) for item in found]


def test_models_are_completed_by_name_and_as_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "fc7" / "models").mkdir(parents=True)
    (tmp_path / "fc7" / "models" / "efficientnet-lite0.onnx").touch()
    assert completed("search", "-m", incomplete="") == [
        ("file", ""),
        ("plain", "builtin"),
        ("plain", "efficientnet-lite0"),
    ]
    assert completed("classify", "-m", incomplete="eff") == [("file", "eff"), ("plain", "efficientnet-lite0")]
    assert completed("info", incomplete="bu") == [("file", "bu"), ("plain", "builtin")]


def test_folders_that_hold_an_index_are_completed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("my-index", "my-photos", "your-index"):
        (tmp_path / name).mkdir()
        if name.endswith("index"):
            (tmp_path / name / "catalog.db").touch()
    monkeypatch.chdir(tmp_path)
    assert completed("search", "--index", incomplete="my") == [("dir", "my"), ("plain", "my-index")]
    for typed in (f"{tmp_path}/", "./", f"{tmp_path}/y"):
        assert ("plain", f"{typed.removesuffix('y')}your-index") in completed("search", "--index", incomplete=typed)
    assert completed("search", "--index", incomplete="/no/such/folder") == [("dir", "/no/such/folder")]


def test_labels_are_those_of_the_model_of_the_index(
    fc7: Fc7, make_photo: MakePhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fc7("index", make_photo("photos/a.png").parent)
    monkeypatch.setenv("FC7_INDEX", str(tmp_path / "index"))
    assert completed("search", "--label", incomplete="") == [("plain", name) for name in ("blue", "green", "red")]
    assert completed("search", "--label", incomplete="gr") == [("plain", "green")]
    assert completed("search", "-m", "builtin", "--label", incomplete="Goldf") == [("plain", "goldfish")]
    assert ("plain", "golden_retriever") in completed(
        "search", "--index", tmp_path / "new", "--label", incomplete="golden"
    )
    assert completed("search", "-m", tmp_path / "none.onnx", "--label", incomplete="g") == []
    monkeypatch.setenv("FC7_INDEX", os.devnull)
    assert completed("search", "--label", incomplete="zzz") == []


def test_a_command_in_a_hint_does_not_name_the_default_index(fc7: Fc7, make_photo: MakePhoto, tmp_path: Path) -> None:
    photo = make_photo("photos/a.png")
    assert "make one with `fc7 index FOLDER`\n" in fc7("search", photo).stderr
    elsewhere = fc7("search", photo, "--index", tmp_path / "other")
    assert f"make one with `fc7 index FOLDER --index {tmp_path / 'other'}`\n" in elsewhere.stderr
