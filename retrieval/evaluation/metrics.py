"""How good names and neighbours are, from 0 to 1.

Ties count against the model: where wrong and right answers score the same, the wrong ones come first. So a constant
model gets nothing, and no number depends on the order of the pictures. In retrieval each picture in turn is the query
and all others are the gallery; pictures alone in their class ask for nothing and are left out (NaN if all are alone).
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256
"""Queries compared at a time with all n pictures, so that no n × n matrix is ever in memory."""

Labels = NDArray[np.integer]


def top_k_accuracy(probabilities: NDArray[np.floating], targets: Labels, k: int) -> float:
    """Share of pictures whose target (n,) is among the k most probable classes, from probabilities (n, classes)."""
    of_target = np.take_along_axis(probabilities, targets[:, None], axis=1)
    # "not less" rather than "at least", so that NaN counts as a mistake.
    return float(np.mean((~(probabilities < of_target)).sum(axis=1) <= k))


def interval(share: float, count: int) -> tuple[float, float]:
    """Return between which shares the true one lies with 95 %, where `share` of `count` pictures is right.

    Wilson (1927); unlike ± two standard errors it stays between 0 and 1, and holds for few pictures.
    """
    z = 1.96
    centre, spread = share + z**2 / (2 * count), z * sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max((centre - spread) / (1 + z**2 / count), 0.0), min((centre + spread) / (1 + z**2 / count), 1.0)


def precision_at_k(embeddings: NDArray[np.float32], labels: Labels, k: int) -> float:
    """Mean share of a picture's class among the k pictures nearest to it, from embeddings (n, d) and labels (n,)."""
    return _mean([hits / k for hits in _hits(embeddings, labels, k)])


def mean_average_precision(embeddings: NDArray[np.float32], labels: Labels) -> float:
    """Mean over all pictures of the precision at each picture of the same class, in the ranking of all others."""
    averages: list[float] = []
    for scores, same in _queries(embeddings, labels):
        strangers = np.sort(scores[~same])
        friends = np.sort(scores[same])[::-1]
        strangers_ahead = len(strangers) - np.searchsorted(strangers, friends, side="left")
        found = np.arange(1, len(friends) + 1)
        averages.append(float(np.mean(found / (found + strangers_ahead))))
    return _mean(averages)


def _hits(embeddings: NDArray[np.float32], labels: Labels, k: int) -> Iterator[int]:
    if not 1 <= k < len(embeddings):
        raise ValueError(f"k must lie between 1 and {len(embeddings) - 1}, the number of other pictures, not {k}")
    for scores, same in _queries(embeddings, labels):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        above, level = scores > threshold, scores == threshold
        places = k - int(above.sum()) - int((level & ~same).sum())
        yield int((above & same).sum()) + max(places, 0)


def _queries(
    embeddings: NDArray[np.float32], labels: Labels
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield for each query the scores of all other pictures (n - 1,) and which of them are of its class (n - 1,)."""
    count = len(embeddings)
    for start in range(0, count, _BLOCK):
        block = embeddings[start : start + _BLOCK] @ embeddings.T
        for query, scores in enumerate(block, start):
            same = labels == labels[query]
            if same.sum() > 1:
                others = np.arange(count) != query
                yield scores[others], same[others]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
