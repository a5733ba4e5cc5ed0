from dataclasses import replace

import pytest
import torch
from torch import nn
from training_samples import TINY, lively, reduced

from training.errors import CheckpointError
from training.networks.alexnet import AlexNet, feature_grid, with_batch_norm, without_batch_norm
from training.networks.architectures import ALEXNET, ALEXNET_64, ALEXNET_OWT, CONFIGS, AlexNetConfig

# What torchvision documents for the pretrained weights of its `alexnet`.
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216),
    "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096),
    "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096),
    "classifier.6.bias": (1000,),
}


def without_memory(config: AlexNetConfig, classes: int) -> AlexNet:
    """A network whose shapes are all there and whose weights are not."""
    with torch.device("meta"):
        return AlexNet(config, classes)


def learned_layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def parameter_count(config: AlexNetConfig, classes: int) -> int:
    return sum(parameter.numel() for parameter in without_memory(config, classes).parameters())


@pytest.mark.parametrize(("config", "parameters"), [(ALEXNET, 60_965_224), (ALEXNET_OWT, 61_100_840)])
def test_parameters_for_1000_classes(config: AlexNetConfig, parameters: int) -> None:
    assert parameter_count(config, 1000) == parameters


def test_alexnet_64_has_a_few_million_parameters() -> None:
    assert 2e6 < parameter_count(ALEXNET_64, 200) < 8e6


def test_neurons_of_the_2012_network() -> None:
    network, found = without_memory(ALEXNET, 1000), []
    for layer in learned_layers(network):
        layer.register_forward_hook(lambda layer, x, y: found.append(y[0].numel()))
    network(torch.empty(1, 3, ALEXNET.crop, ALEXNET.crop, device="meta"))
    # The paper prints 253,440 for conv1; 55 × 55 × 96 maps are 290,400.
    assert found == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]


def test_alexnet_owt_has_the_shapes_that_torchvision_ships() -> None:
    shapes = [tuple(values.shape) for values in without_memory(ALEXNET_OWT, 1000).state_dict().values()]
    assert shapes == list(TORCHVISION.values())


def test_the_2012_network_layer_for_layer() -> None:
    network = without_memory(ALEXNET, 1000)
    kinds = [type(layer).__name__ for layer in [*network.features, *network.hidden, network.fc8]]
    normalised = ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    plain, hidden = ["Conv2d", "ReLU"], ["Linear", "ReLU", "Dropout"]
    assert kinds == [*normalised * 2, *plain * 3, "MaxPool2d", *hidden * 2, "Linear"]
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [96, 256, 384, 384, 256]
    assert [layer.groups for layer in convolutions] == [1, 2, 1, 2, 2]
    assert [layer.kernel_size[0] for layer in convolutions] == [11, 5, 3, 3, 3]
    assert [layer.stride[0] for layer in convolutions] == [4, 1, 1, 1, 1]
    pools = [layer for layer in network.features if isinstance(layer, nn.MaxPool2d)]
    assert {(layer.kernel_size, layer.stride) for layer in pools} == {(3, 2)}
    assert [layer.p for layer in network.hidden if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_the_2012_network_starts_as_the_paper_says() -> None:
    torch.manual_seed(0)
    layers = learned_layers(AlexNet(replace(ALEXNET, hidden=(64, 64)), 50))
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert abs(layer.weight.mean().item()) < 1e-3
    starts = [set(layer.bias.tolist()) for layer in layers if layer.bias is not None]
    assert starts == [{0}, {1}, {0}, {1}, {1}, {1}, {1}, {0}]


def test_other_networks_start_so_that_variances_pass_through() -> None:
    torch.manual_seed(0)
    *layers, scores = learned_layers(AlexNet(ALEXNET_64, 50))
    for layer in layers:
        fan_in = layer.weight[0].numel()
        assert layer.weight.var().item() == pytest.approx(2 / fan_in, rel=0.1)
        assert layer.bias is not None
        assert not layer.bias.any()
    assert scores.weight.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_each_network_gets_its_own_grid_and_smaller_pictures_are_spread_over_it(config: AlexNetConfig) -> None:
    config = reduced(config)
    network = AlexNet(config, 7).eval()
    with torch.inference_mode():
        for side in (config.crop, config.crop * 3 // 4, config.crop + 20):
            found = network.activations(torch.randn(2, 3, side, side))
            assert found["pool5"].shape[2:] == (network.grid, network.grid)
            assert (found["fc6"].shape, found["fc7"].shape) == ((2, 32), (2, 32))
            assert (found["fc7"] >= 0).all()
    assert feature_grid(config) == network.grid == 6


def test_logits_are_fc8_of_fc7() -> None:
    network, x = lively(TINY, 5), torch.randn(4, 3, 28, 28)
    with torch.inference_mode():
        assert torch.equal(network.forward_features(x), network.activations(x)["fc7"])
        assert torch.equal(network(x), network.fc8(network.activations(x)["fc7"]))


def test_dropout_works_while_training_only() -> None:
    network = lively(replace(TINY, batch_norm=False, dropout=0.5), 3)
    x = torch.randn(64, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        alive = network.forward_features(x) > 0
        dropped = network.train().forward_features(x) == 0
    assert 0.35 < dropped[alive].float().mean() < 0.65


@pytest.mark.parametrize("config", [TINY, reduced(ALEXNET_64)], ids=["tiny", "alexnet-64"])
def test_without_batch_norm_answers_the_same(config: AlexNetConfig) -> None:
    network = lively(config, 6).double()
    plain = without_batch_norm(network).double()
    assert not any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in plain.modules())
    x = torch.randn(3, 3, config.crop, config.crop, dtype=torch.float64)
    with torch.inference_mode():
        expected, found = network.activations(x), plain.activations(x)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            torch.testing.assert_close(
                found[name], values, rtol=1e-5, atol=1e-5
            )  # merged weights are stored as float32
        torch.testing.assert_close(plain(x), network(x), rtol=1e-5, atol=1e-5)


def test_without_batch_norm_copies_a_network_that_has_none() -> None:
    network = lively(reduced(ALEXNET), 6)
    plain = without_batch_norm(network)
    assert plain is not network
    assert {name: values.tolist() for name, values in plain.state_dict().items()} == {
        name: values.tolist() for name, values in network.state_dict().items()
    }


@pytest.mark.parametrize("config", [*CONFIGS.values(), TINY], ids=lambda config: config.arch)
def test_a_configuration_survives_its_plain_values(config: AlexNetConfig) -> None:
    assert AlexNetConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("change", [{"depth": 3}, {"convs": [{"width": 3}]}, {"convs": 4}, {"hidden": None}])
def test_a_configuration_that_is_not_known_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="not one that this fc7 knows"):
        AlexNetConfig.from_dict({**TINY.to_dict(), **change})


def test_batch_norm_put_back_answers_the_same_and_is_that_of_the_pictures() -> None:
    torch.manual_seed(0)
    config = CONFIGS["alexnet-128"]
    plain = AlexNet(replace(config, batch_norm=False), 7).eval()
    x = torch.randn(16, 3, config.crop, config.crop)
    normed = with_batch_norm(plain, x)
    torch.testing.assert_close(normed(x), plain(x), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(without_batch_norm(normed)(x), plain(x), rtol=1e-3, atol=1e-5)
    assert normed.config == config
    # Training normalises by the batch, which for these pictures is what is kept.
    kept = dict(normed.features.named_buffers())
    sums = normed.features[0](x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(sums.mean(1), kept["bn1.running_mean"], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(sums.var(1), kept["bn1.running_var"], rtol=1e-3, atol=1e-4)
