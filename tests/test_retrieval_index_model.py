"""An index knows its model: it need be named once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import main
from index.photo_index import PhotoIndex
from retrieval.models.model import Model

Fc7 = Callable[..., Result]


@pytest.fixture
def fc7(tmp_path: Path) -> Fc7:
    """A function that runs a command with an index of the test's own and no model named."""
    return lambda *arguments: CliRunner().invoke(
        main, list(map(str, arguments)), env={"FC7_INDEX": str(tmp_path / "index")}
    )


@pytest.fixture
def builtin(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small model in the place of the built-in one."""
    monkeypatch.setattr("retrieval.models.model.BUILTIN", tiny_model)
    return tiny_model


@pytest.fixture
def photo(make_photo: Callable[..., Path]) -> Path:
    return make_photo("photos/a.png")


@pytest.fixture
def model(other_model: Path, tmp_path: Path) -> Path:
    """A model file of the test's own."""
    return Path(shutil.copy(other_model, tmp_path / "mine.onnx"))


def remembered(tmp_path: Path) -> Path | None:
    with PhotoIndex.open(tmp_path / "index") as index:
        return index.model_path


def test_the_model_need_be_named_once(
    fc7: Fc7, builtin: Path, model: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fc7("index", photo.parent, "-m", "mine.onnx").exit_code == 0
    assert remembered(tmp_path) == model
    monkeypatch.chdir("/")
    assert fc7("search", photo).exit_code == 0
    assert "1  unchanged" in fc7("index", photo.parent).stdout
    assert remembered(tmp_path) == model


def test_without_any_name_it_is_the_built_in_one(fc7: Fc7, builtin: Path, photo: Path, tmp_path: Path) -> None:
    assert fc7("index", photo.parent).exit_code == 0
    assert remembered(tmp_path) is None
    assert fc7("search", photo).exit_code == 0


def test_a_model_that_moved_is_named_again_once(
    fc7: Fc7, builtin: Path, model: Path, photo: Path, tmp_path: Path
) -> None:
    fc7("index", photo.parent, "-m", model)
    moved = model.rename(tmp_path / "moved.onnx")
    for refused in (fc7("search", photo), fc7("index", photo.parent)):
        assert refused.exit_code == 1
        assert f"was made with {model}, which is not there; say where that model is with -m" in refused.stderr
        assert refused.stderr.endswith(f"by `fc7 index --rebuild {photo.parent}`\n"), "the index is the default one"
    assert fc7("search", photo, "-m", moved).exit_code == 0
    assert fc7("index", photo.parent, "-m", moved).exit_code == 0
    assert fc7("search", photo).exit_code == 0


def test_another_model_in_its_place_is_refused(
    fc7: Fc7, builtin: Path, model: Path, photo: Path, tmp_path: Path
) -> None:
    fc7("index", photo.parent, "-m", model)
    shutil.copy(builtin, model)
    done = fc7("search", photo)
    assert done.exit_code == 1
    assert f"{model}, which is another model now" in done.stderr


def test_another_built_in_model_is_refused(
    fc7: Fc7, builtin: Path, model: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fc7("index", photo.parent)
    monkeypatch.setattr("retrieval.models.model.BUILTIN", model)
    done = fc7("index", photo.parent)
    assert done.exit_code == 1
    assert "a built-in model that this fc7 has not" in done.stderr


def test_an_index_rebuilt_forgets_its_model(fc7: Fc7, builtin: Path, model: Path, photo: Path, tmp_path: Path) -> None:
    fc7("index", photo.parent, "-m", model)
    model.unlink()
    assert "1  new" in fc7("index", photo.parent, "--rebuild").stdout
    assert remembered(tmp_path) is None


def test_searching_without_an_index_says_so_before_any_model_is_loaded(fc7: Fc7, photo: Path) -> None:
    assert "There is no index" in fc7("search", photo).stderr


def test_builtin_names_the_built_in_model(
    fc7: Fc7, builtin: Path, model: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past FC7_MODEL, and past the model that the index remembers."""
    monkeypatch.setenv("FC7_MODEL", str(model))
    assert fc7("index", photo.parent, "-m", "builtin").exit_code == 0
    assert remembered(tmp_path) is None
    refused = fc7("search", photo)
    assert refused.exit_code == 1
    assert "-m" in refused.stderr

    assert fc7("index", photo.parent, "--rebuild").exit_code == 0
    assert remembered(tmp_path) == model
    assert fc7("search", photo, "-m", "builtin").exit_code == 1
    assert fc7("index", photo.parent, "--rebuild", "-m", "builtin").exit_code == 0
    assert remembered(tmp_path) is None
    assert fc7("info", "builtin").stdout == fc7("info", builtin).stdout
    assert fc7("classify", photo, "-m", "builtin").stdout == fc7("classify", photo, "-m", builtin).stdout


def test_a_model_knows_its_file(builtin: Path, model: Path) -> None:
    assert Model.load(model).path == model
    assert Model.load().path is None
