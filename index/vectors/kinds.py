"""Which kind of FAISS index suits how many vectors, and how well one finds what an exact search finds."""

from dataclasses import dataclass
from math import log2, sqrt

AUTO = "auto"
EXACT = "Flat"
# As many numbers as one thread compares with a query in a few milliseconds.
EXACT_NUMBERS = 10_000_000
# What a search aims at where --recall does not say.
RECALL = 0.97
# A kind that was the right one for a collection up to this many times larger is kept, so that none goes to and fro.
SLACK = 2
# A tenth of a collection in vectors that were removed but are still walked over.
WORN = 0.1


@dataclass(frozen=True, slots=True)
class Quality:
    """How well an index finds the 10 nearest of `sampled` stored photos, measured against an exact search.

    `depth` candidates are taken for each result that is asked for, and ranked by the catalogue's exact vectors.
    `recalls` are pairs: the effort of a search, nprobe for inverted lists and efSearch for graphs, and the recall@10 at
    that.
    """

    depth: int
    recalls: tuple[tuple[int, float], ...]
    sampled: int

    def effort_for(self, recall: float) -> tuple[int, float] | None:
        """Find the least effort that reaches a recall, and what it reaches; None where none does."""
        return next((pair for pair in self.recalls if pair[1] >= recall), None)

    @property
    def best(self) -> tuple[int, float]:
        """The effort with the best recall, and that recall."""
        return max(self.recalls, key=lambda pair: (pair[1], -pair[0]))

    def usual(self) -> tuple[int, float]:
        """Find the effort of a search that does not say, and its recall."""
        return self.effort_for(RECALL) or self.best


def kind_for(vectors: int, dim: int) -> str:
    """Choose a kind, as a FAISS factory string: exact while that is quick, then inverted lists of 8-bit numbers."""
    return _kind_of(_lists_for(vectors, dim))


def fits(kind: str, vectors: int, dim: int) -> bool:
    """Tell whether a kind that was chosen once still suits so many vectors."""
    least, most = _lists_for(vectors, dim), _lists_for(SLACK * vectors, dim)
    powers = (2**n for n in range(most.bit_length()))
    return kind in {_kind_of(lists) for lists in (least, *powers) if least <= lists <= most}


def _lists_for(vectors: int, dim: int) -> int:
    if vectors * dim <= EXACT_NUMBERS:
        return 0
    # About 4√n: to find the nearest lists then takes about as long as to search some of them.
    return int(2 ** round(log2(4 * sqrt(vectors))))


def _kind_of(lists: int) -> str:
    return f"IVF{lists},SQ8" if lists else EXACT
