"""Calibration of probabilities: of all names that are given 70 %, 70 % should be right.

Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks": temperature scaling, the expected
calibration error, reliability diagrams.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.models.temperature import tempered

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
STEPS = 60

Targets = NDArray[np.integer]


@dataclass(frozen=True)
class Bin:
    """Photos whose best name has a probability between two bounds: how many, what it says and how many are right."""

    photos: int
    confidence: float
    accuracy: float


def fit_temperature(probabilities: NDArray[np.floating], targets: Targets) -> float:
    """Return the temperature that makes the targets (n,) most probable, by probabilities (n, classes) at temperature 1.

    The scores of the classes are divided by it; ranks stay as they are. The negative log-likelihood is convex in
    1 / temperature, so the search by the golden section finds its least value.
    """
    ratio = (np.sqrt(5) - 1) / 2
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(tempered(probabilities, 1 / left), targets) < log_loss(tempered(probabilities, 1 / right), targets):
            high = right
        else:
            low = left
    return float(2 / (low + high))


def log_loss(probabilities: NDArray[np.floating], targets: Targets) -> float:
    """Return the mean negative log-likelihood of targets (n,) by probabilities (n, classes), in nats."""
    of_targets = np.take_along_axis(probabilities, targets[:, None], axis=1)
    return float(-np.log(np.maximum(of_targets, np.finfo(np.float32).tiny)).mean())


def reliability(probabilities: NDArray[np.floating], targets: Targets, *, bins: int = BINS) -> list[Bin]:
    """Return a reliability diagram of the best names by probabilities (n, classes): `bins` of equal width, from 0 up.

    Empty ones have NaN for what is not there.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    numbers = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(right[chosen].mean()))
        if (chosen := numbers == number).any()
        else Bin(0, np.nan, np.nan)
        for number in range(bins)
    ]


def calibration_error(diagram: list[Bin]) -> float:
    """Return the expected calibration error (ECE): the mean gap between confidence and accuracy, by photos."""
    photos = sum(bin.photos for bin in diagram)
    return sum(bin.photos * abs(bin.confidence - bin.accuracy) for bin in diagram if bin.photos) / photos
