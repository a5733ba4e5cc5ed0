"""autofaiss on a file of vectors: run by peers.py with a Python that has it, which may have older packages than ours.

    python benchmarks/peers_autofaiss.py build|search FOLDER K

It reads vectors.npy and queries.npy in the folder, leaves autofaiss.index there, and prints a line of JSON.
"""

import json
import resource
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np


def build(place: Path) -> dict[str, object]:
    build_index = import_module("autofaiss").build_index
    start = time.process_time()
    _, facts = build_index(
        np.load(place / "vectors.npy"),
        index_path=str(place / "autofaiss.index"),
        index_infos_path=str(place / "autofaiss.json"),
        metric_type="ip",
        verbose=40,
    )
    return {"kind": str(facts["index_key"]), "build": time.process_time() - start}


def search(place: Path, k: int) -> dict[str, object]:
    import faiss

    queries = np.load(place / "queries.npy")
    start = time.process_time()
    index = faiss.read_index(str(place / "autofaiss.index"))
    index.search(queries[:1], k)
    opened = time.process_time() - start
    singles, rows = [], []
    for query in queries:
        start = time.process_time()
        _, found = index.search(query[None], k)
        singles.append(time.process_time() - start)
        rows.append(found[0].tolist())
    start = time.process_time()
    index.search(queries, k)
    batched = (time.process_time() - start) / len(queries)
    return {
        "file": (place / "autofaiss.index").stat().st_size / 1e6,
        "opened": 1e3 * opened,
        "memory": peak_memory(),
        "single": 1e3 * float(np.median(singles)),
        "batched": 1e3 * batched,
        "rows": rows,
    }


def peak_memory() -> float:
    """Megabytes of memory that this process has had at most; as search.py's, of which nothing can be imported here."""
    status = Path("/proc/self/status")
    if status.exists():
        [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(peak) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    what, folder, wanted = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(build(folder) if what == "build" else search(folder, wanted)))
