"""A last layer as logistic regression: learned from features, and judged by cross-validation."""

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.metrics import interval
from retrieval.logistic_regression import CrossValidation, LinearClassifier, cross_validate, fit, stratified_folds

FOLDS = 5


def learn_head(
    features: NDArray[np.floating], labels: NDArray[np.int64], classes: int, *, seed: int = 0
) -> tuple[CrossValidation, LinearClassifier]:
    """Return what cross-validation says of features (n, dim), and the classifier of all with the strength it chose."""
    folds = stratified_folds(labels, most=min(FOLDS, len(labels)), seed=seed)
    found = cross_validate(features, labels, classes, folds=folds)
    return found, fit(features, labels, classes, strength=found.strength)


def accuracy_of(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, float | int | list[float]]:
    """Return top-1 with its 95 % interval, and top-5, of probabilities (n, classes), as metadata have them."""
    of_label = probabilities[np.arange(len(labels)), labels][:, None]
    ranks = (~(probabilities < of_label)).sum(axis=1)
    top1 = float((ranks == 1).mean())
    return {
        "top1": round(top1, 4),
        "top1_interval": [round(bound, 4) for bound in interval(top1, len(labels))],
        "top5": round(float((ranks <= 5).mean()), 4),
        "pictures": len(labels),
    }
