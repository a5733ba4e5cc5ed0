import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index.errors import ModelError
from retrieval.models.model import Model
from retrieval.models.runtime import profile

MakePhoto = Callable[..., Path]
QUIET = "ORT_DISABLE_TELEMETRY"


def classify(photo: Path, model: Path, home: Path) -> None:
    # ONNX Runtime is silent by itself where it takes itself to be tested.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    command = [sys.executable, "-m", "cli", "classify", str(photo), "-m", str(model)]
    settings = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run(command, check=True, capture_output=True, env=settings, timeout=60)


@pytest.mark.slow
def test_onnx_runtime_reports_nothing(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    """It keeps the name that it gave this machine, and what it could not yet send, in the user's cache folder."""
    classify(make_photo("a.png"), tiny_model, tmp_path / "home")
    assert [path for path in (tmp_path / "home").rglob("*") if "microsoft" in str(path).lower()] == []


@pytest.mark.slow
def test_whoever_wants_it_to_report_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os; from retrieval.models.runtime import load_onnxruntime; load_onnxruntime(); "
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    for said, heard in ((None, "1"), ("0", "0")):
        monkeypatch.delenv(QUIET, raising=False)
        if said is not None:
            monkeypatch.setenv(QUIET, said)
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == heard


@pytest.fixture
def undecodable(tiny_model: Path, folder_of_no_text: Path) -> Path:
    """The small model in a folder whose name is not UTF-8."""
    return Path(shutil.copy(tiny_model, folder_of_no_text / "model.onnx"))


@pytest.mark.parametrize("cached", [False, True])
def test_a_model_file_may_lie_where_its_path_is_not_utf_8(
    tiny_model: Path, undecodable: Path, tmp_path: Path, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.models.graph_cache.SETTLED", -1)
    cache = tmp_path / "cache" if cached else None
    pixels = np.full((1, 32, 32, 3), 100, np.uint8)
    expected = Model.load(tiny_model).run(pixels).embedding
    for _ in range(2):
        np.testing.assert_allclose(Model.load(undecodable, cache=cache).run(pixels).embedding, expected, atol=1e-6)
    assert len(list(tmp_path.glob("cache/graphs/*"))) == cached


def test_so_may_one_that_is_profiled(undecodable: Path) -> None:
    assert profile(undecodable, runs=1, optimised=False)


def test_one_that_is_damaged_there_is_told_to_be(undecodable: Path) -> None:
    undecodable.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"is not a readable ONNX model \(.*protobuf"):
        Model.load(undecodable)
