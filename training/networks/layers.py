"""The layers that are written out here: local response and local contrast normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """Divide each activation by its neighbours at the same place in `size` adjacent maps.

    b_i = a_i / (k + alpha * sum_j a_j^2) ** beta, with the constants and the plain sum of Krizhevsky, Sutskever, Hinton
    (2012), section 3.3. (`torch.nn.LocalResponseNorm` and Caffe divide alpha by `size`.)
    """

    def __init__(self, maps: int, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.maps, self.size, self.alpha, self.beta, self.k = maps, size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (n, maps, height, width), in float32: a square loses too much in half precision."""
        wide = x.float()
        before = self.size // 2
        squares = F.pad(wide * wide, (0, 0, 0, 0, before, self.size - 1 - before))
        total = squares[:, : self.maps]
        for offset in range(1, self.size):
            total = total + squares[:, offset : offset + self.maps]
        normalised: Tensor = wide * (self.k + self.alpha * total) ** -self.beta
        return normalised.to(x.dtype)

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return f"{self.maps}, size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LocalContrastNorm(nn.Module):
    """Subtract from each activation the mean of its neighbourhood and divide by the standard deviation there.

    v = x - sum w x and y = v / max(s, mean of s over the picture) with s = sqrt(sum w v^2): Jarrett, Kavukcuoglu,
    Ranzato, LeCun (2009), section 2. The sums are over all maps and `size` x `size` places (odd), those outside the map
    left out; the weights w, Gaussian with a standard deviation of size / 4, add up to 1.
    """

    window: Tensor
    """Weights (size,) along a row or column."""

    LEAST = 1e-6
    """Deviation below which a neighbourhood counts as even."""

    def __init__(self, size: int = 9) -> None:
        super().__init__()
        self.size = size
        distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
        weights = torch.exp(-0.5 * (distance / (size / 4)) ** 2)
        self.register_buffer("window", (weights / weights.sum()).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (n, maps, height, width), at least in float32: in less, little would be left of a difference."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            share = self._blur(torch.ones_like(wide[:1, :1]))  # of the window that lies inside the map
            centred = wide - self._blur(wide.mean(1, keepdim=True)) / share
            variance = self._blur((centred * centred).mean(1, keepdim=True)) / share
            std = variance.clamp(min=self.LEAST**2).sqrt()
            normalised = centred / torch.maximum(std, std.mean((2, 3), keepdim=True))
        return normalised.to(x.dtype)

    def _blur(self, x: Tensor) -> Tensor:
        """Return the weighted sums of x (n, 1, height, width): the Gaussian is the product of its two directions."""
        before, window = self.size // 2, self.window.to(x.dtype)
        down = F.conv2d(x, window.reshape(1, 1, -1, 1), padding=(before, 0))
        return F.conv2d(down, window.reshape(1, 1, 1, -1), padding=(0, before))

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return f"size={self.size}"


def batch_statistics_folded(
    weight: Tensor, bias: Tensor, norm: nn.BatchNorm1d | nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Return a layer's weight (out, ...) and bias (out,) with the batch normalisation behind it merged in.

    gamma * (w x + b - mean) / sqrt(var + eps) + beta is again a layer of the same shape; computed in float64.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    folded = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    shift = (bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
    return folded.to(weight.dtype), shift.to(bias.dtype)
