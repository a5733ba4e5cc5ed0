"""The shape that a run can choose: what it changes in a network, and that its model file answers as the network."""

import json
from dataclasses import asdict, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_samples import CPU, as_split, checkpoint_of, lively, reduced, write_shapes

from retrieval.models.model import Model
from training.data.pictures import load_pictures
from training.export.embedding import EmbeddingRecipe
from training.export.export import export_model
from training.loop.checkpoint import Checkpoint
from training.networks.alexnet import AlexNet
from training.networks.architectures import CONFIGS, AlexNetConfig, Shape, shape_options
from training.networks.layers import LocalContrastNorm, LocalResponseNorm

BUILTIN_CONFIGS = list(CONFIGS.values())
CHOICES: list[dict[str, Any]] = [
    {"activation": "tanh"},
    {"pooling": "average"},
    {"overlap": False},
    {"pooling": "average", "overlap": False},
    {"norm": "none"},
    {"norm": "response"},
    {"norm": "contrast"},
    {"norm": "batch"},
    {"activation": "tanh", "pooling": "average", "norm": "contrast"},
    {"activation": "tanh", "norm": "batch"},
]


def names_of(config: AlexNetConfig, kind: type[nn.Module]) -> list[str]:
    return [name for name, layer in AlexNet(reduced(config), 2).named_modules() if isinstance(layer, kind)]


@pytest.mark.parametrize("config", BUILTIN_CONFIGS, ids=lambda config: config.arch)
def test_choosing_what_there_is_changes_nothing(config: AlexNetConfig) -> None:
    assert config.changed(**asdict(config.shape)) == config
    assert config.changed() == config


@pytest.mark.parametrize("config", BUILTIN_CONFIGS, ids=lambda config: config.arch)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_is_chosen_is_the_shape_and_survives_its_plain_values(
    config: AlexNetConfig, choice: dict[str, Any]
) -> None:
    chosen = config.changed(**choice)
    assert chosen.shape == replace(config.shape, **choice)
    assert AlexNetConfig.from_dict(chosen.to_dict()) == chosen


def test_the_shapes_of_the_architectures() -> None:
    assert {arch: config.shape.norm for arch, config in CONFIGS.items()} == {
        "alexnet": "response",
        "alexnet-owt": "none",
        "alexnet-64": "batch",
        "alexnet-128": "batch",
    }
    assert {(s.activation, s.pooling, s.overlap) for s in (config.shape for config in CONFIGS.values())} == {
        ("relu", "max", True)
    }


def test_the_command_line_offers_every_value_of_a_shape() -> None:
    options = {option.name: option for option in shape_options()}
    assert list(options) == [field.name for field in fields(Shape)]
    assert options["norm"].help.endswith(
        "[default: alexnet: response, alexnet-owt: none, alexnet-64: batch, alexnet-128: batch]"
    )
    assert options["overlap"].help.endswith("[default: overlap]")


def test_activation() -> None:
    config = CONFIGS["alexnet"].changed(activation="tanh")
    assert len(names_of(config, nn.Tanh)) == 7
    assert not names_of(config, nn.ReLU)
    network = AlexNet(reduced(config), 3)
    values = network.activations(torch.randn(2, 3, 224, 224))["fc7"]
    assert values.min() < 0
    assert values.abs().max() <= 2  # 1, and dropout doubles what it leaves
    # The biases of 1 keep ReLUs alive; a tanh would start on its flat part.
    assert not any(
        layer.bias.any() for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.bias is not None
    )


@pytest.mark.parametrize(("pooling", "kind"), [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)])
@pytest.mark.parametrize(("overlap", "window"), [(True, 3), (False, 2)])
def test_pooling(pooling: Any, kind: type[nn.MaxPool2d] | type[nn.AvgPool2d], overlap: bool, window: int) -> None:
    network = AlexNet(reduced(CONFIGS["alexnet"].changed(pooling=pooling, overlap=overlap)), 2)
    pools = {name: layer for name, layer in network.features.named_children() if name.startswith("pool")}
    assert list(pools) == ["pool1", "pool2", "pool5"]
    for layer in pools.values():
        assert isinstance(layer, kind)
        assert (layer.kernel_size, layer.stride) == (window, 2)


@pytest.mark.parametrize(("norm", "kind"), [("response", LocalResponseNorm), ("contrast", LocalContrastNorm)])
def test_local_normalisation_follows_the_first_two_activations(norm: Any, kind: type[nn.Module]) -> None:
    for config in BUILTIN_CONFIGS:
        chosen = config.changed(norm=norm)
        assert names_of(chosen, kind) == ["features.norm1", "features.norm2"]
        assert not names_of(chosen, nn.BatchNorm2d)
        order = list(dict(AlexNet(reduced(chosen), 2).features.named_children()))
        assert order[:4] == ["conv1", "relu1", "norm1", "pool1"]


def test_batch_normalisation_or_none() -> None:
    for config in BUILTIN_CONFIGS:
        assert len(names_of(config.changed(norm="batch"), nn.BatchNorm2d)) == 5
        plain = config.changed(norm="none")
        for kind in (nn.BatchNorm2d, nn.BatchNorm1d, LocalResponseNorm, LocalContrastNorm):
            assert not names_of(plain, kind)


@pytest.mark.parametrize(
    ("config", "pooling", "overlap"), list(product(BUILTIN_CONFIGS, ("max", "average"), (True, False)))
)
def test_maps_have_the_sides_that_are_foretold(config: AlexNetConfig, pooling: Any, overlap: bool) -> None:
    network = AlexNet(reduced(config.changed(pooling=pooling, overlap=overlap)), 2).eval()
    x, found = torch.zeros(1, 3, config.crop, config.crop), []
    for name, layer in network.features.named_children():
        x = layer(x)
        if name.startswith("conv"):
            found.append([x.shape[-1], x.shape[-1]])
        found[-1][1] = x.shape[-1]
    assert [tuple(sides) for sides in found] == network.config.sides()
    assert network.grid == x.shape[-1]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_model_file_answers_as_its_network(tmp_path: Path, choice: dict[str, Any]) -> None:
    config = reduced(CONFIGS["alexnet-64"].changed(**choice))
    trained = lively(config, 3)
    pictures = load_pictures(
        as_split(write_shapes(tmp_path / "data", each=4)), config.resize, device=CPU.device, memory=1 << 30, workers=0
    )
    checkpoint_of(trained).save(tmp_path / "best.pt")
    checkpoint = Checkpoint.load(tmp_path / "best.pt")
    assert checkpoint.config == config
    # The export itself compares the file with the network, and fails where they differ.
    export_model(
        checkpoint, tmp_path / "model.onnx", pictures=pictures, validation=pictures, embedding=EmbeddingRecipe(dim=8)
    )
    model = Model.load(tmp_path / "model.onnx", device="cpu")
    assert AlexNetConfig.from_dict(dict(model.spec.arch_config)) == config
    assert model.spec.fc7_dim == config.hidden[1]


def test_a_checkpoint_from_before_there_was_a_choice_is_read(tmp_path: Path) -> None:
    network = lively(reduced(CONFIGS["alexnet-64"]), 3)
    checkpoint_of(network).save(tmp_path / "last.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    header = json.loads(content["fc7"])
    for name in ("activation", "pooling", "overlap", "local_norm"):
        del header["config"][name]
    for name in ("colour_noise", "head_epochs", "stop_after"):
        del header["recipe"][name]
    del content["colours"]
    torch.save({**content, "fc7": json.dumps(header)}, tmp_path / "old.pt")
    old = Checkpoint.load(tmp_path / "old.pt")
    assert old.config == network.config
    assert (old.recipe.colour_noise, old.recipe.head_epochs, old.recipe.stop_after) == (0, 0, 0)
    assert not old.normalisation.colours.any()
    x = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(old.build()(x), network(x))


def test_weights_keep_the_names_that_checkpoints_know_them_by() -> None:
    convs, hidden = [f"features.{{}}{n}" for n in range(1, 6)], [f"hidden.{{}}{n}" for n in (6, 7)]
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"fc8.weight", "fc8.bias"}
    for name, learned in [*((name, "conv") for name in convs), *((name, "fc") for name in hidden)]:
        expected |= {f"{name.format(learned)}.{part}" for part in ("weight", "bias")}
        expected |= {f"{name.format('bn')}.{part}" for part in statistics}
    assert set(AlexNet(reduced(CONFIGS["alexnet-64"]), 2).state_dict()) == expected
