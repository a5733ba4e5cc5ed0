"""An index filled in parts and merged finds what the same index in one piece finds."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from functools import cache, partial
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.vectors.approximate import ApproximateIndex
from index.vectors.parts import fill_in_parts

DIM = 16
FEW = 8
"""Vectors of a batch."""


def vectors(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((count, DIM)).astype(np.float32)


def batches(start: int, end: int) -> Iterator[NDArray[np.float32]]:
    """Give some of the vectors, in batches; at the top level, so that another process can be told to call it."""
    for first in range(start, end, FEW):
        yield vectors(end)[first : min(first + FEW, end)]


@cache
def trained_once(kind: str) -> ApproximateIndex:
    index = ApproximateIndex.untrained(kind, DIM)
    index.train(vectors(400))
    return index


def trained(kind: str) -> ApproximateIndex:
    return deepcopy(trained_once(kind))


def assert_same_answers(one: ApproximateIndex, other: ApproximateIndex, *, nprobe: int) -> None:
    expected, found = (index.search(vectors(30), 10, nprobe=nprobe) for index in (one, other))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["IVF4,SQ8", "SQ8"])
@given(cuts=st.lists(st.integers(0, 200), max_size=4))
@settings(max_examples=20)
def test_parts_merged_are_the_index_in_one_piece(kind: str, cuts: Sequence[int]) -> None:
    places = [0, *sorted(cuts), 200]
    whole, merged = trained(kind), trained(kind)
    whole.add(vectors(200))
    fill_in_parts(merged, [partial(batches, *pair) for pair in pairwise(places)])
    assert len(merged) == 200
    for nprobe in (1, 4):
        assert_same_answers(whole, merged, nprobe=nprobe)


@pytest.mark.slow
def test_parts_can_be_filled_by_other_processes() -> None:
    whole, merged = trained("IVF4,SQ8"), trained("IVF4,SQ8")
    whole.add(vectors(200))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        fill_in_parts(merged, [partial(batches, 0, 90), partial(batches, 90, 200)], run=processes.map)
    assert_same_answers(whole, merged, nprobe=4)


def test_what_cannot_be_merged_is_refused() -> None:
    graph = trained("HNSW8")
    with pytest.raises(ValueError, match="HNSW8 cannot be merged"):
        fill_in_parts(graph, [partial(batches, 0, 20)])
    other = ApproximateIndex.untrained("IVF8,SQ8", DIM)
    other.train(vectors(400))
    with pytest.raises(ValueError, match="nlist"):
        trained("IVF4,SQ8").merge(other)
