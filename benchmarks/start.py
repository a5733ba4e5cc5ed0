"""Cold starts: whole processes of `fc7`, each against another that does the least that it could.

    python benchmarks/start.py [--rounds 15] [--photos 100000] [--out runs/bench]

`fc7 --help` is compared with a Python that does nothing, `fc7 classify PHOTO` with one that imports NumPy, ONNX Runtime
and Pillow, and `fc7 search PHOTO` in an index of 100,000 photos with `fc7 classify PHOTO`. The vectors of the index are
those of benchmarks/search.py; the photo, a JPEG of 500×400, is not among them. Each round starts all programs in turn;
the first warms up, so what is read is in memory, modules are compiled, and the optimised graph of the model lies in the
cache folder, as after one use of the program. Python starts without its `site`, to which an editable installation adds
more than a bare start takes: ratios to that would flatter.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from report import FOUND, Goal, save, table
from sample_photos import SMALL, write_photos
from search import build, clustered, sizes, write_catalogue

PYTHON = [sys.executable, "-S"]
FC7 = [*PYTHON, "-c", "import sys; from cli import main; sys.exit(main(prog_name='fc7'))"]
MODULES = os.pathsep.join([str(Path(__file__).parent.parent), sysconfig.get_path("purelib")])
NOTHING, CLICK, IMPORTS = (
    "python -c pass",
    "python -c 'import click'",
    "python -c 'import numpy, onnxruntime, PIL.Image'",
)
HELP, CLASSIFY, SEARCH = "fc7 --help", "fc7 classify PHOTO", "fc7 search PHOTO"

Times = Mapping[str, Sequence[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=int, default=100_000, help="in the index that is searched")
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(programs(Path(folder), arguments.photos), rounds=arguments.rounds)
    save(
        arguments.out,
        "start",
        text=described(times),
        goals=goals(times),
        packages=("click", "numpy", "onnxruntime", "pillow", "faiss-cpu"),
    )


def programs(place: Path, photos: int) -> dict[str, list[str]]:
    """Write a photo and an index of so many others into a folder; return the programs to start, by name."""
    [photo] = write_photos(place / "photos", 1, SMALL)
    write_catalogue(place, (clustered(size, seed=seed) for size, seed in sizes(photos)), files=False)
    build(place, "auto")
    return {
        NOTHING: [*PYTHON, "-c", "pass"],
        CLICK: [*PYTHON, "-c", "import click"],
        HELP: [*FC7, "--help"],
        IMPORTS: [*PYTHON, "-c", "import numpy, onnxruntime, PIL.Image"],
        CLASSIFY: [*FC7, "classify", str(photo)],
        SEARCH: [*FC7, "search", str(photo), "--index", str(place / "index")],
    }


def measure(programs: Mapping[str, Sequence[str]], *, rounds: int) -> Times:
    """Return the seconds that each program took in each round, from its start to its end."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FC7_"))}
    settings["PYTHONPATH"] = MODULES
    settings["ORT_DISABLE_TELEMETRY"] = "1"  # which fc7 sets: both sides of a ratio are to do the same
    times: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as cache:
        settings["XDG_CACHE_HOME"] = cache
        for round in range(-1, rounds):
            for name, command in programs.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=settings)
                if round >= 0:
                    times[name].append(time.perf_counter() - start)
    return times


def described(times: Times) -> str:
    """Return the table for the page."""
    rows = [
        (f"`{name}`", f"{1e3 * median(each):.0f}", f"{1e3 * min(each):.0f} to {1e3 * max(each):.0f}")
        for name, each in times.items()
    ]
    return table(("program", "ms", "range"), rows)


def goals(times: Times) -> list[Goal]:
    """Return what the starts are held to."""
    return [
        Goal(f"`{HELP}` ÷ `{NOTHING}`", 3.0, _ratios(times, HELP, NOTHING), at_most=True),
        Goal(f"cold `{CLASSIFY}` ÷ `{IMPORTS}`", 1.6, _ratios(times, CLASSIFY, IMPORTS), at_most=True),
        Goal(
            f"cold `{SEARCH}` in 100,000 photos ÷ cold `{CLASSIFY}`",
            1.6,
            _ratios(times, SEARCH, CLASSIFY),
            at_most=True,
        ),
    ]


def _ratios(times: Times, above: str, below: str) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(times[above], times[below], strict=True))


if __name__ == "__main__":
    main()
