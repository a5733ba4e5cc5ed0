"""Sheets of many photos: the first time, when each is decoded, and the second, when previews are in the cache folder.

    python benchmarks/sheets.py [--photos 1000] [--rounds 3] [--large] [--out runs/bench]

The photos are JPEGs of 500×400, or with --large of 4000×3000; a sheet is a grid of them all, as a PNG and as HTML.
Each round has an empty cache folder. Photos are read from memory, in the first run too: they have just been written.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from report import FOUND, Goal, save, table
from sample_photos import LARGE, SMALL, write_photos

from retrieval.figures.rows import SheetRow, Tile
from retrieval.figures.sheet import write_sheet
from retrieval.photos.previews import Previews

SUFFIXES = (".png", ".html")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="photos of 12 megapixels")
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    size = LARGE if arguments.large else SMALL
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos", arguments.photos, size)
        wait_until_settled(photos)
        rounds = [measure(photos, Path(folder) / f"round-{number}") for number in range(arguments.rounds)]
    columns = ["sheet", "first run, s", "second run, s", "ratio"]
    rows = []
    goals = []
    for suffix in SUFFIXES:
        first, second = (median(times[suffix][run] for times in rounds) for run in (0, 1))
        rows.append([suffix, f"{first:.1f}", f"{second:.1f}", f"{first / second:.1f}"])
        ratios = tuple(times[suffix][1] / times[suffix][0] for times in rounds)
        goals.append(Goal(f"{suffix} sheet: second run / first run", 1.0, ratios, at_most=True))
    said = f"{arguments.photos:,} photos of {size[0]}×{size[1]}; median of {arguments.rounds} rounds.\n\n"
    save(arguments.out, "sheets", text=said + table(columns, rows), goals=goals, packages=("pillow",))


def wait_until_settled(photos: list[Path]) -> None:
    """Wait until photos are old enough for their previews to be kept."""
    time.sleep(max(0.0, 2.5 - (time.time() - photos[-1].stat().st_mtime)))


def measure(photos: list[Path], place: Path) -> dict[str, tuple[float, float]]:
    """Return the seconds of the first and the second run for each kind of sheet."""
    times = {}
    for suffix in SUFFIXES:
        cache, out = place / suffix / "cache", place / suffix / f"sheet{suffix}"
        out.parent.mkdir(parents=True)
        times[suffix] = (seconds(photos, cache, out), seconds(photos, cache, out))
    return times


def seconds(photos: list[Path], cache: Path, out: Path) -> float:
    """Write a sheet, and return how long that took."""
    start = time.perf_counter()
    with Previews(cache) as previews:
        write_sheet([SheetRow(tuple(Tile((path,), (path.name,)) for path in photos))], out, previews)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
