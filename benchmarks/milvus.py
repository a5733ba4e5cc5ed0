"""The same vectors searched in a folder and in Milvus: rows a second when filled, time of a query, recall, memory.

    python benchmarks/milvus.py --to milvus+http://HOST:19530/COLLECTION [--vectors 20000] [--npz EMBEDDINGS]
                                [--folder-kinds Flat auto] [--kinds HNSW Flat] [--server-pid PID] [-o FOLDER]

tests/milvus_server.py says how to run this beside a server of its own, whose number of process it then knows.

The collection is removed first. The vectors are those of benchmarks/search.py: made, or with --npz the embeddings that
`fc7 embed` wrote, of which 200 are the queries and left out; where that are fewer than --vectors, they are repeated,
each time with other noise of a tenth of their length. A query is one vector; times are those that a user waits, so the
machine should do nothing else. Recall is against FAISS's Flat. A folder is filled by writing
the catalogue and building its index, Milvus by `fc7 push` from that catalogue; the seconds until a server has indexed
what was sent are beside it. Recall is that of the moment when the push has ended. Memory is what the process has that
searches, or for Milvus the server with --server-pid.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from search import BATCH, QUERIES, K, build, clustered, embedded, peak_memory, sizes, write_catalogue

from index.milvus.milvus_index import MilvusIndex
from index.milvus.place import Consistency, MilvusPlace
from index.milvus.push import push
from index.open_index import open_index
from index.searchable import SearchableIndex

HEADINGS = (
    "index | rows/s when filled | s until indexed | one query, p50, ms | p99, ms | queries/s, 64 at once | recall@10"
    " | memory, MB"
)
AT_ONCE = 64
NOISE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=MilvusPlace.parse, required=True)
    parser.add_argument("--vectors", type=int, help="20,000, or as many as there are embeddings")
    parser.add_argument("--npz", type=Path)
    parser.add_argument("--folder-kinds", nargs="+", default=["Flat", "auto"], help="the first has to be Flat")
    parser.add_argument("--kinds", nargs="+", default=["HNSW", "Flat"])
    parser.add_argument("--consistency", nargs="+", choices=["bounded", "strong"], default=["bounded", "strong"])
    parser.add_argument("--server-pid", type=int, default=os.environ.get("FC7_MILVUS_PID"))
    parser.add_argument("-o", "--out", type=Path, help="folder to work in, kept; a temporary one otherwise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.out or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        ways: list[Consistency] = ["bounded"] if arguments.to.is_file else arguments.consistency
        compare(work, arguments, ways)


def compare(work: Path, arguments: argparse.Namespace, ways: list[Consistency]) -> None:
    to, server = arguments.to, arguments.server_pid
    queries, batches, count = vectors(arguments.npz, arguments.vectors)
    written = seconds_of(lambda: write_catalogue(work, batches, files=False))
    print(f"{count:,} vectors of {queries.shape[1]} values\n\n| {HEADINGS} |\n|{'---|' * (HEADINGS.count('|') + 1)}")
    exact: list[list[str]] = []
    for kind in arguments.folder_kinds:
        built = seconds_of(lambda kind=kind: build(work, kind))  # type: ignore[misc]
        with open_index(work / "index") as index:
            name = f"folder, FAISS {index.summary().kind}"
            exact = measured(name, index, queries, count / (written + built), built, exact, peak_memory())
    for kind in arguments.kinds:
        sent: list[float] = []
        begun = time.perf_counter()
        push(
            *(work / "index", to),
            kind=kind,
            replace_other=True,
            say=lambda _, sent=sent: sent.append(time.perf_counter()),  # type: ignore[misc]
        )
        ended = time.perf_counter()
        filled, indexed = (sent or [ended])[0] - begun, ended - (sent or [ended])[0]
        for consistency in ways:
            with MilvusIndex.open(to, consistency=consistency) as index:
                name = f"Milvus, {kind}, {consistency}"
                memory = peak_memory() if server is None else peak_memory(server)
                measured(name, index, queries, count / filled, indexed, exact, memory)


def vectors(npz: Path | None, count: int | None) -> tuple[NDArray[np.float32], Iterator[NDArray[np.float32]], int]:
    """Return queries (QUERIES, dim), and batches of `count` vectors."""
    if npz is None:
        count = count or 20_000
        return clustered(QUERIES, seed=1), (clustered(size, seed=seed) for size, seed in sizes(count)), count
    queries, found = embedded(npz)
    count = count or len(found)
    return queries, repeated(found, count), count


def repeated(embeddings: NDArray[np.float32], count: int) -> Iterator[NDArray[np.float32]]:
    """Yield `count` unit vectors in batches: the embeddings (n, dim), then the same again with noise."""
    chance = np.random.default_rng(0)
    for start in range(0, count, BATCH):
        numbers = np.arange(start, min(start + BATCH, count))
        rows = embeddings[numbers % len(embeddings)]
        noise = chance.standard_normal(rows.shape, dtype=np.float32)
        noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
        rows = rows + np.where(numbers[:, None] < len(embeddings), np.float32(0), noise)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measured(
    name: str,
    index: SearchableIndex,
    queries: NDArray[np.float32],
    filled: float,
    indexed: float,
    exact: list[list[str]],
    memory: float,
) -> list[list[str]]:
    """Print a row of the table, and return what is exact: what was given, or else what was found."""
    index.search(queries[:1], K)  # opens what is opened by the first
    found, times = [], []
    for query in queries:
        begun = time.perf_counter()
        found.append([str(result.path) for result in index.search(query[None], K)[0]])
        times.append(time.perf_counter() - begun)
    batched = seconds_of(lambda: index.search(queries[:AT_ONCE], K))
    exact = exact or found
    recall = np.mean([len(set(row) & set(right)) for row, right in zip(found, exact, strict=True)]) / K
    p50, p99 = 1e3 * np.percentile(times, [50, 99])
    cells = [
        name,
        f"{filled:,.0f}",
        f"{indexed:,.0f}",
        f"{p50:.1f}",
        f"{p99:.1f}",
        f"{AT_ONCE / batched:,.0f}",
        f"{recall:.3f}",
    ]
    print(f"| {' | '.join([*cells, f'{memory:,.0f}'])} |", flush=True)
    return exact


def seconds_of(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
