"""Centres of lists: as good as those that FAISS learns, and nearly always the nearest is found."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.vectors.approximate import ApproximateIndex
from index.vectors.centres import Centres, learn_centres

Vectors = NDArray[np.float32]


def unit_vectors(count: int, dim: int, *, seed: int = 0, clusters: int = 200) -> Vectors:
    """Make unit vectors (count, dim) around the middles of clusters."""
    middles = np.random.default_rng(99).standard_normal((clusters, dim))
    random = np.random.default_rng(seed)
    vectors = middles[random.integers(clusters, size=count)] + 0.5 * random.standard_normal((count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def closeness(vectors: Vectors, centres: Vectors) -> float:
    """The mean cosine to the nearest centre, which k-means makes as large as it can."""
    return float((vectors @ centres.T).max(axis=1).mean())


@given(st.integers(1, 60), st.integers(1, 300), st.integers(1, 12), st.integers(0, 99), st.booleans())
@settings(max_examples=20)
def test_with_few_centres_or_all_groups_searched_the_nearest_is_found(
    count: int, vectors: int, dim: int, seed: int, grouped: bool
) -> None:
    centres, looked_for = unit_vectors(count, dim, seed=seed), unit_vectors(vectors, dim, seed=seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        if grouped:
            patch.setattr("index.vectors.centres.FEW", 1)
            patch.setattr("index.vectors.centres.GROUPS", 64)
        found = Centres(centres).nearest(looked_for)
    products = looked_for @ centres.T
    assert found.shape == (vectors,)
    assert products[np.arange(vectors), found] == pytest.approx(products.max(axis=1), abs=1e-6)


def test_of_many_centres_the_nearest_is_found_for_nearly_all() -> None:
    vectors = unit_vectors(20_000, 32)
    centres = learn_centres(vectors, 2048)
    products = vectors[:5000] @ centres.T
    found = Centres(centres).nearest(vectors[:5000])
    assert (found == products.argmax(axis=1)).mean() > 0.97
    lost = products.max(axis=1) - products[np.arange(5000), found]
    assert lost.min() >= -1e-6
    assert lost.mean() < 0.001


@pytest.mark.parametrize("few", [2, 1024])
def test_what_is_learned_is_as_near_as_what_faiss_learns(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.vectors.centres.FEW", few)
    vectors = unit_vectors(4000, 32)
    by_faiss = faiss.Kmeans(32, 128, niter=5, spherical=True, seed=1)
    by_faiss.train(vectors)
    assert by_faiss.centroids is not None
    centres = learn_centres(vectors, 128)
    assert centres.shape == (128, 32)
    assert np.linalg.norm(centres, axis=1) == pytest.approx(np.ones(128), abs=1e-5)
    assert closeness(vectors, centres) >= closeness(vectors, by_faiss.centroids) - 0.005
    assert np.array_equal(centres, learn_centres(vectors, 128))


@pytest.mark.parametrize("vectors", [np.ones((500, 4)) / 2, np.concatenate([np.eye(4), -np.eye(4)]), np.eye(4)[:3]])
def test_vectors_that_are_the_same_or_opposite_are_learned_from(vectors: Vectors) -> None:
    centres = learn_centres(vectors.astype(np.float32), min(6, len(vectors)))
    assert np.isfinite(centres).all()
    assert len(Centres(centres).nearest(vectors.astype(np.float32))) == len(vectors)


@pytest.mark.parametrize("kind", ["IVF64,Flat", "IVF64,SQ8", "IVF64,PQ8x4fs", "IVF64_HNSW8,SQ8", "PCA16,IVF64,SQ8"])
@pytest.mark.parametrize("few", [2, 1024])
def test_an_index_holds_what_it_was_given_however_it_finds_lists(
    kind: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors.centres.FEW", few)
    vectors = unit_vectors(3000, 32)
    index = ApproximateIndex.untrained(kind, 32)
    index.train(vectors[:2000])
    for start in range(0, 2500, 1250):
        index.add(vectors[start : start + 1250])
    index.finish()
    pieces: list[bytes] = []
    index.serialize(pieces.append)
    data = np.frombuffer(b"".join(pieces), np.uint8)
    assert (index.guarded_bytes() < len(data)) == (kind in ("IVF64,Flat", "IVF64,SQ8", "IVF64_HNSW8,SQ8"))
    # More can be added to it later, as it was or to what a file had.
    loaded = ApproximateIndex.from_buffer(data, kind=kind).growable()
    loaded.add(vectors[2500:])
    if "HNSW" not in kind:  # which has no way to look everywhere
        assert sorted(loaded.search(vectors[:1], 3000, nprobe=64)[0]) == list(range(3000))
    found = loaded.search(vectors[:200], 10, nprobe=64)
    nearest = np.argsort(-(vectors[:200] @ vectors.T), axis=1)[:, :10]
    hits = np.mean([len(set(row) & set(right)) for row, right in zip(found, nearest, strict=True)]) / 10
    assert hits > (0.3 if "P" in kind else 0.8)
