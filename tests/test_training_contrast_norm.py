"""Local contrast normalisation against its formula written out as loops, in float64."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.networks.layers import LocalContrastNorm

Array = NDArray[np.float64]


def expected(x: Array, size: int) -> Array:
    """y of Jarrett et al. (2009) for x (n, maps, height, width)."""
    half, (_, maps, height, width) = size // 2, x.shape

    def weighted(values: Array, row: int, column: int) -> float:
        """The mean of values (maps, height, width) around a place, by the distance from it."""
        total = mass = 0.0
        for i, j in np.ndindex(height, width):
            if max(abs(i - row), abs(j - column)) <= half:
                weight = np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * (size / 4) ** 2)) / maps
                total += weight * values[:, i, j].sum()
                mass += weight * maps
        return float(total / mass)

    y = np.empty_like(x)
    for picture, result in zip(x, y, strict=True):
        centred, deviation = np.empty_like(picture), np.empty((height, width))
        for place in np.ndindex(height, width):
            centred[:, *place] = picture[:, *place] - weighted(picture, *place)
        for place in np.ndindex(height, width):
            deviation[place] = np.sqrt(weighted(centred**2, *place))
        result[:] = centred / np.maximum(deviation, deviation.mean())
    return y


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 11, 8), 9), ((1, 5, 4, 4), 9), ((2, 1, 7, 7), 5), ((1, 8, 6, 9), 3)]
)
def test_it_follows_its_formula(shape: tuple[int, ...], size: int) -> None:
    x = 5 + 3 * np.random.default_rng(1).standard_normal(shape)
    x[:, :, :2] *= 0.01  # a part without contrast, where the mean deviation divides
    y = LocalContrastNorm(size)(torch.from_numpy(x))
    np.testing.assert_allclose(y, expected(x, size), rtol=1e-5, atol=1e-6)
    in_float32 = LocalContrastNorm(size)(torch.from_numpy(x).float())
    np.testing.assert_allclose(in_float32, expected(x, size), rtol=1e-4, atol=1e-5)


def test_its_gradient_is_that_of_its_differences() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(LocalContrastNorm(3), x, fast_mode=True)


def test_light_and_contrast_of_a_picture_change_nothing() -> None:
    x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(3))
    layer = LocalContrastNorm()
    torch.testing.assert_close(layer(7 * x + 20), layer(x), rtol=1e-4, atol=1e-4)


def test_an_even_picture_becomes_nothing_and_has_a_gradient() -> None:
    x = torch.zeros(1, 3, 5, 5, requires_grad=True)
    y = LocalContrastNorm()(x)
    y.sum().backward()
    assert x.grad is not None
    assert not y.any()
    assert torch.isfinite(x.grad).all()


def test_it_computes_in_float32_and_keeps_the_precision_it_is_given() -> None:
    x = 100 + torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(4))
    layer = LocalContrastNorm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x), layer.forward(x.double()).float(), rtol=1e-3, atol=1e-3)
        assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_it_has_nothing_to_learn_or_to_save() -> None:
    layer = LocalContrastNorm()
    assert not layer.state_dict()
    assert not list(layer.parameters())
    assert str(layer) == "LocalContrastNorm(size=9)"
