"""The learning rate over a run, and how long a run has got no better."""

import math
from collections.abc import Sequence

from training.loop.checkpoint import EpochMetrics
from training.loop.recipe import Recipe


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
