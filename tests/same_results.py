"""Compares what two versions of fc7 say of the same photos: what a change of the code's shape must not change.

    python tests/same_results.py before.json PHOTOS --fc7 /old/checkout/.venv/bin/fc7   # writes what is said
    python tests/same_results.py before.json PHOTOS                                     # compares, to 1e-6

PHOTOS is a folder of files `<WordNet id>_<name>.JPEG`, of which the first 100 are taken. Asked are classify, embed,
index, search, duplicates and evaluate. The exit status is 1 where anything differs.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PHOTOS = 100
TOLERANCE = 1e-6
LATELY = {"seconds", "photos_per_second", "modified", "created"}
"""What differs from run to run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--fc7", nargs="+", default=[sys.executable, "-P", "-m", "cli"], help="how fc7 is run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = answers(given.fc7, given.photos, Path(folder))
    if not given.results.exists():
        given.results.write_text(json.dumps(found), "utf-8")
        print(f"{given.results}: {sum(1 for _ in leaves(found)):,} values of {len(found)} commands")
        return 0
    before, now = dict(leaves(json.loads(given.results.read_text("utf-8")))), dict(leaves(found))
    wrong = [place for place in before.keys() | now.keys() if not same(before.get(place), now.get(place))]
    for place in sorted(wrong)[:20]:
        print(f"{place}: {before.get(place)!r} before, {now.get(place)!r} now")
    print(f"{len(before):,} values before, {len(now):,} now, {len(wrong):,} differ")
    return bool(wrong)


def answers(fc7: Sequence[str], photos: Path, folder: Path) -> dict[str, Any]:
    """Return what each command says, with the names of temporary folders taken out."""
    collection, classes, index = folder / "photos", folder / "classes", folder / "index"
    collection.mkdir()
    for photo in sorted(photos.glob("*.JPEG"))[:PHOTOS]:
        shutil.copy(photo, collection)
        of_class = classes / photo.name.partition("_")[0]
        of_class.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, of_class)

    def said(*arguments: object) -> Any:
        done = subprocess.run([*fc7, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"fc7 {arguments[0]} ended with {done.returncode}: {done.stderr}")
        try:
            return json.loads(done.stdout.replace(str(folder), "FOLDER"))
        except ValueError:
            return done.stdout.replace(str(folder), "FOLDER")

    found = {"classify": said("classify", collection, "--format", "json")}
    said("embed", collection, "-o", folder / "embeddings.npz")
    with np.load(folder / "embeddings.npz") as arrays:
        found["embed"] = {name: arrays[name].tolist() for name in arrays.files if arrays[name].dtype.kind in "fi"}
    said("index", collection, classes, "--index", index)
    queries = sorted(collection.iterdir())
    found["search"] = [said("search", query, "--index", index, "--format", "json") for query in queries[:20]]
    found["together"] = said("search", *queries[:3], "--index", index, "-k", "7", "--format", "json")
    found["label"] = said("search", "--label", "dog", "--index", index, "--format", "json")
    found["duplicates"] = said("duplicates", "--index", index, "--format", "json")
    named = set(said("info", "builtin", "--format", "json")["classes"])
    for photo in queries:
        if photo.stem.partition("_")[2].replace("_", " ") not in named:
            shutil.rmtree(classes / photo.name.partition("_")[0], ignore_errors=True)
    found["evaluate"] = said("evaluate", classes, "--format", "json")
    return found


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each plain value with the way to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in LATELY:
                yield from leaves(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{place}/{number}")
    else:
        yield place, value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


if __name__ == "__main__":
    sys.exit(main())
