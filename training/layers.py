"""The one layer of the 2012 network that is written out here: local response normalisation."""

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
