"""Metrics against the plain version: the full matrix, sorted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.evaluation import metrics
from retrieval.evaluation.metrics import mean_average_precision, precision_at_k, top_k_accuracy

Collection = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_BLOCK", 7)


def collections() -> st.SearchStrategy[Collection]:
    """Embeddings of whole numbers, so that scores are exact and many are equal."""

    def make(seed: int, count: int, classes: int) -> Collection:
        rng = np.random.default_rng(seed)
        return rng.integers(-2, 3, (count, 3)).astype(np.float32), rng.integers(0, classes, count)

    return st.builds(make, st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 8))


def rankings(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> list[list[bool]]:
    """Whether each other picture is of the query's class, best score first, strangers first in ties."""
    scores = embeddings @ embeddings.T
    ranked = []
    for query in range(len(labels)):
        others = [other for other in range(len(labels)) if other != query]
        same = {other: bool(labels[other] == labels[query]) for other in others}
        if any(same.values()):
            others.sort(key=lambda other: (-scores[query, other], same[other]))
            ranked.append([same[other] for other in others])
    return ranked


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@given(collections(), st.integers(1, 10))
def test_precision_at_k(collection: Collection, k: int) -> None:
    k = min(k, len(collection[1]) - 1)
    ranked = rankings(*collection)
    assert precision_at_k(*collection, k) == pytest.approx(mean([sum(row[:k]) / k for row in ranked]), nan_ok=True)


@given(collections())
def test_mean_average_precision(collection: Collection) -> None:
    averages = []
    for row in rankings(*collection):
        found = [rank for rank, same in enumerate(row, 1) if same]
        averages.append(mean([number / rank for number, rank in enumerate(found, 1)]))
    assert mean_average_precision(*collection) == pytest.approx(mean(averages), nan_ok=True)


def test_a_perfect_and_a_constant_model() -> None:
    labels = np.repeat(np.arange(5), 4)
    perfect = np.eye(5, dtype=np.float32)[labels]
    assert precision_at_k(perfect, labels, 3) == 1
    assert mean_average_precision(perfect, labels) == 1
    constant = np.ones_like(perfect)
    assert precision_at_k(constant, labels, 3) == 0


def test_pictures_alone_in_their_class_do_not_count() -> None:
    embeddings = np.eye(4, dtype=np.float32)
    assert math.isnan(precision_at_k(embeddings, np.arange(4), 1))
    assert math.isnan(mean_average_precision(embeddings, np.arange(4)))


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_fit(k: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 3"):
        precision_at_k(np.eye(4, dtype=np.float32), np.zeros(4, np.int64), k)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 9))
def test_top_k_accuracy(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.integers(0, 4, (count, classes)).astype(np.float32)
    targets = rng.integers(0, classes, count)
    for k in (1, 2, classes):
        right = 0
        for row, target in zip(probabilities, targets, strict=True):
            order = sorted(range(classes), key=lambda label: (-row[label], label == target))
            right += target in order[:k]
        assert top_k_accuracy(probabilities, targets, k) == pytest.approx(right / count)


def test_what_is_no_number_is_a_mistake() -> None:
    assert top_k_accuracy(np.full((3, 5), np.nan, np.float32), np.zeros(3, np.int64), 4) == 0
