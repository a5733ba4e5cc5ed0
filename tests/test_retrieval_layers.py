"""Layers as the profiler tells them, against torch's own modules."""

from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_samples import lively, reduced

from commands.model_tables import format_layers
from index.errors import ModelError, UserError
from retrieval.models.cost import ModelCost, layer_of, model_cost, seconds_by_layer
from retrieval.models.runtime import NodeRun
from retrieval.models.spec import ClassName
from training.data.augment import Normalisation
from training.export.embedding import fc7_alone
from training.export.export import Description, InferenceNetwork, for_inference, write_model
from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET, CONFIGS, AlexNetConfig
from training.pretrained.import_alexnet import random_pictures

COLOUR = Normalisation(torch.full((3, 1, 1), 120.0), torch.ones(3, 1, 1))
SHAPES = [
    *(reduced(config) for config in CONFIGS.values()),
    reduced(ALEXNET).changed(norm="contrast", activation="tanh", pooling="average", overlap=False),
]


def write(network: AlexNet, path: Path, *, half: bool = True) -> Path:
    """Write the model file of a network whose embedding is fc7 alone."""
    # Rounded before: what rounding does to untrained weights, whose answers are almost nothing, is not asked here.
    network = for_inference(network, half=half)
    classes = tuple(ClassName(str(number)) for number in range(network.classes))
    write_model(
        InferenceNetwork.of(network, COLOUR, fc7_alone(network), half=half),
        Description(classes, training={}, accuracy={}),
        path,
        sample=random_pictures(2, network.config.resize),
    )
    return path


def counted(network: AlexNet) -> dict[str, tuple[int, int, int]]:
    """Neurons, parameters and multiply-adds of the learned layers, from what torch's modules do with one picture."""
    found: dict[str, tuple[int, int, int]] = {}

    def hook(name: str) -> object:
        def count(module: nn.Module, _: object, output: Tensor) -> None:
            assert isinstance(module, nn.Conv2d | nn.Linear)
            terms = module.in_features if isinstance(module, nn.Linear) else module.in_channels // module.groups
            terms *= prod(getattr(module, "kernel_size", (1,)))
            size = sum(parameter.numel() for parameter in module.parameters())
            found[name] = (output.numel(), size, output.numel() * terms)

        return count

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(hook(name.rpartition(".")[2]))  # type: ignore[arg-type]
    crop = network.config.crop
    network.eval()(torch.zeros(1, 3, crop, crop, device=network.fc8.weight.device))
    return found


def learned(cost: ModelCost) -> dict[str, tuple[int, int, int]]:
    return {
        layer.name: (layer.neurons, layer.parameters, layer.forward)
        for layer in cost.layers
        if layer.kind in ("convolution", "dense")
    }


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("config", SHAPES, ids=lambda config: f"{config.arch}-{config.activation}")
def test_layers_are_those_of_torch(config: AlexNetConfig, half: bool, tmp_path: Path) -> None:
    network = lively(config, 10)
    cost = model_cost(write(network, tmp_path / "model.onnx", half=half), runs=2, threads=1)
    assert learned(cost) == counted(network)
    named = [name for name, _ in network.features.named_children() if name.startswith(("conv", "norm", "pool"))]
    assert [layer.name for layer in cost.layers] == ["pixels", *named, "fc6", "fc7", "fc8", "embedding"]
    shapes = {layer.name: layer.output for layer in cost.layers}
    maps = {
        f"{kind}{number}": side
        for number, sides in enumerate(config.sides(), 1)
        for kind, side in zip(("conv", "pool"), sides, strict=True)
    }
    for name in named:
        assert shapes[name][1:] == (maps[name.replace("norm", "conv")],) * 2
    assert shapes["pixels"] == (3, config.crop, config.crop)
    assert (shapes["fc8"], shapes["embedding"]) == ((10,), (32,))
    assert all(layer.milliseconds > 0 for layer in cost.layers), "no layer's time is lost to the merging of nodes"


def test_the_built_in_network() -> None:
    cost = model_cost(runs=1, threads=1)
    assert cost.total.parameters == 7_473_425
    assert cost.layers[-1].parameters == 256 * 2176 + 256


def test_what_learning_costs(tmp_path: Path) -> None:
    network = lively(reduced(ALEXNET), 10)
    cost = model_cost(write(network, tmp_path / "model.onnx"), runs=1, threads=1)
    assert cost.total.backward == 2 * cost.total.forward - cost.layers[1].forward


def test_what_the_network_of_2012_costs() -> None:
    with torch.device("meta"):
        network = AlexNet(ALEXNET, 1000)
    found = counted(network)
    assert [neurons for neurons, _, _ in found.values()] == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert [sum(column) for column in zip(*found.values(), strict=True)] == [659_272, 60_965_224, 724_406_816]


@pytest.mark.slow
def test_the_file_of_the_network_of_2012(tmp_path: Path) -> None:
    network = AlexNet(ALEXNET, 1000)
    cost = model_cost(write(network, tmp_path / "alexnet.onnx"), runs=1)
    assert learned(cost) == counted(network)
    total = cost.total
    assert (total.neurons, total.parameters, total.forward) == (659_272, 60_965_224, 724_406_816)
    assert total.backward == 2 * 724_406_816 - 105_415_200
    assert max(map(len, "".join(format_layers(cost, "table")).splitlines()[:-2])) <= 80


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("pixels.centred", "pixels"),
        ("conv1.weight", "conv1"),
        ("relu1", "conv1"),
        ("tanh12", "conv12"),
        ("norm1.mean.sum.down", "norm1"),
        ("norm2.squares", "norm2"),
        ("pool5", "pool5"),
        ("pool5.flat", "fc6"),
        ("pool5.mean", "embedding"),
        ("fc6.sum", "fc6"),
        ("fc7.unit.length", "embedding"),
        ("pca.matrix", "embedding"),
        ("joined", "embedding"),
        ("probabilities", "fc8"),
    ],
)
def test_each_node_belongs_to_a_layer(node: str, layer: str) -> None:
    assert layer_of(node) == layer


def test_merged_and_added_nodes_count_for_their_layer() -> None:
    names = ["relu1_nchwc", "ReorderOutput_token_12", "fused fc6.sum", "fc7_token_3_nchwc"]
    runs = [
        NodeRun(name, "", 0, (), (), seconds)
        for _ in range(2)
        for name, seconds in zip(names, (1, 2, 4, 8), strict=True)
    ]
    found = seconds_by_layer(runs, {"conv1", "fc6", "fc7"})
    assert found == {"conv1": [3, 3], "fc6": [4, 4], "fc7": [8, 8]}


def test_a_graph_whose_nodes_have_no_names(tiny_model: Path) -> None:
    cost = model_cost(tiny_model, runs=1, threads=1)
    assert cost.total.milliseconds > 0
    assert cost.total.parameters == 0


def test_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("words")
    for path, kind in ((tmp_path, UserError), (tmp_path / "none", UserError), (tmp_path / "text.onnx", ModelError)):
        with pytest.raises(kind, match=path.name):
            model_cost(path)


def test_forty_columns_are_enough() -> None:
    cost = model_cost(runs=1, threads=1)
    narrow = "".join(format_layers(cost, "table", width=40)).splitlines()
    assert max(map(len, narrow)) <= 40
    wide = "".join(format_layers(cost, "table", width=80)).splitlines()
    assert max(map(len, wide)) <= 80
    for layer in (*cost.layers, cost.total):
        assert any(line.startswith(layer.name) for line in narrow)
        assert any(line.startswith(layer.name) for line in wide)
