"""Logistic regression finds what scikit-learn finds; cross-validation judges no row by what learned from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.logistic_regression import (
    STRENGTHS,
    LinearClassifier,
    cross_validate,
    fit,
    reduced,
    stratified_folds,
)


def rows_of(count: int, dim: int, classes: int, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows of unit length, those of a class somewhat nearer to each other."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = random.normal(size=(count, dim))
    rows[np.arange(count), labels] += 1.5
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


@pytest.mark.parametrize(
    ("count", "dim", "classes", "strength"), [(90, 20, 3, 1e-2), (40, 100, 4, 1e-3), (60, 8, 2, 1e-4)]
)
def test_it_is_scikit_learns_solution(count: int, dim: int, classes: int, strength: float) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, labels = rows_of(count, dim, classes)
    weights = np.random.default_rng(1).uniform(0.5, 2, count)
    ours = fit(rows, labels, classes, strength=strength, weights=weights)
    # It adds where ours averages; of two classes it has the difference of their weights, which halves the penalty.
    c = 1 / (strength * weights.sum()) * (2 if classes == 2 else 1)
    theirs = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit(rows, labels, sample_weight=weights)
    assert np.allclose(ours.probabilities(rows), theirs.predict_proba(rows), atol=2e-4)


def test_it_ends_where_it_ends_wherever_it_begins() -> None:
    rows, labels = rows_of(60, 10, 3)
    start = LinearClassifier(np.random.default_rng(0).normal(size=(3, 10)) * 5, np.array([1.0, -2.0, 3.0]))
    first, second = (fit(rows, labels, 3, strength=1e-3, start=begin) for begin in (None, start))
    assert np.allclose(first.probabilities(rows), second.probabilities(rows), atol=1e-4)


def test_rows_of_many_columns_are_turned_without_changing_the_fit() -> None:
    rows, labels = rows_of(20, 50, 2)
    few = reduced(rows)
    assert few.shape == (20, 20)
    ours, theirs = fit(few, labels, 2, strength=1e-2), fit(rows, labels, 2, strength=1e-2)
    assert np.allclose(ours.probabilities(few), theirs.probabilities(rows), atol=1e-5)


def test_what_cannot_be_told_apart_gets_the_shares_of_the_classes() -> None:
    rows, labels = np.ones((10, 4)), np.array([0] * 7 + [1] * 3)
    assert np.allclose(fit(rows, labels, 2, strength=1.0).probabilities(rows)[0], [0.7, 0.3], atol=1e-5)


@given(st.lists(st.integers(2, 9), min_size=2, max_size=6), st.integers(2, 6))
def test_folds_share_each_class_evenly(sizes: list[int], most: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    folds = stratified_folds(labels, most=most, seed=3)
    totals = np.bincount(folds, minlength=most)
    assert totals.max() - totals.min() <= 1
    for label, size in enumerate(sizes):
        counts = np.bincount(folds[labels == label], minlength=most)
        assert counts.max() - counts.min() <= 1
        assert counts.max() < size, "some of each class are left to learn from"


def test_a_row_is_judged_by_what_has_not_learned_from_it() -> None:
    """Labels drawn by lot cannot be foretold, however well they are learned by heart."""
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(200, 100)), random.integers(0, 2, 200)
    found = cross_validate(rows, labels, 2, folds=stratified_folds(labels))
    assert ((found.probabilities.argmax(1) == labels).mean()) < 0.62
    assert found.strength == STRENGTHS[0], "the strongest regularisation does least harm"
    learned = fit(rows, labels, 2, strength=1e-6).probabilities(rows)
    assert (learned.argmax(1) == labels).all()
