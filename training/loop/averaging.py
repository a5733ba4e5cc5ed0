"""A running average of a network's weights, which changes less from step to step than the weights themselves."""

import copy

import torch

from training.networks.alexnet import AlexNet


class WeightAverage:
    """Keeps in `network` an exponential moving average of another network's weights and batch statistics."""

    def __init__(self, network: AlexNet, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, network: AlexNet, *, step: int) -> None:
        """Take up the weights after the step of this number, counted from 0.

        The decay grows as (1 + step) / (10 + step) at first, so that what training began with is soon forgotten.
        """
        new = 1 - min(self._decay, (1 + step) / (10 + step))
        for kept, value in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(value, new)
            else:
                kept.copy_(value)  # counts of batches
