"""Which kind of FAISS index suits how many vectors, and how well one finds what an exact search finds."""

from dataclasses import dataclass
from math import log2, sqrt

AUTO = "auto"
EXACT = "Flat"
# One thread compares this many numbers with a query in a few milliseconds.
EXACT_NUMBERS = 10_000_000
# The recall of a search without --recall.
RECALL = 0.97
# A kind is kept while it suits a collection up to this many times larger. So photos that come and go do not cause a
# rebuild each time.
SLACK = 2
# An index is rebuilt when removed vectors, which are still in its lists, are more than this share of the collection.
WORN = 0.1


@dataclass(frozen=True, slots=True)
class Quality:
    """How well an index finds the 10 nearest of `sampled` stored photos, measured against an exact search.

    For each result that is asked for `rerank_factor` candidates are ranked by the catalogue's exact vectors. `recalls`
    are pairs of nprobe and the recall@10 with it, the least nprobe first. Here and elsewhere nprobe stands for what
    FAISS calls efSearch where the kind is a graph, and is 0 where a kind has neither.
    """

    rerank_factor: int
    recalls: tuple[tuple[int, float], ...]
    sampled: int

    def nprobe_for(self, recall: float) -> tuple[int, float] | None:
        """Find the least nprobe that reaches a recall, and the recall with it; None where none does."""
        return next((pair for pair in self.recalls if pair[1] >= recall), None)

    @property
    def best(self) -> tuple[int, float]:
        """The least nprobe with the best recall, and that recall."""
        return max(self.recalls, key=lambda pair: (pair[1], -pair[0]))

    def usual(self) -> tuple[int, float]:
        """Find the nprobe of a search for which no recall is given, and its recall."""
        return self.nprobe_for(RECALL) or self.best


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: the kind that was `wanted`, from `size` vectors, how well it finds them, and on which device.

    `quality` is None where all vectors are compared, also because there were too few for the kind.
    """

    wanted: str = EXACT
    size: int = 0
    quality: Quality | None = None
    device: str = "CPU"

    @property
    def kind(self) -> str:
        """The kind that it is, which is Flat where there were too few vectors."""
        return EXACT if self.quality is None else self.wanted


def kind_for(vectors: int, dim: int) -> str:
    """Choose a kind, as a FAISS factory string: exact while that is fast, then inverted lists of 8-bit numbers."""
    return _kind_of(_lists_for(vectors, dim))


def fits(kind: str, vectors: int, dim: int) -> bool:
    """Tell whether a kind that was chosen earlier still suits this number of vectors."""
    least, most = _lists_for(vectors, dim), _lists_for(SLACK * vectors, dim)
    powers = (2**n for n in range(most.bit_length()))
    return kind in {_kind_of(lists) for lists in (least, *powers) if least <= lists <= most}


def _lists_for(vectors: int, dim: int) -> int:
    if vectors * dim <= EXACT_NUMBERS:
        return 0
    # With about 4√n lists, finding the nearest lists takes about as long as searching some of them.
    return int(2 ** round(log2(4 * sqrt(vectors))))


def _kind_of(lists: int) -> str:
    return f"IVF{lists},SQ8" if lists else EXACT
