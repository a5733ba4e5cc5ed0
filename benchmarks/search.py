"""Search in up to a million photos, by kind of index: time to build, to open and to search, memory, and recall.

    python benchmarks/search.py [--vectors 1000000] [--kinds auto "SQ8" ...] [--unchanged] [-o FOLDER]
    python benchmarks/search.py --npz EMBEDDINGS [--kinds ...]

Without --npz, the vectors lie in clusters of an intrinsic dimension of 24 in 256 dimensions, with a little noise, and
200 others like them are the queries; with it, they are the embeddings that `fc7 embed` wrote, and 200 of them, drawn
by a seed and left out of the index, are the queries. All goes through a catalogue, as in the program: candidates are
ranked by the exact vectors in it. Each kind is searched by a process of its own with one
thread, and all times are of the CPU, so that other work on the machine counts little; of one query it is the median.
Recall is against Flat. --unchanged makes an empty file for each photo, and
runs `fc7 index` over them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.index_writer import IndexWriter
from index.photo_index import PhotoIndex
from index.records import FileStamp, NewPhoto
from retrieval.models.model import Model

DIM, INTRINSIC, SPREAD, NOISE = 256, 24, 0.5, 0.02
QUERIES, K = 200, 10
BATCH = 10_000
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PRODUCT = "NumPy product, Python sort"
HEADINGS = (
    "kind | build, s | file, MB | opened, ms | memory, MB | one query, ms | of 200 at once, ms | ÷ Flat | recall@10"
)

Batches = Iterator[NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--npz", type=Path)
    parser.add_argument("--kinds", nargs="+", default=["auto", "SQ8", "HNSW"])
    parser.add_argument("--unchanged", action="store_true")
    parser.add_argument("-o", "--out", type=Path, help="folder to work in, kept; a temporary one otherwise")
    parser.add_argument("--searcher", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.searcher:
        print(json.dumps(searched(Path(arguments.searcher[0]), arguments.searcher[1])))
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = (arguments.out or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        compare(place, arguments.npz, arguments.vectors, arguments.kinds, unchanged=arguments.unchanged)


def compare(place: Path, npz: Path | None, count: int, kinds: list[str], *, unchanged: bool) -> None:
    if npz is None:
        queries, batches = clustered(QUERIES, seed=1), (clustered(size, seed=seed) for size, seed in sizes(count))
    else:
        queries, rest = embedded(npz)
        count = len(rest)
        batches = (rest[start : start + BATCH] for start in range(0, count, BATCH))
    np.save(place / "queries.npy", queries)
    seconds = cpu_of(lambda: write_catalogue(place, batches, files=unchanged))
    print(f"{count:,} vectors of {queries.shape[1]} values; written to a catalogue in {seconds:.0f} s of CPU\n")
    print(f"| {HEADINGS} |\n|{'---|' * (HEADINGS.count('|') + 1)}", flush=True)
    flat: dict[str, Any] = {}
    for kind in ["Flat", *kinds, PRODUCT]:
        seconds = 0.0 if kind == PRODUCT else cpu_of(lambda kind=kind: build(place, kind))  # type: ignore[misc]
        found = searched_alone(place, kind)
        flat = flat or found
        cells = [
            *(found["kind"], f"{seconds:.0f}", f"{found['file']:.0f}", f"{found['opened']:.0f}"),
            *(f"{found['memory']:.0f}", f"{found['single']:.2f}", f"{found['batched']:.2f}"),
            *(f"1/{flat['single'] / found['single']:.0f}", f"{found['recall']:.3f}"),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    if unchanged:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program = [sys.executable, "-c", "from cli import main; main()", "index", "--index", str(place / "index")]
        report = subprocess.run(program, check=True, capture_output=True, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        print(f"\nfc7 index, nothing changed: {user + system:.1f} s of CPU ({system:.1f} in the system)\n{report}")


def sizes(count: int) -> Iterator[tuple[int, int]]:
    return ((min(BATCH, count - start), start + 2) for start in range(0, count, BATCH))


def embedded(npz: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the embeddings that `fc7 embed` wrote: queries (QUERIES, dim), drawn by a seed, and the others (n, dim)."""
    with np.load(npz) as file:
        drawn = np.random.default_rng(0).permutation(file["embeddings"])
    return drawn[:QUERIES], drawn[QUERIES:]


def clustered(count: int, *, seed: int) -> NDArray[np.float32]:
    """Make unit vectors (count, DIM) around 2,000 centres, which are the same for every seed."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    basis = shared.standard_normal((INTRINSIC, DIM), dtype=np.float32)
    centres = shared.standard_normal((2_000, INTRINSIC), dtype=np.float32)
    places = centres[own.integers(len(centres), size=count)]
    places = places + SPREAD * own.standard_normal(places.shape, dtype=np.float32)
    vectors = places @ basis + NOISE * np.sqrt(INTRINSIC) * own.standard_normal((count, DIM), dtype=np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def write_catalogue(place: Path, batches: Batches, *, files: bool) -> None:
    """Write vectors as photos of the built-in model, a folder a batch; with `files` there is an empty one for each."""
    photos = place / "photos"
    with open_index(place, dim=None) as index:
        if index.roots():
            return  # of a run before, in a folder that is kept
        index.set_kind("Flat")
        sync = index.begin_sync(photos, {})
        for number, embeddings in enumerate(batches):
            folder = photos / f"{number:04}"
            if files:
                folder.mkdir(parents=True)
            batch = []
            for row, embedding in enumerate(embeddings):
                name = f"{number:04}/{row:05}.jpg"
                stamp = FileStamp(0, 0)
                if files:
                    (photos / name).touch()
                    status = os.stat(photos / name)
                    stamp = FileStamp(status.st_size, status.st_mtime_ns)
                digest = number.to_bytes(8, "little") + row.to_bytes(8, "little")
                batch.append(NewPhoto(name.encode(), stamp, digest, 64, 64, embedding, labels=()))
            sync.add(batch)


def build(place: Path, kind: str) -> None:
    with open_index(place, dim=None) as index:
        index.set_kind(kind)
        index.rebuild()


def open_index(place: Path, *, dim: int | None) -> IndexWriter:
    spec = Model.load().spec
    return IndexWriter.open_for_writing(
        place / "index", fingerprint=spec.fingerprint, model_name=spec.name, dim=dim or spec.dim
    )


def searched_alone(place: Path, kind: str) -> dict[str, Any]:
    """Return what `searched` finds in a process of its own with one thread."""
    command = [sys.executable, __file__, "--searcher", str(place), kind]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=ONE_THREAD)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def searched(place: Path, kind: str) -> dict[str, object]:
    """Open the index and search it, in a process that does nothing else."""
    queries = np.load(place / "queries.npy")
    truth = place / "truth.json"
    if kind == PRODUCT:
        return by_product(place, queries)
    start = time.process_time()
    with PhotoIndex.open(place / "index") as index:
        index.search(queries[:1], K)
        opened = time.process_time() - start
        some = queries[: 10 if kind == "Flat" else QUERIES]
        singles = [cpu_of(lambda query=query: index.search(query[None], K)) for query in some]  # type: ignore[misc]
        start = time.process_time()
        answers = index.search(queries, K)
        batched = (time.process_time() - start) / QUERIES
        found = [[str(result.path) for result in results] for results in answers]
        summary = index.summary()
    if kind == "Flat":
        truth.write_text(json.dumps(found))
    exact = json.loads(truth.read_text())
    hits = [len(set(row) & set(right)) for row, right in zip(found, exact, strict=True)]
    quality = summary.quality
    nprobe = "" if quality is None else f", nprobe {quality.usual()[0]}, ×{quality.rerank_factor}"
    return {
        "kind": f"{summary.kind}{nprobe}{' (auto)' if kind == 'auto' else ''}",
        "file": (place / "index/vectors.faiss").stat().st_size / 1e6,
        "opened": 1e3 * opened,
        "memory": peak_memory(),
        "single": 1e3 * float(np.median(singles)),
        "batched": 1e3 * batched,
        "recall": float(np.mean(hits)) / K,
    }


def by_product(place: Path, queries: NDArray[np.float32]) -> dict[str, object]:
    """Multiply all vectors in memory with the query, and sort all scores in Python, as simple programs do."""
    with PhotoIndex.open(place / "index") as index:
        start = time.process_time()
        batches = list(index.photos.embeddings())
        paths = [str(path) for photos in batches for path in photos.paths]
        vectors = np.concatenate([photos.embeddings for photos in batches])
        del batches
        opened = time.process_time() - start

    def best(query: NDArray[np.float32]) -> list[str]:
        scored = zip((vectors @ query).tolist(), paths, strict=True)
        return [path for _, path in sorted(scored, key=lambda pair: pair[0], reverse=True)[:K]]

    found = [best(query) for query in queries[:5]]
    singles = [cpu_of(lambda query=query: best(query)) for query in queries[:5]]  # type: ignore[misc]
    exact = json.loads((place / "truth.json").read_text())
    hits = [len(set(row) & set(right)) for row, right in zip(found, exact, strict=False)]
    return {
        **{"kind": PRODUCT, "file": 0, "opened": 1e3 * opened, "recall": float(np.mean(hits)) / K},
        "memory": peak_memory(),
        **{"single": 1e3 * float(np.median(singles)), "batched": 1e3 * float(np.median(singles))},
    }


def peak_memory(process: int | str = "self") -> float:
    """Megabytes of memory that a process has had at most, mapped pages included."""
    status = Path(f"/proc/{process}/status")
    if status.exists():  # what getrusage says of a process begins with what the one that started it had
        [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(peak) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def cpu_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
