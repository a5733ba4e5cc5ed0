"""How fast photos are indexed against what the machine allows, and the memory that it takes.

    python benchmarks/indexing.py [--counts 10 1000] [--large 40] [--rounds N] [--memory 20000] [-m MODEL] [-o FOLDER]

The bound is photos ÷ (seconds of a core that reading and decoding take alone + those that the network takes alone) ×
cores, each measured with one thread a core. Stages and indexing are measured in turn by
`retrieval/evaluation/speed.py`, as `fc7 bench` does. A new index is filled each time; files lie in memory. On a virtual
machine the bound is less by what its host takes from the cores.

Memory is the peak of a whole `fc7 index`, in a process of its own: of 1,000 photos of 64 pixels, of --memory such, and
of --large photos of 12 megapixels.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from report import FOUND, Goal, save, table
from sample_photos import LARGE, SMALL, write_photos

from retrieval.evaluation.speed import Measured, measure
from retrieval.models.model import Model
from retrieval.pipeline.executor import Concurrency

TINY = (64, 64)
FEW = 1_000
MEGABYTES = 600
# What getrusage says of a process begins with what the one that started it had; Linux has better.
PEAK = """
import resource, sys
from pathlib import Path
from cli import main
try:
    main(sys.argv[1:], prog_name="fc7")
finally:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    print(*peaks or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss], file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 1_000], help="of photos of 500×400")
    parser.add_argument("--large", type=int, default=40, help="photos of 12 megapixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", type=int, default=20_000, help="photos that should take no more than 1,000 do")
    parser.add_argument("-m", "--model", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="fc7-") as temporary:
        place = Path(temporary)
        kinds = [(f"{count:,} of 500×400", "small", count, SMALL) for count in arguments.counts]
        kinds.append((f"{arguments.large:,} of 12 megapixels", "large", arguments.large, LARGE))
        model = Model.load(arguments.model, device="cpu", threads=1)
        found = {}
        for name, folder, count, size in kinds:
            photos = write_photos(place / folder, count, size)
            found[name] = measure(
                model, photos, concurrencies=[Concurrency.chosen(model)], rounds=arguments.rounds, work=place
            )
        write_photos(place / "few", FEW, TINY)
        write_photos(place / "many", arguments.memory, TINY)
        peaks = [
            peak_memory(place / folder, place / f"{folder}-index", arguments.model)
            for folder in ("few", "many", "large")
        ]
    few, many, large = peaks
    goals = [Goal(f"indexing {name} photos: share of the bound", 0.9, m.ratios) for name, m in found.items()]
    goals += [
        Goal(f"memory of indexing {arguments.memory:,} photos ÷ {FEW:,}", 1.1, (many / few,), at_most=True),
        Goal("memory of indexing, MB", MEGABYTES, (max(peaks),), at_most=True),
    ]
    stages = ("reading, ms", "decoding, ms", "network, ms")
    heads = ("photos", "rounds", *stages, "bound, photos/s", "indexed, photos/s", "share", "range")
    rows = [speed_row(name, measured) for name, measured in found.items()]
    memory = table(
        ("`fc7 index` of", "peak memory, MB"),
        [
            (f"{FEW:,} of 64×64", f"{few:,.0f}"),
            (f"{arguments.memory:,} of 64×64", f"{many:,.0f}"),
            (f"{arguments.large:,} of 12 megapixels", f"{large:,.0f}"),
        ],
    )
    text = f"{model.spec.name}; ms of one core a photo; medians of the rounds.\n\n{table(heads, rows)}\n\n{memory}"
    packages = ("pillow", "onnxruntime", "numpy")
    save(arguments.out, "indexing", text=text, goals=goals, packages=packages)


def speed_row(name: str, measured: Measured) -> list[str]:
    """Return the rounds, the medians of what was measured in them, and the range of the share of the bound."""
    costs = measured.usual_costs
    stages = [f"{1e3 * seconds:.2f}" for seconds in (costs.reading, costs.decoding, costs.network)]
    bound, rate = median(measured.bounds), measured.speeds[0].rate
    shares = measured.ratios
    share, span = f"{median(shares):.2f}", f"{min(shares):.2f} to {max(shares):.2f}"
    return [name, str(len(shares)), *stages, f"{bound:,.0f}", f"{rate:,.0f}", share, span]


def peak_memory(folder: Path, index: Path, model: Path | None) -> float:
    """Index a folder in a process of its own, and return the most memory that it had, in MB."""
    words = ["index", str(folder), "--index", str(index), *(["-m", str(model)] if model else [])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FC7_")}
    command = [sys.executable, "-c", PEAK, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(done.stderr.split()[-1]) / 1e6


if __name__ == "__main__":
    main()
