"""Which kinds of index there are, and that each holds what it is given."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from index.errors import OptionError
from index.vectors.approximate import ApproximateIndex
from index.vectors.kinds import check_kind, fits, is_kind, kind_for

DIM = 32


@pytest.mark.parametrize(
    "kind",
    ["", "flat", "PQ8", "IVF0,SQ8", "IVF4", "IVF4,Flat", "IVF99999999,SQ8", "HNSW0", "HNSW1", "HNSW8,SQ8", "SQ8\n"],
)
def test_what_is_no_kind_is_refused(kind: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_kind(kind)
    assert caught.value.with_hint == (
        f"there is no kind of index {kind!r}; name auto, Flat, SQ8, IVF,SQ8 or HNSW; lists and links can have a "
        "number, as in IVF4096,SQ8 and HNSW16"
    )
    assert kind_for(10, DIM, chosen=kind) == "Flat", "an older fc7 took it: auto decides"


@pytest.mark.parametrize(
    ("chosen", "kind"),
    [
        *(("auto", "IVF4096,SQ8"), ("Flat", "Flat"), ("SQ8", "SQ8"), ("IVF,SQ8", "IVF4096,SQ8")),
        *(("IVF100,SQ8", "IVF100,SQ8"), ("HNSW", "HNSW32"), ("HNSW2", "HNSW2")),
    ],
)
def test_a_choice_means_a_kind_that_faiss_makes(chosen: str, kind: str) -> None:
    check_kind(chosen)
    assert kind_for(1_000_000, DIM, chosen=chosen) == kind
    assert is_kind(kind)
    assert fits(kind, 1_000_000, DIM, chosen=chosen)
    assert not fits("IVF3,SQ8", 1_000_000, DIM, chosen=chosen)
    assert len(ApproximateIndex.untrained(kind, DIM)) == 0


def test_lists_without_a_number_follow_the_photos() -> None:
    kinds = [kind_for(count, DIM, chosen="IVF,SQ8") for count in (0, 1, 100, 10_000)]
    assert kinds == ["IVF4,SQ8", "IVF4,SQ8", "IVF32,SQ8", "IVF512,SQ8"]
    assert fits("IVF32,SQ8", 60, DIM, chosen="IVF,SQ8"), "kept when the collection gets smaller"
    assert not fits("IVF32,SQ8", 10_000, DIM, chosen="IVF,SQ8")


@pytest.mark.parametrize("kind", ["SQ8", "IVF64,SQ8", "HNSW16"])
def test_it_holds_what_it_was_given(kind: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = ApproximateIndex.untrained(kind, DIM)
    index.train(vectors[:2600])
    for start in range(0, 2500, 1250):
        index.add(vectors[start : start + 1250])
    index.finish()
    pieces: list[bytes] = []
    index.serialize(pieces.append)
    data = np.frombuffer(b"".join(pieces), np.uint8)
    assert (index.guarded_bytes() < len(data)) == kind.startswith("IVF")
    # More can be added to it later, to what a file had.
    loaded = ApproximateIndex.from_buffer(data, kind=kind).growable()
    loaded.add(vectors[2500:])
    if kind != "HNSW16":  # which has no way to look everywhere
        assert sorted(loaded.search(vectors[:1], 3000, nprobe=loaded.max_nprobe)[0]) == list(range(3000))
    found = loaded.search(vectors[:200], 10, nprobe=loaded.max_nprobe)
    nearest = np.argsort(-(vectors[:200] @ vectors.T), axis=1)[:, :10]
    hits = np.mean([len(set(row) & set(right)) for row, right in zip(found, nearest, strict=True)]) / 10
    assert hits > 0.9


@pytest.mark.parametrize("kind", ["IVF64,SQ8", "HNSW4"])
def test_each_search_has_its_own_nprobe_in_threads_too(kind: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, DIM)).astype(np.float32)
    index = ApproximateIndex.untrained(kind, DIM)
    index.train(vectors)
    index.add(vectors)
    nprobes = [1, index.max_nprobe] * 20
    alone = {nprobe: index.search(vectors[:50], 10, nprobe=nprobe).tolist() for nprobe in set(nprobes)}
    assert alone[1] != alone[index.max_nprobe]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda nprobe: index.search(vectors[:50], 10, nprobe=nprobe).tolist(), nprobes))
    assert found == [alone[nprobe] for nprobe in nprobes]
