"""Search among many vectors: a NumPy product and a Python sort, as rclip does it, and autofaiss, against an index."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from search import (
    BATCH,
    ONE_THREAD,
    PRODUCT,
    QUERIES,
    K,
    build,
    clustered,
    cpu_of,
    searched_alone,
    sizes,
    write_catalogue,
)

AUTOFAISS = Path(__file__).with_name("peers_autofaiss.py")
OURS = "auto"


def make(place: Path, count: int) -> float:
    """Write `count` vectors into an index and a file, and queries beside them; return the CPU seconds of FAISS's part.

    All are compared once, which tells what is right.
    """
    np.save(place / "queries.npy", clustered(QUERIES, seed=1))
    write_catalogue(place, (clustered(size, seed=seed) for size, seed in sizes(count)), files=False)
    np.save(place / "vectors.npy", np.concatenate([clustered(size, seed=seed) for size, seed in sizes(count)]))
    build(place, "Flat")
    searched_alone(place, "Flat")
    return cpu_of(lambda: build(place, OURS))


def rounds_of(place: Path, *, autofaiss: Path | None, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Search in turn, each way in a process of its own with one thread: what search.py tells of it, round by round."""
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "fc7": lambda: searched_alone(place, OURS),
        PRODUCT: lambda: searched_alone(place, PRODUCT),
    }
    if autofaiss is not None:
        ways["autofaiss"] = lambda: by_autofaiss(place, autofaiss)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    return found


def build_autofaiss(place: Path, python: Path) -> dict[str, Any]:
    """Have autofaiss choose, fill and tune an index of the same vectors: its kind, and the CPU seconds it took."""
    return _run(python, "build", place)


def by_autofaiss(place: Path, python: Path) -> dict[str, Any]:
    """Search that index, and compare what is found with what is right."""
    found = _run(python, "search", place)
    exact = json.loads((place / "truth.json").read_text())
    right = [{_row(path) for path in paths} for paths in exact]
    hits = [len(set(row) & truth) for row, truth in zip(found["rows"], right, strict=True)]
    return {**found, "recall": float(np.mean(hits)) / K}


def has_autofaiss(python: Path) -> bool:
    """Whether a Python has autofaiss."""
    return subprocess.run([python, "-c", "import autofaiss"], capture_output=True).returncode == 0


def _row(path: str) -> int:
    """Return the number of the vector whose photo `write_catalogue` named so."""
    return int(Path(path).parent.name) * BATCH + int(Path(path).stem)


def _run(python: Path, what: str, place: Path) -> dict[str, Any]:
    environment = None if what == "build" else ONE_THREAD
    command = [str(python), str(AUTOFAISS), what, str(place), str(K)]
    ran = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found
