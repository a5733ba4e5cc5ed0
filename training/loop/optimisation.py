"""How weights change: optimizer, learning rate over a run, precision of arithmetic, running average."""

import copy
import math
from collections.abc import Sequence

import torch

from index.errors import UserError
from training.loop.checkpoint import EpochMetrics
from training.loop.recipe import Recipe
from training.networks.alexnet import AlexNet


def make_optimizer(network: torch.nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Return the optimizer that a recipe asks for."""
    return torch.optim.SGD(
        parameter_groups(network, recipe.weight_decay, lower=recipe.lower_lr),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )


def parameter_groups(network: torch.nn.Module, weight_decay: float, *, lower: float = 1.0) -> list[dict[str, object]]:
    """Return the optimizer's groups: weights decay, biases and the scales of normalisation do not.

    With `lower` below 1 there are two more, of the layers below fc8, whose rate is that share (`scale`).
    """
    named = list(network.named_parameters())
    parts = [(1.0, named)]
    if lower != 1:
        scores = [(name, p) for name, p in named if "fc8" in name.split(".")]
        parts = [(1.0, scores), (lower, [(name, p) for name, p in named if "fc8" not in name.split(".")])]
    return [
        {
            "params": [p for _, p in part if (p.ndim > 1) == decays],
            "weight_decay": weight_decay if decays else 0.0,
            "scale": scale,
        }
        for scale, part in parts
        for decays in (True, False)
    ]


def learning_rate(recipe: Recipe, done: float, validation_top1: Sequence[float]) -> float:
    """Return the rate after `done` epochs; `plateau` divides by 10 after `patience` epochs without a better top-1."""
    if done < recipe.warmup:
        return recipe.lr * max(done, 1e-3) / recipe.warmup
    if recipe.schedule == "plateau":
        best, stalled, drops = -1.0, 0, 0
        for top1 in validation_top1:
            best, stalled = (top1, 0) if top1 > best else (best, stalled + 1)
            if stalled == recipe.patience:
                drops, stalled = drops + 1, 0
        return recipe.lr * 0.1**drops
    left = 1 - (done - recipe.warmup) / max(recipe.epochs - recipe.warmup, 1e-9)
    if recipe.schedule == "linear":
        return recipe.lr * max(left, 0.0)
    return recipe.lr * 0.5 * (1 - math.cos(math.pi * max(left, 0.0)))


def stalled(history: Sequence[EpochMetrics]) -> int:
    """Return the epochs since the best one; what was measured on full-sized crops counts more than any other.

    Of equal accuracy, as is usual with few pictures, the surer one is better.
    """

    def goodness(i: int) -> tuple[float, ...]:
        return history[i].side, history[i].validation_top1, -history[i].validation_loss, -i

    best = max(range(len(history)), key=goodness, default=-1)
    return len(history) - 1 - best


def gained(history: Sequence[EpochMetrics]) -> bool:
    """Return whether the last epoch is better than what was there before the first, which `history` begins with."""
    first, last = history[0], history[-1]
    return (last.validation_top1, -last.validation_loss) > (first.validation_top1, -first.validation_loss)


def chosen_precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Return the numbers to multiply in; `auto`: bfloat16 where the processor is made for it, else float32.

    Raises UserError for float16 on a CPU, which is slow at it.
    """
    match recipe.precision:
        case "auto":
            return torch.bfloat16 if _made_for_bfloat16(device) else torch.float32
        case "float16" if device.type == "cpu":
            raise UserError("float16 needs a GPU", hint="on a CPU give --precision bfloat16, float32 or auto")
        case "float16":
            return torch.float16
        case "bfloat16":
            return torch.bfloat16
        case "float32":
            return torch.float32


def name_of(precision: torch.dtype) -> str:
    """Return the name that `--precision` knows."""
    return str(precision).removeprefix("torch.")


def _made_for_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Instructions that multiply it: twice as fast as float32 or more. Older versions of torch cannot tell.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


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
