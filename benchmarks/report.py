"""What a benchmark found: its table, and the goals that it is held to.

    python benchmarks/report.py [FOUND] [--write [PAGE]]

Each benchmark leaves a file in FOUND, by default runs/bench. This prints them all, or writes them into PAGE,
docs/results.md: every table at the place with its name, the goals of all in one, and what it was measured on.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from index.files import replacing
from retrieval.evaluation.speed import taken_by_host
from retrieval.pipeline.machine import usable_cores

FOUND = Path("runs/bench")
PAGE = Path(__file__).parent.parent / "docs" / "results.md"
AT_START = time.monotonic(), taken_by_host()


@dataclass(frozen=True)
class Goal:
    """A goal for a ratio, and the ratio of each round that was measured."""

    what: str
    goal: float
    measured: tuple[float, ...]
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the median meets it."""
        return median(self.measured) <= self.goal if self.at_most else median(self.measured) >= self.goal

    def row(self) -> list[str]:
        """Return what is wanted, and the median, range and number of what was measured."""
        return [
            self.what,
            f"{'≤' if self.at_most else '≥'} {self.goal:,.3g}",
            f"{median(self.measured):,.3g}",
            f"{min(self.measured):,.3g} to {max(self.measured):,.3g}",
            str(len(self.measured)),
            "met" if self.met else "missed",
        ]


def save(folder: Path, name: str, *, text: str, goals: Sequence[Goal], packages: Sequence[str]) -> None:
    """Print what a benchmark found, and keep it for the page; `packages` are those that the figures depend on."""
    print(text)
    for goal in goals:
        print(" · ".join(goal.row()))
    found = {
        "text": text,
        "goals": [asdict(goal) for goal in goals],
        "machine": machine(packages) + taken_away(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{name}.json") as file:
        file.write(json.dumps(found, indent=1).encode())


def write_page(folder: Path, page: Path) -> None:
    """Fill the page's places with what is kept in a folder; tables of benchmarks that were not run stay as they are.

    The table of goals has those of the benchmarks that were run, and no other.
    """
    found: dict[str, Any] = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    if not found:
        sys.exit(f"{folder} holds no results; run a benchmark first")
    text = page.read_text("utf-8")
    goals = []
    for name, entry in found.items():
        goals += [Goal(**(goal | {"measured": tuple(goal["measured"])})) for goal in entry["goals"]]
        text = filled(text, name, f"{entry['text']}\n\n{entry['machine']}, {entry['date']}")
    heads = ("what", "goal", "median", "range", "rounds", "")
    text = filled(text, "goals", table(heads, [goal.row() for goal in goals]))
    page.write_text(text, "utf-8")


def machine(packages: Sequence[str]) -> str:
    """Return what a time depends on: processor, cores, versions."""
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return f"{processor()}, {usable_cores()} cores, Python {platform.python_version()}, {versions}"


def processor() -> str:
    """Return the name that the system gives the processor, its architecture where there is none."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8", "replace").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def taken_away() -> str:
    """Return what share of its cores a virtual machine's host has given to others since the start, to be read on."""
    began, taken_before = AT_START
    taken = (taken_by_host() - taken_before) / (usable_cores() * (time.monotonic() - began))
    return f"; its host took {taken:.0%} of the time" if taken else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """Return mean and standard deviation as "0.612 ± 0.013"; the mean alone of one value."""
    return f"{mean(values):{form}}" + (f" ± {stdev(values):{form.removeprefix('+')}}" if len(values) > 1 else "")


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def filled(page: str, name: str, text: str) -> str:
    """Return a page with the text between the markers `<!-- name -->` and `<!-- end of name -->` replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no place for {name}: {begin} … {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, nargs="?", default=FOUND)
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help="write into this page")
    arguments = parser.parse_args()
    if arguments.write:
        write_page(arguments.found, arguments.write)
    else:
        print(
            *(json.loads(path.read_text("utf-8"))["text"] for path in sorted(arguments.found.glob("*.json"))),
            sep="\n\n",
        )
