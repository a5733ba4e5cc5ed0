"""`fc7 import MODEL --int8`: a copy of a model file that computes in 8-bit numbers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from foreign_networks import small_classifier
from PIL import Image

from cli import main
from retrieval.models.model import Model
from retrieval.models.spec import ClassName
from retrieval.photos.decode import open_photo
from training.export.int8 import FEWEST_PHOTOS
from training.onnx_import.import_network import import_network
from training.onnx_import.preparation import Wishes

PHOTOS = 20
NAMES = tuple(ClassName(name) for name in ("one", "two", "three", "four", "five"))


def fc7(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), env=environment)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(PHOTOS):
        pixels = random.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    (folder / "empty.jpg").touch()
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    import_network(
        small_classifier(folder / "n.onnx", opset=17),
        folder / "base.onnx",
        wishes=Wishes(preset="imagenet"),
        classes=NAMES,
    )
    return folder / "base.onnx"


@pytest.fixture(scope="module")
def made(base: Path, photos: Path) -> tuple[Path, Result]:
    out = base.with_name("small.onnx")
    return out, fc7("import", base, "--int8", "--calibrate", photos, "-o", out)


def test_it_says_nearly_the_same_in_8_bits(base: Path, made: tuple[Path, Result], photos: Path) -> None:
    out, said = made
    assert said.exit_code == 0, said.output
    assert "left out" in said.stderr, "the photo that cannot be read"
    assert "its embeddings have a mean cosine of " in said.stderr
    assert "WARNING" not in said.stderr
    whole, small = Model.load(base, device="cpu"), Model.load(out, device="cpu")
    pixels = np.stack([whole.prepare(open_photo(path)) for path in sorted(photos.glob("*.png"))])
    expected, found = whole.run(pixels), small.run(pixels)
    # A weight is rounded by 1/126 of its channel's largest at most, an activation by 1/510 of its range, in each of
    # the layers; errors of a sum average out, so their sum over the layers is far above what comes of them.
    layers = sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in onnx.load(base).graph.node)
    bound = layers * (1 / 126 + 1 / 510)
    assert np.abs(found.fc7 - expected.fc7).max() <= bound * np.abs(expected.fc7).max()
    assert np.abs(found.probabilities - expected.probabilities).max() <= bound
    assert (found.embedding != expected.embedding).any()
    stored = {weight.data_type for weight in onnx.load(out).graph.initializer if len(weight.dims) > 1}
    assert onnx.TensorProto.INT8 in stored


def test_it_is_another_model(base: Path, made: tuple[Path, Result], photos: Path, tmp_path: Path) -> None:
    whole, small = Model.load(base).spec, Model.load(made[0]).spec
    assert small.fingerprint != whole.fingerprint
    assert (small.name, small.classes, small.crop) == ("small", whole.classes, whole.crop)
    assert small.training["base_fingerprint"] == whole.fingerprint
    assert small.training["calibration_photos"] == 16
    assert fc7("index", photos, "-m", base, "--index", tmp_path / "index").exit_code == 0
    refused = fc7("index", photos, "-m", made[0], "--index", tmp_path / "index")
    assert (refused.exit_code, "another model" in refused.stderr) == (1, True), refused.output


def test_it_is_used_by_its_name(base: Path, photos: Path, tmp_path: Path) -> None:
    places = {"XDG_DATA_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = fc7("import", base, "--int8", "--calibrate", photos, "--name", "mine", **places)
    assert done.exit_code == 0, done.output
    for _ in range(2):  # the second time from the cache
        named = fc7("classify", photos / "00.png", "-m", "mine", "-k", 1, "--flat", **places)
        assert named.exit_code == 0, named.output
    again = fc7("import", base, "--int8", "--calibrate", photos, "--name", "mine", **places)
    assert again.exit_code == 0, "the same photos make the same model"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--name", "x"], 2, "--int8 needs photos to take the ranges of its numbers from; name a folder, --calibrate"),
        (["--calibrate", "PHOTOS"], 2, "say with --name what the model"),
        (["--calibrate", "PHOTOS", "--name", "builtin"], 2, "--name builtin cannot be used"),
        (["--calibrate", "PHOTOS", "--name", "x", "--size", "64"], 2, "--size is not for"),
        (["--calibrate", "PHOTOS/none", "--name", "x"], 1, "there is no folder"),
        (["--calibrate", "FEW", "--name", "x"], 1, f"3 photos in FEW can be read, and {FEWEST_PHOTOS} are needed"),
        (["--calibrate", "FEW/none", "--name", "x"], 1, "there is no folder"),
    ],
)
def test_what_is_missing_is_said(
    base: Path, photos: Path, tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for number in range(3):
        (few / f"{number}.png").write_bytes((photos / f"{number:02}.png").read_bytes())
    given = [part.replace("PHOTOS", str(photos)).replace("FEW", str(few)) for part in arguments]
    done = fc7("import", base, "--int8", *given, XDG_DATA_HOME=str(tmp_path))
    assert (done.exit_code, said.replace("FEW", str(few)) in done.stderr) == (status, True), done.output
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_model_without_such_layers_is_refused(tmp_path: Path, photos: Path) -> None:
    pooled = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("GlobalAveragePool", ["x"], ["y"]), onnx.helper.make_node("Flatten", ["y"], ["z"])],
            "colour",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 32, 32])],
            [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 3])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(pooled, tmp_path / "pooled.onnx")
    import_network(tmp_path / "pooled.onnx", tmp_path / "colour.onnx", wishes=Wishes(preset="imagenet"))
    done = fc7("import", tmp_path / "colour.onnx", "--int8", "--calibrate", photos, "-o", tmp_path / "x.onnx")
    assert (done.exit_code, "has no layer that can be computed in 8 bits" in done.stderr) == (1, True), done.output
    assert not (tmp_path / "x.onnx").exists()
