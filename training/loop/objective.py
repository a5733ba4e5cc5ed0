"""What a step learns: labels here, a teacher's answers in training/distillation/objective.py."""

from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from training.data.mixing import Targets, mix
from training.loop.recipe import Recipe
from training.networks.alexnet import AlexNet


class Outcome(NamedTuple):
    """The mean loss of a batch, and how many of its pictures were named right."""

    loss: Tensor
    right: Tensor


class Objective(Protocol):
    """How pictures and what is known of them become a loss."""

    def module(self, network: AlexNet) -> nn.Module:
        """Return what a step runs: the network, perhaps with more that learns and is thrown away afterwards."""
        ...

    def prepare(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Any]:
        """Return normalised pictures (n, 3, side, side) as the network is to see them, and their targets."""
        ...

    def outcome(self, outputs: Any, targets: Any) -> Outcome:
        """Return the loss of what the module said."""
        ...


class LabelObjective:
    """Cross-entropy with the labels, of pictures mixed as the recipe says."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def module(self, network: AlexNet) -> nn.Module:
        """Return the network alone."""
        return network

    def prepare(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Targets]:
        """Mix the pictures."""
        return mix(x, labels, mixup=self._recipe.mixup, cutmix=self._recipe.cutmix)

    def outcome(self, outputs: Tensor, targets: Targets) -> Outcome:
        """Return the loss of logits (n, classes); a mixed picture is right by the label of which there is more."""
        loss = targets.loss(outputs.float(), label_smoothing=self._recipe.label_smoothing)
        return Outcome(loss, (outputs.detach().argmax(1) == targets.dominant).sum())
