"""Fixtures shared by every test: the folder of real pictures, a small real model, and small pictures to use it on."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cli import main
from retrieval.models.spec import ClassName, ModelSpec

REPOSITORY = Path(__file__).resolve().parent.parent
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for tests that import ONNX Runtime themselves
SIDE, GRID, DIM = 32, 4, 16
COLOURS = ("red", "green", "blue")


# How long a test takes on a busy machine says nothing of what it tests.
settings.register_profile("fc7", deadline=None)
settings.load_profile("fc7")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real pictures named by FC7_DATA; the test is skipped where it is missing."""
    folder = Path(os.environ.get("FC7_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder}; set FC7_DATA to a folder that holds them")
    return folder


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what the developer has set and imported out of the tests, and what they write out of the same folders."""
    for name in ("cache", "data"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path_factory.getbasetemp() / name))
    for name in [name for name in os.environ if name.startswith("FC7_") and name != "FC7_DATA"]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a few kilobytes: names the strongest colour, and sees a picture as 4 by 4 mean colours."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny.onnx", seed=1)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another such model, with another embedding and another fingerprint."""
    return make_model(tmp_path_factory.mktemp("model") / "other.onnx", seed=2)


@pytest.fixture
def fc7(tiny_model: Path, tmp_path: Path) -> Callable[..., Result]:
    """A function that runs a command with the small model and an index of the test's own."""
    settings = {"FC7_MODEL": str(tiny_model), "FC7_INDEX": str(tmp_path / "index")}
    return lambda *arguments: CliRunner().invoke(main, list(map(str, arguments)), env=settings)


@pytest.fixture
def folder_of_no_text(tmp_path: Path) -> Path:
    """A folder whose name is not UTF-8; the test is skipped where there can be none."""
    folder = tmp_path / os.fsdecode(b"r\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("file names are UTF-8 on this file system")
    return folder


@pytest.fixture
def make_photo(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a picture of one colour, with a pattern that `seed` draws, below the test's folder."""

    def make(name: str, colour: str = "red", *, seed: int = 0) -> Path:
        shade = np.random.default_rng(seed).integers(90, 256, (GRID, GRID), np.uint8)
        pixels = np.zeros((GRID, GRID, 3), np.uint8)
        pixels[:, :, COLOURS.index(colour)] = shade
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((SIDE * 2, SIDE * 2), Image.Resampling.NEAREST).save(path)
        return path

    return make


def make_model(path: Path, *, seed: int, side: int = SIDE) -> Path:
    """Write a model with the inputs, outputs and metadata of a trained one."""
    width = 3 * GRID * GRID
    colours = np.kron(np.eye(3), np.full((GRID * GRID, 1), 0.5))
    embedding = np.random.default_rng(seed).standard_normal((width, DIM))
    weights = {"scale": np.array(255.0), "colours": colours, "map": embedding, "offset": np.full(DIM, 1e-3)}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["grid"], kernel_shape=[side // GRID] * 2, strides=[side // GRID] * 2
        ),
        helper.make_node("Flatten", ["grid"], ["flat"]),
        helper.make_node("Div", ["flat", "scale"], ["fc7"]),
        helper.make_node("MatMul", ["fc7", "colours"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("MatMul", ["fc7", "map"], ["mapped"]),
        helper.make_node("Add", ["mapped", "offset"], ["moved"]),
        helper.make_node("LpNormalization", ["moved"], ["embedding"], axis=1, p=2),
    ]
    outputs = {"probabilities": len(COLOURS), "fc7": width, "embedding": DIM}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in outputs.items()],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec(
        name=path.stem,
        arch="tiny",
        classes=tuple(ClassName(colour, f"n{number:08}") for number, colour in enumerate(COLOURS)),
        resize=side + 8,
        crop=side,
        dim=DIM,
        fc7_dim=width,
        fingerprint=f"{seed:064x}",
        accuracy={"top1": 1.0, "top5": 1.0},
        licence="MIT",
    )
    helper.set_model_props(model, spec.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
