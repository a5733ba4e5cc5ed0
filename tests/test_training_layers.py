"""The layers that the networks are built of, against the formulas of a lecture written out as loops, in float64."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from training_samples import TINY

from training.networks.alexnet import AlexNet
from training.networks.architectures import ALEXNET, ConvLayer
from training.networks.layers import LocalResponseNorm, batch_statistics_folded

Array = NDArray[np.float64]
Neuron = tuple[int, int, int, int]
Field = tuple[int, slice, slice, slice]

MAPS = 4
CONVOLUTIONS = [
    ConvLayer(6, 3),
    ConvLayer(6, 3, padding=1),
    ConvLayer(4, 3, padding=1, groups=2),
    ConvLayer(4, 5, stride=2, padding=2),
    ConvLayer(2, 4, stride=3, groups=2),
    ConvLayer(2, 11, stride=4, padding=2),
]


def layer_of_network(name: str, *, conv: ConvLayer = TINY.convs[1], crop: int = TINY.crop) -> nn.Module:
    """A layer, in float64 and with large random weights, of a network whose conv2 is `conv`, and sees 4 maps."""
    torch.manual_seed(1)
    convs = (replace(TINY.convs[0], filters=MAPS), conv, *TINY.convs[2:])
    layer = AlexNet(replace(TINY, crop=crop, convs=convs, batch_norm=False), 3).get_submodule(name).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def convolution(conv: ConvLayer) -> tuple[nn.Conv2d, Array, Array]:
    """conv2 of a network with its weight (maps, depth, kernel, kernel) and bias (maps,)."""
    layer = layer_of_network("features.conv2", conv=conv, crop=120)
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    return layer, layer.weight.detach().numpy(), layer.bias.detach().numpy()


def random_maps(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def run(layer: nn.Module, x: Array) -> tuple[Array, Array, Array]:
    """What a layer makes of x, a random sensitivity (gradient) of that, and the sensitivity of x that follows."""
    given = torch.from_numpy(x).requires_grad_()
    y = layer(given)
    sensitivity = random_maps(*y.shape, seed=5)
    y.backward(torch.from_numpy(sensitivity))
    assert given.grad is not None
    return y.detach().numpy(), sensitivity, given.grad.numpy()


def receptive_fields(shape: tuple[int, ...], conv: ConvLayer) -> Iterator[tuple[Neuron, Field]]:
    """Yield each neuron (n, map, row, column) with the part of the zero-padded input that it is connected to."""
    n, depth, height, width = shape
    rows, columns = ((side + 2 * conv.padding - conv.kernel) // conv.stride + 1 for side in (height, width))
    depth //= conv.groups
    for neuron in np.ndindex(n, conv.filters, rows, columns):
        picture, filter_number, i, j = neuron
        first = filter_number // (conv.filters // conv.groups) * depth
        top, left = i * conv.stride, j * conv.stride
        yield (
            (picture, filter_number, i, j),
            (picture, slice(first, first + depth), slice(top, top + conv.kernel), slice(left, left + conv.kernel)),
        )


def zero_padded(x: Array, padding: int) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_convolution_is_the_product_of_filter_and_receptive_field(conv: ConvLayer) -> None:
    layer, weight, bias = convolution(conv)
    x = random_maps(2, MAPS, 13, 12)
    y, _, _ = run(layer, x)
    expected = np.full(y.shape, np.nan)
    inputs = zero_padded(x, conv.padding)
    for neuron, field in receptive_fields(x.shape, conv):
        expected[neuron] = (weight[neuron[1]] * inputs[field]).sum() + bias[neuron[1]]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_gradient_of_a_shared_filter_is_the_correlation_of_sensitivity_and_input(conv: ConvLayer) -> None:
    layer, weight, bias = convolution(conv)
    x = random_maps(2, MAPS, 13, 12)
    _, sensitivity, _ = run(layer, x)
    of_weight, of_bias = np.zeros_like(weight), np.zeros_like(bias)
    inputs = zero_padded(x, conv.padding)
    for neuron, field in receptive_fields(x.shape, conv):
        of_weight[neuron[1]] += sensitivity[neuron] * inputs[field]
        of_bias[neuron[1]] += sensitivity[neuron]
    assert layer.weight.grad is not None
    assert layer.bias is not None
    assert layer.bias.grad is not None
    np.testing.assert_allclose(layer.weight.grad.numpy(), of_weight, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layer.bias.grad.numpy(), of_bias, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_sensitivity_goes_back_through_the_filter_and_is_lost_in_the_padding(conv: ConvLayer) -> None:
    layer, weight, _ = convolution(conv)
    x = random_maps(2, MAPS, 13, 12)
    _, sensitivity, of_x = run(layer, x)
    expected = zero_padded(np.zeros_like(x), conv.padding)
    for neuron, field in receptive_fields(x.shape, conv):
        expected[field] += sensitivity[neuron] * weight[neuron[1]]
    inside = slice(conv.padding, -conv.padding or None)
    np.testing.assert_allclose(of_x, expected[:, :, inside, inside], rtol=1e-12, atol=1e-12)


def test_gradient_of_a_fully_connected_layer_is_the_product_of_sensitivity_and_input() -> None:
    layer = layer_of_network("hidden.fc7")
    assert isinstance(layer, nn.Linear)
    x = random_maps(5, layer.in_features)
    y, sensitivity, of_x = run(layer, x)
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    gradient = layer.weight.grad
    assert gradient is not None
    np.testing.assert_allclose(y, [[row @ x_n + b for row, b in zip(weight, bias, strict=True)] for x_n in x])
    np.testing.assert_allclose(gradient, sum(np.outer(s, x_n) for s, x_n in zip(sensitivity, x, strict=True)))
    np.testing.assert_allclose(of_x, [weight.T @ s for s in sensitivity])


@pytest.mark.parametrize("side", [7, 12, 13])
def test_max_pooling_hands_the_gradient_to_each_maximum_and_adds_where_regions_overlap(side: int) -> None:
    layer = layer_of_network("features.pool1")
    assert isinstance(layer, nn.MaxPool2d)
    assert (layer.kernel_size, layer.stride) == (3, 2)
    x = random_maps(2, 3, side, side + 2)
    y, sensitivity, of_x = run(layer, x)
    expected, routed, winners = np.zeros_like(y), np.zeros_like(x), np.zeros(x.shape, int)
    for n, c, i, j in np.ndindex(y.shape):
        region = x[n, c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        row, column = np.unravel_index(region.argmax(), region.shape)
        expected[n, c, i, j] = region[row, column]
        routed[n, c, 2 * i + row, 2 * j + column] += sensitivity[n, c, i, j]
        winners[n, c, 2 * i + row, 2 * j + column] += 1
    assert winners.max() > 1, "no maximum lies in two regions: the test shows nothing about adding"
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(of_x, routed, rtol=1e-14, atol=1e-14)


def test_a_maximum_of_four_regions_gets_the_sum_of_four_gradients() -> None:
    x = np.zeros((1, 1, 5, 5))
    x[0, 0, 2, 2] = 1
    _, sensitivity, of_x = run(layer_of_network("features.pool1"), x)
    assert sensitivity.shape == (1, 1, 2, 2)
    assert of_x[0, 0, 2, 2] == pytest.approx(sensitivity.sum(), rel=1e-14)
    assert np.count_nonzero(of_x) == 1


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6, 7])
def test_average_pooling_takes_means_and_spreads_the_gradient_evenly(side: int) -> None:
    # The layer that brings the maps of smaller pictures to the grid of fc6: region i of G starts at floor(i H / G) and
    # ends before ceil((i + 1) H / G), so regions overlap where G does not divide H.
    layer = layer_of_network("spread")
    x = random_maps(2, 3, side, side)
    y, sensitivity, of_x = run(layer, x)
    grid = y.shape[-1]
    assert y.shape == (2, 3, 2, 2)
    expected, spread = np.zeros_like(y), np.zeros_like(x)
    for n, c, i, j in np.ndindex(y.shape):
        rows, columns = (slice(k * side // grid, -(-(k + 1) * side // grid)) for k in (i, j))
        region = x[n, c, rows, columns]
        expected[n, c, i, j] = region.mean()
        spread[n, c, rows, columns] += sensitivity[n, c, i, j] / region.size
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(of_x, spread, rtol=1e-13, atol=1e-15)


def test_relu_passes_the_gradient_of_what_is_positive() -> None:
    layer = nn.Sequential(nn.Identity(), layer_of_network("features.relu1"))
    x = random_maps(2, 3, 4, 4)
    given = torch.from_numpy(x).requires_grad_()
    y = layer(given * 1)
    sensitivity = random_maps(*x.shape, seed=5)
    y.backward(torch.from_numpy(sensitivity))
    np.testing.assert_array_equal(y.detach(), np.maximum(x, 0))
    np.testing.assert_array_equal(given.grad, np.where(x > 0, sensitivity, 0))


@pytest.mark.parametrize(("maps", "size"), [(12, 5), (3, 5), (8, 3), (7, 4), (1, 5)])
def test_local_response_normalisation_follows_its_formula(maps: int, size: int) -> None:
    k, alpha, beta = 2.0, 0.3, 0.75  # the alpha of the paper, 1e-4, would hardly show
    layer = LocalResponseNorm(maps, size, alpha=alpha, beta=beta, k=k)
    x = 3 * random_maps(2, maps, 3, 4)
    y, sensitivity, of_x = run(layer, x)
    expected, back = np.zeros_like(x), np.zeros_like(x)
    for n, i, row, column in np.ndindex(x.shape):
        near = [j for j in range(i - size // 2, i - size // 2 + size) if 0 <= j < maps]
        denominator = k + alpha * sum(x[n, j, row, column] ** 2 for j in near)
        expected[n, i, row, column] = x[n, i, row, column] / denominator**beta
        # d b_i / d a_j = [i = j] d^-beta - 2 alpha beta a_i a_j d^(-beta - 1), for a_j near a_i
        back[n, i, row, column] += sensitivity[n, i, row, column] / denominator**beta
        for j in near:
            back[n, j, row, column] -= (
                sensitivity[n, i, row, column]
                * (2 * alpha * beta * x[n, i, row, column] * x[n, j, row, column])
                / denominator ** (beta + 1)
            )
    # The layer computes in float32, whatever it is given.
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(of_x, back, rtol=1e-5, atol=1e-5)


def test_the_constants_of_local_response_normalisation_are_those_of_the_paper() -> None:
    layers = [layer for layer in AlexNet(ALEXNET, 2).modules() if isinstance(layer, LocalResponseNorm)]
    assert [layer.maps for layer in layers] == [96, 256]
    assert {(layer.k, layer.size, layer.alpha, layer.beta) for layer in layers} == {(2.0, 5, 1e-4, 0.75)}
    assert str(layers[0]) == "LocalResponseNorm(96, size=5, alpha=0.0001, beta=0.75, k=2.0)"


def test_local_response_normalisation_keeps_the_precision_it_is_given() -> None:
    x = torch.full((1, 8, 2, 2), 300.0, dtype=torch.bfloat16)  # its square has no place in float16
    assert LocalResponseNorm(8)(x).dtype == torch.bfloat16
    assert torch.isfinite(LocalResponseNorm(8)(x.half())).all()


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.Linear])
def test_folded_batch_statistics_do_what_the_normalisation_did(kind: type[nn.Conv2d] | type[nn.Linear]) -> None:
    torch.manual_seed(2)
    if kind is nn.Linear:
        layer: nn.Conv2d | nn.Linear = nn.Linear(6, 4)
        norm: nn.BatchNorm1d | nn.BatchNorm2d = nn.BatchNorm1d(4)
        x = random_maps(5, 6)
    else:
        layer, norm, x = nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), random_maps(5, 6, 7, 7)
    layer.double()
    norm.double().eval()
    for values in (norm.weight, norm.bias, norm.running_mean):
        assert values is not None
        nn.init.normal_(values)
    assert norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.1, 3.0)
    assert layer.bias is not None
    assert norm.running_mean is not None

    mean, variance, gamma, beta = (
        values.detach().numpy().reshape(1, -1, *[1] * (x.ndim - 2))
        for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    with torch.no_grad():
        before = layer(torch.from_numpy(x)).numpy()
        expected = gamma * (before - mean) / np.sqrt(variance + norm.eps) + beta
        weight, bias = batch_statistics_folded(layer.weight, layer.bias, norm)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, rtol=1e-12, atol=1e-12)
