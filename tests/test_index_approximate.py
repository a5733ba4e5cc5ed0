"""Which FAISS factory strings are taken for a kind of index."""

import pytest

from index.errors import OptionError
from index.vectors.approximate import check_kind

DIM = 16


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        *((kind, "nothing in it can be 0") for kind in ("IVF0,SQ8", "IVF00,Flat", "PQ4x0", "IVF4,PQ4x0", "HNSW0")),
        *((kind, "nothing in it can be 0") for kind in ("IVF4_HNSW0,SQ8", "PCA0,IVF4,SQ8", "RR0,Flat", "RQ0x4")),
        *((kind, "a graph has 2 links or more") for kind in ("HNSW1", "HNSW1,Flat", "IVF4_HNSW1,SQ8")),
        *((kind, "nothing can be added to it later") for kind in ("NSG16", "PCA8,NSG16,Flat", "HNSW8_4+PQ4")),
        *((kind, "its parts do not go together") for kind in ("IVF16(IVF4,SQ8),SQ8", "SQ8,Refine(IVF2,Flat)")),
        ("SQ8,Refine(PQ4x4fs)", "its parts do not go together"),
        *((kind, "ids are kept by fc7") for kind in ("IDMap,Flat", "Flat,IDMap2", "PCA4,IDMap,Flat")),
        ("PQ3", "The dimension of the vector (d) should be a multiple of the number of subquantizers (M)"),
        ("Nonsense", "could not parse index string Nonsense"),
    ],
)
def test_what_cannot_be_used_is_refused(kind: str, reason: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_kind(kind, DIM)
    assert caught.value.with_hint == (
        f"FAISS has no index of kind {kind!r} for vectors of {DIM} values ({reason}); "
        "name another, IVF1024,SQ8 for instance, or --kind auto"
    )


@pytest.mark.parametrize(
    "kind",
    [
        *("auto", "Flat", "SQ8", "IVF1,SQ8", "IVF10,SQ8", "IVF1024,SQ8", "IVF100_HNSW10,Flat", "HNSW2", "HNSW10,Flat"),
        *("PCA10,IVF10,SQ8", "OPQ4_8,IVF4,PQ4x4fs", "IVF4,PQ4x4fs,RFlat", "IVF4,SQ4,Refine(SQ8)", "IVF4(SQ8),Flat"),
    ],
)
def test_what_can_be_used_is_taken(kind: str) -> None:
    check_kind(kind, DIM)
