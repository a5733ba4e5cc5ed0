"""The optimizer: stochastic gradient descent, and what of a network decays."""

import torch

from training.loop.recipe import Recipe


def make_optimizer(network: torch.nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Return the optimizer that a recipe asks for."""
    return torch.optim.SGD(
        parameter_groups(network, recipe.weight_decay),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )


def parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the optimizer's groups: weights decay, biases and the scales of normalisation do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
