"""Paths that cannot even be asked about: each command tells in one line, and keeps its tracebacks for bugs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from permissions import locked

from cli import main
from index.errors import ModelError
from index.index_writer import IndexWriter
from retrieval.models.model import Model

Fc7 = Callable[..., Result]
MakePhoto = Callable[..., Path]
LONG = 300 * "x"  # letters, more than a file name may have


@pytest.mark.parametrize(
    "command",
    [
        f"classify photo.png -m {LONG}",
        f"info {LONG}",
        f"info --layers {LONG}",
        f"bench {LONG}",
        f"bench --photos {LONG}",
        f"evaluate {LONG}",
        f"train {LONG} -o run",
        f"train data -o {LONG}",
        f"train data -o run --from {LONG}",
        f"train data -o run --from {LONG}.onnx",
        f"export {LONG} -o model.onnx",
        f"export {LONG} -o {LONG}/model.onnx",
        f"export {LONG} -o {LONG}.onnx",
        f"import {LONG} -o model.onnx",
        f"import weights.pth -o model.onnx --calibrate {LONG}",
    ],
)
def test_a_name_too_long_for_any_file_is_told(
    command: str, fc7: Fc7, make_photo: MakePhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, colour in (("a/1", "red"), ("a/2", "red"), ("b/1", "blue"), ("b/2", "blue")):
        make_photo(f"data/{name}.png", colour)
    monkeypatch.chdir(tmp_path)
    done = fc7(*command.split())
    assert isinstance(done.exception, SystemExit), done.exc_info
    assert (done.exit_code, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert LONG in last


def test_a_remembered_model_that_cannot_be_reached_is_told(make_photo: MakePhoto, tmp_path: Path) -> None:
    place, model = tmp_path / "index", Path("/", LONG)
    IndexWriter.open_for_writing(place, fingerprint="abc", model_name="mine", dim=16, model_path=model).close()
    done = CliRunner().invoke(main, ["search", str(make_photo("a.png")), "--index", str(place)])
    assert done.exit_code == 1
    assert f"was made with {model}, which is not there; say where that model is with -m" in done.stderr


def test_a_model_in_a_folder_without_permission_is_told(tiny_model: Path, tmp_path: Path) -> None:
    place = tmp_path / "locked" / "m.onnx"
    place.parent.mkdir()
    shutil.copy(tiny_model, place)
    Model.load(place)
    with locked(place.parent), pytest.raises(ModelError, match="there is no model file"):
        Model.load(place)


@pytest.mark.parametrize(
    "command",
    [
        "index photos --index s3://bucket/index",
        "info s3://bucket/index",
        "embed photo.png -o gs://bucket/photo.npz",
        "search photo.png --sheet s3://bucket/sheet.png",
        "duplicates --move-to s3://bucket/copies --yes",
        "train photos -o s3://bucket/run",
    ],
)
def test_what_is_written_must_be_on_this_machine(
    command: str, fc7: Fc7, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = fc7(*command.split())
    assert result.exit_code == 2, result.output
    assert "is object storage; name a place on this machine" in result.output
    assert list(tmp_path.iterdir()) == []  # neither an index nor a folder that is called s3:
