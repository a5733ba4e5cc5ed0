"""What works without the optional packages, and what is said of those that are missing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MakePhoto = Callable[..., Path]
TRAINING = ("torch", "onnx", "sympy")


def fc7_without(packages: tuple[str, ...], *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a command in an interpreter that cannot import these packages."""
    program = f"""
import sys
sys.modules.update(dict.fromkeys({packages!r}))
import cli
cli.main({list(map(str, arguments))!r}, prog_name="fc7")
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_all_but_training_works_without_torch(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    photo = make_photo("photos/red/a.png", "red")
    make_photo("photos/green/b.png", "green")
    model, index = ("-m", tiny_model), ("--index", tmp_path / "index")
    for arguments in (
        ("classify", photo, *model),
        ("index", tmp_path / "photos", *model, *index),
        ("search", photo, *model, *index),
        ("embed", photo, *model, "-o", tmp_path / "out.npz"),
        ("evaluate", tmp_path / "photos", *model),
        ("info", tiny_model),
        ("info",),
    ):
        done = fc7_without(TRAINING, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments


@pytest.mark.parametrize("arguments", [("train", "data", "-o", "run"), ("export", "last.pt", "-o", "model.onnx")])
@pytest.mark.parametrize("package", ["torch", "onnx"])
def test_training_names_the_extra_that_it_needs(package: str, arguments: tuple[str, ...]) -> None:
    done = fc7_without((package,), *arguments)
    assert done.returncode == 1
    assert done.stderr == f"Error: training needs {package}, which is not installed: pip install 'fc7[train]'\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data", "-o", "run"),
        ("export", "last.pt", "-o", "model.onnx"),
        ("import", "weights.pth", "-o", "model.onnx", "--labels", "labels.tsv"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_training_asks_for_onnx_runtime_before_anything_else(arguments: tuple[str, ...]) -> None:
    done = fc7_without(("onnxruntime",), *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ONNX Runtime is not installed; `pip install 'fc7[cpu]'`")


@pytest.mark.parametrize("package", ["onnxruntime", "faiss"])
def test_inference_names_both_extras(package: str, tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    photo = make_photo("photos/a.png")
    done = fc7_without((package,), "index", photo.parent, "-m", tiny_model, "--index", tmp_path / "index")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "fc7[cpu]" in done.stderr
    assert "fc7[gpu]" in done.stderr


def test_a_parquet_file_needs_pyarrow(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    done = fc7_without(("pyarrow",), "embed", make_photo("a.png"), "-m", tiny_model, "-o", tmp_path / "out.parquet")
    assert done.returncode == 1
    assert "fc7[parquet]" in done.stderr


def test_watching_needs_watchfiles(tiny_model: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    photo, options = make_photo("photos/a.png"), ("-m", tiny_model, "--index", tmp_path / "index")
    assert fc7_without(("watchfiles",), "index", photo.parent, *options).returncode == 0
    done = fc7_without(("watchfiles",), "index", photo.parent, *options, "--watch")
    assert done.returncode == 1
    assert "fc7[watch]" in done.stderr
