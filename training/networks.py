"""The networks: one class, and one small configuration for each shape of it."""

from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from index.errors import CheckpointError
from training.layers import LocalResponseNorm, batch_statistics_folded


@dataclass(frozen=True)
class ConvLayer:
    """One convolution and what follows it: local response normalisation, 3x3 max-pooling with stride 2."""

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    norm: bool = False
    pool: bool = False
    bias: float = 0.0
    """What the biases start from (the paper: 1 in conv2, conv4 and conv5, so that their ReLUs start alive)."""


@dataclass(frozen=True)
class AlexNetConfig:
    """The shape of a network; saved in each checkpoint, so that a file rebuilds its own network."""

    arch: str
    resize: int
    """Side in pixels that a picture is shrunk to."""
    crop: int
    """Side of the square that the network sees."""
    convs: tuple[ConvLayer, ...]
    hidden: tuple[int, int]
    dropout: float = 0.5
    batch_norm: bool = False
    init: Literal["gaussian", "he"] = "he"
    """`gaussian`: weights N(0, 0.01) as in the paper; `he`: N(0, 2 / fan_in), He et al. (2015)."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "AlexNetConfig":
        """Read back what `dataclasses.asdict` made and JSON stored."""
        try:
            convs = tuple(ConvLayer(**layer) for layer in values["convs"])
            return cls(**{**values, "convs": convs, "hidden": tuple(values["hidden"])})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the network's configuration is not one that this fc7 knows ({error})") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


ALEXNET = AlexNetConfig(
    arch="alexnet",
    resize=256,
    crop=224,
    convs=(
        ConvLayer(96, 11, stride=4, padding=2, norm=True, pool=True),
        ConvLayer(256, 5, padding=2, groups=2, norm=True, pool=True, bias=1.0),
        ConvLayer(384, 3, padding=1),
        ConvLayer(384, 3, padding=1, groups=2, bias=1.0),
        ConvLayer(256, 3, padding=1, groups=2, pool=True, bias=1.0),
    ),
    hidden=(4096, 4096),
    init="gaussian",
)
"""Krizhevsky, Sutskever, Hinton (2012), section 3.5; its two columns are the groups of conv2, conv4 and conv5."""

ALEXNET_OWT = AlexNetConfig(
    arch="alexnet-owt",
    resize=256,
    crop=224,
    convs=(
        ConvLayer(64, 11, stride=4, padding=2, pool=True),
        ConvLayer(192, 5, padding=2, pool=True),
        ConvLayer(384, 3, padding=1),
        ConvLayer(256, 3, padding=1),
        ConvLayer(256, 3, padding=1, pool=True),
    ),
    hidden=(4096, 4096),
)
"""The one-tower variant (Krizhevsky 2014, "One weird trick") with the filters that torchvision ships."""

ALEXNET_64 = AlexNetConfig(
    arch="alexnet-64",
    resize=64,
    crop=56,
    convs=(
        ConvLayer(64, 5, stride=2, padding=2, pool=True),
        ConvLayer(160, 3, padding=1),
        ConvLayer(224, 3, padding=1),
        ConvLayer(224, 3, padding=1),
        ConvLayer(128, 3, padding=1, pool=True),
    ),
    hidden=(1024, 1024),
    dropout=0.3,
    batch_norm=True,
)
"""The same idea for 64-pixel pictures: 56 is cropped from 64 as 224 from 256; without pool2, pool5 is 6x6."""

CONFIGS = {config.arch: config for config in (ALEXNET, ALEXNET_OWT, ALEXNET_64)}


class AlexNet(nn.Module):
    """Five convolutions, two hidden fully connected layers and the scores of `classes` classes.

    `features` holds conv1 to pool5, `hidden` fc6 and fc7 with ReLUs and dropout, `fc8` the scores. A picture smaller
    than `config.crop` is taken too (training grows them): its last maps are spread over the grid that fc6 expects.
    """

    def __init__(self, config: AlexNetConfig, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        maps = 3
        for number, conv in enumerate(config.convs, start=1):
            layers[f"conv{number}"] = nn.Conv2d(
                maps, conv.filters, conv.kernel, stride=conv.stride, padding=conv.padding, groups=conv.groups
            )
            if config.batch_norm:
                layers[f"bn{number}"] = nn.BatchNorm2d(conv.filters)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            if conv.norm:
                layers[f"norm{number}"] = LocalResponseNorm(conv.filters)
            if conv.pool:
                layers[f"pool{number}"] = nn.MaxPool2d(3, stride=2)
            maps = conv.filters
        self.features = nn.Sequential(layers)
        self.grid = feature_grid(config)
        self.spread = nn.AdaptiveAvgPool2d(self.grid)

        layers = OrderedDict()
        width = maps * self.grid**2
        for number, neurons in enumerate(config.hidden, start=6):
            layers[f"fc{number}"] = nn.Linear(width, neurons)
            if config.batch_norm:
                layers[f"bn{number}"] = nn.BatchNorm1d(neurons)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            layers[f"drop{number}"] = nn.Dropout(config.dropout)
            width = neurons
        self.hidden = nn.Sequential(layers)
        self.fc8 = nn.Linear(width, classes)
        self._initialise()

    def _initialise(self) -> None:
        starts = [conv.bias for conv in self.config.convs] + [float(self.config.init == "gaussian")] * 2 + [0.0]
        learned = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        for layer, start in zip(learned, starts, strict=True):
            if self.config.init == "gaussian":
                nn.init.normal_(layer.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.constant_(layer.bias, start)
        if self.config.init == "he":
            nn.init.normal_(self.fc8.weight, std=0.01)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return fc7, the top hidden layer after its ReLU (n, hidden), for normalised x (n, 3, height, width)."""
        return self.activations(x)["fc7"]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) for normalised pictures x (n, 3, height, width)."""
        logits: Tensor = self.fc8(self.forward_features(x))
        return logits

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Return pool5 (n, maps, grid, grid), fc6 and fc7 (n, hidden) after ReLU (and dropout while training)."""
        pool5 = self.features(x)
        if pool5.shape[2:] != (self.grid, self.grid):
            pool5 = self.spread(pool5)
        found = {"pool5": pool5}
        x = torch.flatten(pool5, 1)
        for name, layer in self.hidden.named_children():
            x = layer(x)
            if name.startswith("drop"):
                found[f"fc{name[-1]}"] = x
        return found


def feature_grid(config: AlexNetConfig) -> int:
    """Return the side of the last maps for a picture of `config.crop` pixels."""
    side = config.crop
    for conv in config.convs:
        side = (side + 2 * conv.padding - conv.kernel) // conv.stride + 1
        if conv.pool:
            side = (side - 3) // 2 + 1
    return side


def parameter_count(network: nn.Module) -> int:
    """Return the number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def neurons_per_layer(config: AlexNetConfig, classes: int) -> list[int]:
    """Return the outputs of each learned layer before pooling, conv1 first."""
    found, side = [], config.crop
    for conv in config.convs:
        side = (side + 2 * conv.padding - conv.kernel) // conv.stride + 1
        found.append(side * side * conv.filters)
        if conv.pool:
            side = (side - 3) // 2 + 1
    return [*found, *config.hidden, classes]


def without_batch_norm(network: AlexNet) -> AlexNet:
    """Return an equal network for inference whose batch normalisation is merged into its weights."""
    plain = AlexNet(replace(network.config, batch_norm=False), network.classes)
    source = dict(network.named_modules())
    for name, layer in plain.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        learned = source[name]
        assert isinstance(learned, nn.Conv2d | nn.Linear)
        assert learned.bias is not None
        assert layer.bias is not None
        norm = source.get(name.replace("conv", "bn").replace("fc", "bn"))
        weight, bias = learned.weight.detach(), learned.bias.detach()
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            weight, bias = batch_statistics_folded(weight, bias, norm)
        layer.weight.data.copy_(weight)
        layer.bias.data.copy_(bias)
    return plain.eval()
