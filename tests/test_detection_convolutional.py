"""Networks as convolutions over pictures of any size: the graph surgery, against the plain network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import SIDE
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from index.errors import ModelError
from retrieval.detection.convolutional import NoMapError, ScoreMaps, box_means
from retrieval.models.graph_file import GraphFile
from retrieval.models.model import Model
from retrieval.models.spec import ClassName, ModelSpec

CLASSES = tuple(ClassName(name, f"n{number:08}") for number, name in enumerate(("a", "b", "c", "d")))
CROP = 24


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), np.uint8)


def write_network(path: Path, ending: str, *, mean_picture: bool = False) -> Path:
    """Write a small model: two convolutions, and then dense layers, an average, or what gives no map."""
    draw = np.random.default_rng(1)

    def weight(*shape: int) -> NDArray[np.float32]:
        return (draw.standard_normal(shape) * 0.1).astype(np.float32)

    mean = weight(1, 3, CROP, CROP) * 200 if mean_picture else np.full((1, 3, 1, 1), 127, np.float32)
    weights = {"mean": mean, "scale": np.array(64, np.float32), "w1": weight(6, 3, 5, 5), "b1": weight(6)}
    weights |= {"w2": weight(8, 6, 3, 3), "b2": weight(8)}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node(
            "Conv", ["scaled", "w1", "b1"], ["c1"], kernel_shape=[5, 5], strides=[2, 2], pads=[2, 2, 2, 2]
        ),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
    ]
    if ending == "dense":
        weights |= {"w6": weight(10, 8 * 36), "b6": weight(10), "w8": weight(10, 4), "b8": weight(4)}
        nodes += [
            helper.make_node("Reshape", ["r2", "shape"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w6", "b6"], ["s6"], transB=1),
            helper.make_node("Relu", ["s6"], ["fc7"]),
            helper.make_node("MatMul", ["fc7", "w8"], ["s8"]),
            helper.make_node("Add", ["s8", "b8"], ["logits"]),
        ]
    elif ending in ("average", "average then dense"):
        hidden = ending != "average"
        weights |= {"w8": weight(4, 10 if hidden else 8), "b8": weight(4), "w7": weight(10, 8), "b7": weight(10)}
        nodes += [
            helper.make_node("ReduceMean", ["r2"], ["fc7"], axes=[2, 3], keepdims=0),
            *([helper.make_node("Gemm", ["fc7", "w7", "b7"], ["s7"], transB=1)] if hidden else []),
            *([helper.make_node("Relu", ["s7"], ["r7"])] if hidden else []),
            helper.make_node("Gemm", ["r7" if hidden else "fc7", "w8", "b8"], ["logits"], transB=1),
        ]
    else:
        weights |= {"w8": weight(36, 4)}
        nodes += [
            helper.make_node("ReduceMean", ["r2"], ["map"], axes=[1], keepdims=0),
            helper.make_node("Flatten", ["map"], ["fc7"], axis=1),
            helper.make_node("MatMul", ["fc7", "w8"], ["logits"]),
        ]
    nodes += [
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        helper.make_node("LpNormalization", ["fc7"], ["embedding"], axis=1, p=2),
    ]
    width = {"dense": 10, "average": 8, "average then dense": 8}.get(ending, 36)
    stored = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    stored.append(numpy_helper.from_array(np.array([0, -1], np.int64), "shape"))
    outputs = {"probabilities": 4, "fc7": width, "embedding": width}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", CROP, CROP, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in outputs.items()],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec("small", "small", CLASSES, CROP, CROP, width, width, "0" * 64)
    helper.set_model_props(model, spec.to_metadata())
    onnx.save(model, path)
    return path


def load(path: Path | None) -> tuple[Model, ScoreMaps]:
    model = Model.load(path, device="cpu")
    return model, ScoreMaps.of(path, model.spec)


@pytest.mark.parametrize("ending", ["dense", "average", "average then dense"])
@pytest.mark.parametrize("mean_picture", [False, True])
def test_at_the_training_size_it_is_the_plain_network(tmp_path: Path, ending: str, mean_picture: bool) -> None:
    model, maps = load(write_network(tmp_path / "small.onnx", ending, mean_picture=mean_picture))
    shown = pictures(5, CROP, CROP)
    found = np.stack([maps.windows(scores)[:, 0, 0] for scores in maps.run(shown)])
    assert maps.window == (6 if ending == "average" else 1)
    np.testing.assert_allclose(found, model.run(shown).probabilities, atol=1e-4)


@pytest.mark.slow
def test_the_built_in_model_at_its_training_size() -> None:
    model, maps = load(None)
    shown = pictures(2, model.spec.crop, model.spec.crop)
    found = np.stack([maps.windows(scores)[:, 0, 0] for scores in maps.run(shown)])
    np.testing.assert_allclose(found, model.run_uncalibrated(shown).probabilities, atol=1e-4)


def test_the_small_model_of_the_tests_sees_each_window(tiny_model: Path) -> None:
    """Its convolution has no padding, so every window of a larger picture is what the plain network says of it."""
    model, maps = load(tiny_model)
    shown = pictures(1, SIDE + 16, SIDE + 8)
    windows = maps.windows(maps.run(shown)[0])
    assert windows.shape == (3, 3, 2)
    for row in range(3):
        for column in range(2):
            window = shown[:, row * 8 : row * 8 + SIDE, column * 8 : column * 8 + SIDE]
            np.testing.assert_allclose(windows[:, row, column], model.run(window).probabilities[0], atol=1e-4)


def test_an_average_gives_the_class_activation_map(tmp_path: Path) -> None:
    path = write_network(tmp_path / "small.onnx", "average")
    _, maps = load(path)
    shown = pictures(1, CROP, CROP)
    file = GraphFile.read(path)
    [last] = file.values(shown, ["r2"])
    weights, bias = file.constant("w8"), file.constant("b8")
    assert weights is not None
    assert bias is not None
    by_hand = np.einsum("kc,nchw->nkhw", weights.astype(np.float32), last) + bias.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(maps.run(shown), by_hand, atol=1e-4)


def test_a_network_without_places_is_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "small.onnx", "across maps")
    with pytest.raises(NoMapError, match="gives no map of its classes"):
        ScoreMaps.of(path, Model.load(path, device="cpu").spec)


def test_a_network_in_8_bit_numbers_is_refused(tmp_path: Path) -> None:
    spec = Model.load(path := write_network(tmp_path / "small.onnx", "average"), device="cpu").spec
    model = onnx.load(path)
    last = next(node for node in model.graph.node if node.op_type == "Conv")
    for name, value in (("scale", np.float32(0.1)), ("zero", np.uint8(0))):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    nodes = [
        helper.make_node("QuantizeLinear", [last.output[0] + "/float", "scale", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], [last.output[0]]),
    ]
    last.output[0] += "/float"
    at = list(model.graph.node).index(last) + 1
    for number, node in enumerate(nodes):
        model.graph.node.insert(at + number, node)
    onnx.save(model, path)
    with pytest.raises(NoMapError, match="small computes in 8-bit numbers") as refused:
        ScoreMaps.of(path, replace(spec, name="small", training={"quantised_from": "large"}))
    assert "-m: large" in str(refused.value.hint)


def test_a_model_without_classes_is_refused(tiny_model: Path) -> None:
    spec = Model.load(tiny_model, device="cpu").spec
    without = ModelSpec(**{**spec.__dict__, "classes": ()})
    with pytest.raises(ModelError, match="has no classes"):
        ScoreMaps.of(tiny_model, without)


def test_box_means_are_means() -> None:
    maps = np.random.default_rng(0).standard_normal((2, 5, 7)).astype(np.float32)
    found = box_means(maps, 3)
    assert found.shape == (2, 3, 5)
    np.testing.assert_allclose(found[1, 2, 4], maps[1, 2:5, 4:7].mean(), rtol=1e-5)
    assert box_means(maps, 1) is maps
