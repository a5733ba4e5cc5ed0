"""Which kind of FAISS index suits how many vectors, and how well one finds what an exact search finds."""

import re
from dataclasses import dataclass
from math import log2, sqrt

from index.errors import OptionError

AUTO = "auto"
EXACT = "Flat"
NAMES = "auto, Flat, SQ8, IVF,SQ8 or HNSW"
# Numbers of FAISS's factory strings: of lists, and of links of a graph, which needs 2 at least.
_KIND = re.compile(r"auto|Flat|SQ8|IVF([1-9]\d{0,6})?,SQ8|HNSW([2-9]|[1-9]\d{1,2})?")
# The links of `HNSW` without a number, FAISS's own default.
LINKS = 32
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


def is_kind(kind: str) -> bool:
    """Tell whether `check_kind` takes it."""
    return _KIND.fullmatch(kind) is not None


def check_kind(kind: str) -> None:
    """Raise OptionError for what is no kind of index.

    auto chooses by the number of vectors. Flat and SQ8 compare all of them, as 32-bit or as 8-bit numbers. IVF,SQ8
    keeps 8-bit numbers in lists, and HNSW links 32-bit ones to a graph. A number may follow: IVF4096,SQ8 has 4,096
    lists, and HNSW16 16 links.
    """
    if not is_kind(kind):
        raise OptionError(
            f"there is no kind of index {kind!r}",
            hint=f"name {NAMES}; lists and links can have a number, as in IVF4096,SQ8 and HNSW16",
        )


def kind_for(vectors: int, dim: int, *, chosen: str = AUTO) -> str:
    """Say which kind a choice means for so many vectors, as a FAISS factory string.

    A choice that `check_kind` refuses, which an older fc7 took, means auto.
    """
    if chosen == AUTO or not is_kind(chosen):
        return _kind_of(_lists_for(vectors)) if vectors * dim > EXACT_NUMBERS else EXACT
    return {"IVF,SQ8": _kind_of(_lists_for(vectors)), "HNSW": f"HNSW{LINKS}"}.get(chosen, chosen)


def fits(kind: str, vectors: int, dim: int, *, chosen: str = AUTO) -> bool:
    """Tell whether the kind that a choice meant earlier still suits this number of vectors."""
    least, most = (kind_for(count, dim, chosen=chosen) for count in (vectors, SLACK * vectors))
    return kind in (least, most) or _lists_of(least) < _lists_of(kind) < _lists_of(most)


def _lists_for(vectors: int) -> int:
    # With about 4√n lists, finding the nearest lists takes about as long as searching some of them.
    return int(2 ** round(log2(4 * sqrt(max(vectors, 1)))))


def _kind_of(lists: int) -> str:
    return f"IVF{lists},SQ8"


def _lists_of(kind: str) -> int:
    match = _KIND.fullmatch(kind)
    return int(match[1] or 0) if match else 0
