"""Embeddings as the catalogue stores them."""

import numpy as np
import pytest
from told import told

from index.catalog.rows import pack_embedding, unpack_embeddings
from index.errors import IndexFormatError


def test_embeddings_come_back_at_unit_length() -> None:
    given = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    found = unpack_embeddings([pack_embedding(row) for row in given], 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, given / np.linalg.norm(given, axis=1, keepdims=True), atol=1e-3)
    assert unpack_embeddings([], 16).shape == (0, 16)


@pytest.mark.parametrize("lengths", [(31,), (32, 30), (30, 34), (64,), (0, 32), (33, 31)])
def test_embeddings_of_another_length_are_refused(lengths: tuple[int, ...]) -> None:
    """Those included that are of the right length together."""
    with told(IndexFormatError, match=r"an embedding in the index is damaged; .*`fc7 check --repair`"):
        unpack_embeddings([b"\x3c" * length for length in lengths], 16)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_embeddings_without_a_direction_are_refused(value: float) -> None:
    whole, damaged = np.ones(16, dtype="<f2"), np.full(16, value, dtype="<f2")
    with told(IndexFormatError, match="an embedding in the index is damaged"):
        unpack_embeddings([whole.tobytes(), damaged.tobytes()], 16)
