import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MakePhoto = Callable[..., Path]
QUIET = "ORT_DISABLE_TELEMETRY"


def classify(photo: Path, model: Path, home: Path) -> None:
    # ONNX Runtime is silent by itself where it takes itself to be tested.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    command = [sys.executable, "-m", "cli", "classify", str(photo), "-m", str(model)]
    settings = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run(command, check=True, capture_output=True, env=settings, timeout=60)


def test_onnx_runtime_reports_nothing(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    """It keeps the name that it gave this machine, and what it could not yet send, in the user's cache folder."""
    classify(make_photo("a.png"), tiny_model, tmp_path / "home")
    assert [path for path in (tmp_path / "home").rglob("*") if "microsoft" in str(path).lower()] == []


def test_whoever_wants_it_to_report_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import retrieval.runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for said, heard in ((None, "1"), ("0", "0")):
        monkeypatch.delenv(QUIET, raising=False)
        if said is not None:
            monkeypatch.setenv(QUIET, said)
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == heard
