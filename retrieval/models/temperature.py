"""Temperature scaling: scores divided by a number, so that probabilities are as sure as they are right.

Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks". The number is fitted on photos that the
network did not learn from (retrieval/evaluation/calibration.py) and lies in the metadata of the model file.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.models.spec import ModelSpec


def calibrated(probabilities: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.float32]:
    """Return a network's probabilities (n, classes) at the temperature of each group of its classes."""
    if all(temperature == 1 for temperature in spec.temperatures):
        return probabilities
    found = probabilities.copy()
    for temperature, group in zip(spec.temperatures, spec.slices.values(), strict=True):
        found[:, group] = tempered(probabilities[:, group], temperature)
    return found


def tempered(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """Return softmax(scores / temperature), of probabilities (n, classes) that are softmax(scores)."""
    # Scores are known but for a constant, which softmax takes no notice of: logarithms of the probabilities will do.
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return found
