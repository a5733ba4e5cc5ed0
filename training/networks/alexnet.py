"""The network: one class for every architecture."""

from collections import OrderedDict
from dataclasses import replace

import torch
from torch import Tensor, nn

from training.networks.architectures import AlexNetConfig
from training.networks.layers import LocalContrastNorm, LocalResponseNorm, batch_statistics_folded


class AlexNet(nn.Module):
    """Five convolutions, two hidden fully connected layers and the scores of `classes` classes.

    `features` holds conv1 to pool5, `hidden` fc6 and fc7 with activations and dropout, `fc8` the scores. A picture
    smaller than `config.crop` is taken too (training grows them): its last maps are spread over the grid that fc6
    expects.
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
            layers[f"{config.activation}{number}"] = _activation(config)
            if conv.norm:
                layers[f"norm{number}"] = _local_norm(config, conv.filters)
            if conv.pool:
                layers[f"pool{number}"] = _pooling(config)
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
            layers[f"{config.activation}{number}"] = _activation(config)
            layers[f"drop{number}"] = nn.Dropout(config.dropout)
            width = neurons
        self.hidden = nn.Sequential(layers)
        self.fc8 = nn.Linear(width, classes)
        self._initialise()

    def _initialise(self) -> None:
        starts = [conv.bias for conv in self.config.convs] + [float(self.config.init == "gaussian")] * 2 + [0.0]
        if self.config.activation == "tanh":
            starts = [0.0] * len(starts)  # a tanh is never silent, and learns best around nothing
        learned = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        for layer, start in zip(learned, starts, strict=True):
            if self.config.init == "gaussian":
                nn.init.normal_(layer.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity=self.config.activation)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, start)
        if self.config.init == "he":
            nn.init.normal_(self.fc8.weight, std=0.01)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return fc7, the activated top hidden layer (n, hidden), for normalised x (n, 3, height, width)."""
        return self.activations(x)["fc7"]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) for normalised pictures x (n, 3, height, width)."""
        logits: Tensor = self.fc8(self.forward_features(x))
        return logits

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Return pool5 (n, maps, grid, grid), fc6 and fc7 (n, hidden) activated (and dropped while training)."""
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


def _activation(config: AlexNetConfig) -> nn.Module:
    return nn.ReLU(inplace=True) if config.activation == "relu" else nn.Tanh()


def _local_norm(config: AlexNetConfig, maps: int) -> nn.Module:
    return LocalResponseNorm(maps) if config.local_norm == "response" else LocalContrastNorm()


def _pooling(config: AlexNetConfig) -> nn.Module:
    return (nn.MaxPool2d if config.pooling == "max" else nn.AvgPool2d)(config.window, stride=2)


def feature_grid(config: AlexNetConfig) -> int:
    """Return the side of the last maps for a picture of `config.crop` pixels."""
    return config.sides()[-1][1]


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


@torch.no_grad()
def with_batch_norm(network: AlexNet, x: Tensor) -> AlexNet:
    """Return an equal network that has batch normalisation, the opposite of `without_batch_norm`.

    Mean and standard deviation of each layer's sums over the normalised pictures x (n, 3, height, width) become both
    what is subtracted and divided by, and what is multiplied and added again. Without it a network that was trained
    with batch normalisation diverges at the rates that it was trained with.
    """
    normed = AlexNet(replace(network.config, batch_norm=True), network.classes).to(x.device)
    normed.load_state_dict(network.state_dict(), strict=False)

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        sums = inputs[0].transpose(0, 1).flatten(1).double()
        norm.running_mean.copy_(sums.mean(1))
        norm.running_var.copy_(sums.var(1))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean)

    hooks = [
        layer.register_forward_pre_hook(measure)
        for layer in normed.modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    normed.eval()(x)
    for hook in hooks:
        hook.remove()
    return normed
