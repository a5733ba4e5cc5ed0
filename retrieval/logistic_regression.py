"""Multinomial logistic regression on rows of numbers, and how well it does on rows that it has not seen. NumPy alone.

scipy or scikit-learn would be 40 MB and more to install for these few lines; tests compare them with scikit-learn.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.pipeline.blas import one_blas_thread

Floats = NDArray[np.float64]
Curvature = Callable[[Floats], Floats]

STRENGTHS = tuple(10.0**power for power in np.arange(-1.0, -8.5, -0.5))
"""Of regularisation, to choose from, the strongest first: each fit starts from the one before."""

TOLERANCE = 1e-6
"""The largest gradient that is left."""
MOST_STEPS = 100
MOST_INNER_STEPS = 200
SMALL_PRODUCT = 10**8
"""Multiplications, about 10 ms of one core. A fit has thousands of such products. Threads that share one spend more
time waiting for each other than computing: on busy cores, many times more.
"""


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Scores of classes, rows @ weights.T + bias: weights (classes, dim), bias (classes,)."""

    weights: Floats
    bias: Floats

    def probabilities(self, rows: NDArray[np.floating]) -> Floats:
        """Return probabilities (n, classes) of rows (n, dim)."""
        return _softmax(rows.astype(np.float64) @ self.weights.T + self.bias)


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What k-fold cross-validation found: the best strength, and what was said of each row while it was held out.

    `probabilities` (n, classes) and `folds` (n,), the number of the fold in which a row was held out.
    """

    strength: float
    probabilities: Floats
    folds: NDArray[np.int64]


def fit(
    rows: NDArray[np.floating],
    labels: NDArray[np.int64],
    classes: int,
    *,
    strength: float,
    weights: NDArray[np.floating] | None = None,
    start: LinearClassifier | None = None,
) -> LinearClassifier:
    """Fit a classifier to rows (n, dim) with labels (n,), which count by `weights` (n,), by default alike.

    It minimises mean cross-entropy + strength / 2 · |classifier's weights|², by Newton's method with conjugate
    gradients (Nocedal, Wright 2006, section 7.1), beginning at `start`; the minimum is the same wherever it begins.
    """
    count = len(rows)
    x = np.concatenate([rows.astype(np.float64), np.ones((count, 1))], axis=1)
    share = np.full((count, 1), 1 / count) if weights is None else (weights / weights.sum())[:, None].astype(np.float64)
    target = np.zeros((count, classes))
    target[np.arange(count), labels] = 1
    decay = np.full((x.shape[1], 1), strength)
    decay[-1] = 0  # the bias is not held back
    found = np.zeros((x.shape[1], classes))
    if start is not None:
        found = np.concatenate([start.weights.T, start.bias[None]])

    def loss_at(place: Floats) -> tuple[float, Floats]:
        scores = x @ place
        top = scores.max(axis=1, keepdims=True)
        logs = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
        return float(-(share * target * logs).sum() + 0.5 * (decay * place**2).sum()), np.exp(logs)

    with _threads_for(x, classes):
        loss, p = loss_at(found)
        for _ in range(MOST_STEPS):
            gradient = x.T @ (share * (p - target)) + decay * found
            if np.abs(gradient).max() < TOLERANCE:
                break

            def curvature(v: Floats, p: Floats = p) -> Floats:
                u = x @ v
                change: Floats = x.T @ (share * p * (u - (p * u).sum(axis=1, keepdims=True))) + decay * v
                return change

            step = _conjugate_gradients(curvature, -gradient)
            slope, size = float((gradient * step).sum()), 1.0
            while True:
                tried, tried_p = loss_at(found + size * step)
                if tried <= loss + 1e-4 * size * slope or size < 1e-8:
                    break
                size /= 2
            if size < 1e-8:  # as near as floating point gets
                break
            found, loss, p = found + size * step, tried, tried_p
    return LinearClassifier(found[:-1].T.copy(), found[-1].copy())


def cross_validate(
    rows: NDArray[np.floating],
    labels: NDArray[np.int64],
    classes: int,
    *,
    folds: NDArray[np.int64],
    strengths: Sequence[float] = STRENGTHS,
) -> CrossValidation:
    """Choose the strength of regularisation by the mean cross-entropy of rows that are held out in turn.

    `folds` (n,) tells when a row is held out, see `stratified_folds`. Weaker ones than the best are tried only until it
    gets worse twice.
    """
    rows = reduced(rows)
    best: tuple[float, float, Floats] | None = None
    numbers = np.unique(folds)
    known: dict[int, LinearClassifier] = {}
    worse = 0
    with _threads_for(rows, classes):  # asked for once, not for each fit
        for strength in strengths:
            probabilities = np.empty((len(rows), classes))
            for number in numbers:
                out = folds == number
                known[number] = fit(rows[~out], labels[~out], classes, strength=strength, start=known.get(number))
                probabilities[out] = known[number].probabilities(rows[out])
            loss = -float(np.log(np.maximum(probabilities[np.arange(len(rows)), labels], 1e-30)).mean())
            if best is None or loss < best[0]:
                best, worse = (loss, strength, probabilities), 0
            else:
                worse += 1
                if worse == 2:
                    break
    assert best is not None
    return CrossValidation(best[1], best[2], folds)


def stratified_folds(labels: NDArray[np.int64], *, most: int = 5, seed: int = 0) -> NDArray[np.int64]:
    """Return for each row the number of its fold: of each class as many in one as in another, as far as they go."""
    random = np.random.default_rng(seed)
    folds = np.empty(len(labels), np.int64)
    begin = 0
    for label in np.unique(labels):
        of_class = random.permutation(np.flatnonzero(labels == label))
        folds[of_class] = (begin + np.arange(len(of_class))) % most
        begin += len(of_class)  # so that folds are of one size, also where classes are small
    return folds


def reduced(rows: NDArray[np.floating]) -> Floats:
    """Return rows of no more columns than there are rows: turned, which changes no product of two rows and no fit."""
    x = rows.astype(np.float64)
    if x.shape[1] <= len(x):
        return x
    directions, _ = np.linalg.qr(x.T)
    turned: Floats = x @ directions
    return turned


def _threads_for(x: Floats, classes: int) -> AbstractContextManager[None]:
    """Return what leaves small products to one thread."""
    return one_blas_thread() if x.size * classes < SMALL_PRODUCT else nullcontext()


def _softmax(scores: Floats) -> Floats:
    found = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Floats = found / found.sum(axis=1, keepdims=True)
    return probabilities


def _conjugate_gradients(curvature: Curvature, right: Floats) -> Floats:
    """Solve curvature(step) = right about as well as the next step of Newton's method needs it."""
    step, left = np.zeros_like(right), right.copy()
    direction, length = left.copy(), float((left * left).sum())
    enough = length * min(0.25, float(np.sqrt(length)))
    for _ in range(MOST_INNER_STEPS):
        if length <= enough:
            break
        along = curvature(direction)
        bend = float((direction * along).sum())
        if bend <= 0:
            break
        far = length / bend
        step, left = step + far * direction, left - far * along
        before, length = length, float((left * left).sum())
        direction = left + length / before * direction
    return step if step.any() else right
