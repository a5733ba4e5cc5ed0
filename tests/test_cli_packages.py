"""What works without the optional packages, and what is said of those that are missing."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

MakePhoto = Callable[..., Path]
TRAINING = ("torch", "onnx", "sympy")


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def fc7_without(packages: tuple[str, ...], *commands: tuple[object, ...]) -> list[Done]:
    """Run commands, one after another, in one interpreter that cannot import these packages."""
    program = f"""
import json, sys
sys.modules.update(dict.fromkeys({packages!r}))
import cli
from click.testing import CliRunner
for arguments in {[list(map(str, arguments)) for arguments in commands]!r}:
    done = CliRunner().invoke(cli.main, arguments, prog_name="fc7")
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = [Done(*json.loads(line)) for line in ran.stdout.splitlines()]
    assert len(found) == len(commands)
    return found


def test_all_but_training_works_without_torch(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    photo = make_photo("photos/red/a.png", "red")
    make_photo("photos/green/b.png", "green")
    model, index = ("-m", tiny_model), ("--index", tmp_path / "index")
    commands = (
        ("classify", photo, *model),
        ("index", tmp_path / "photos", *model, *index),
        ("search", photo, *model, *index),
        ("embed", photo, *model, "-o", tmp_path / "out.npz"),
        ("evaluate", tmp_path / "photos", *model),
        ("info", tiny_model),
        ("info",),
    )
    for arguments, done in zip(commands, fc7_without(TRAINING, *commands), strict=True):
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert done.stdout or arguments[0] == "embed"


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("onnx", "onnx")])
def test_training_names_the_extra_that_it_needs(package: str, extra: str) -> None:
    for done in fc7_without((package,), ("train", "data", "-o", "run"), ("export", "last.pt", "-o", "model.onnx")):
        assert done.returncode == 1
        assert done.stderr == f"Error: training needs {package}, which is not installed: pip install 'fc7[{extra}]'\n"


def test_training_asks_for_onnx_runtime_before_anything_else() -> None:
    for done in fc7_without(
        ("onnxruntime",),
        ("train", "data", "-o", "run"),
        ("export", "last.pt", "-o", "model.onnx"),
        ("import", "weights.pth", "-o", "model.onnx", "--labels", "labels.tsv"),
    ):
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ONNX Runtime is not installed; `pip install 'fc7[cpu]'`")


@pytest.mark.parametrize("package", ["onnxruntime", "faiss"])
def test_inference_names_both_extras(package: str, tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    photo = make_photo("photos/a.png")
    [done] = fc7_without((package,), ("index", photo.parent, "-m", tiny_model, "--index", tmp_path / "index"))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "fc7[cpu]" in done.stderr
    assert "fc7[gpu]" in done.stderr


def test_a_parquet_file_needs_pyarrow_and_watching_watchfiles(
    tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    photo, options = make_photo("photos/a.png"), ("-m", tiny_model, "--index", tmp_path / "index")
    embedded, indexed, watched = fc7_without(
        ("pyarrow", "watchfiles"),
        ("embed", photo, "-m", tiny_model, "-o", tmp_path / "out.parquet"),
        ("index", photo.parent, *options),
        ("index", photo.parent, *options, "--watch"),
    )
    assert (embedded.returncode, indexed.returncode, watched.returncode) == (1, 0, 1)
    assert "fc7[parquet]" in embedded.stderr
    assert "fc7[watch]" in watched.stderr
