"""fc7 beside the ways of other programs: the same network, the same photos, the same vectors, in one run.

    python benchmarks/peers.py [photos] [search] [duplicates] [-o FOLDER]

photos: one after the other through torch, as img2vec does it, against `fc7 index`, which stores and labels them too.
search: all vectors in memory, multiplied with a query by NumPy and sorted by Python, as rclip does it, against an
index; and autofaiss on the same vectors, where --autofaiss names a Python that has it (it needs NumPy before 2, so it
cannot be installed beside fc7: `pip install autofaiss 'pyarrow<20'` in an environment of its own). --vectors 1000000
takes some minutes.
duplicates: all n×n scores, as imagededup makes them, against the neighbours that `fc7 duplicates` asks for.

The ways are written here in a few lines each, so that programs are compared and not networks. Vectors are made, as in
search.py.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import peers_duplicates
import peers_search
from peers_photos import network_and_model, seconds_both_ways
from report import FOUND, Goal, save, table
from sample_photos import LARGE, SMALL, write_photos
from search import PRODUCT

PARTS = ("photos", "search", "duplicates")
PHOTOS = {("alexnet-64", SMALL): 400, ("alexnet", SMALL): 96, ("alexnet-64", LARGE): 8}
"""How many photos of which size each architecture looks at in a round."""
MATRIX_UP_TO = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vectors", type=int, default=100_000, help="for search")
    parser.add_argument("--autofaiss", type=Path, default=Path(sys.executable), help="a Python that has it")
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[5_000, 20_000, 110_000], help="photos with duplicates"
    )
    parser.add_argument("-o", "--out", type=Path, default=FOUND)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part is called {min(unknown)}; there are {', '.join(PARTS)}")
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            if part == "photos":
                photos(place, arguments.out, arguments.rounds)
            elif part == "search":
                search(place, arguments.out, arguments.vectors, arguments.rounds, autofaiss=arguments.autofaiss)
            else:
                duplicates(place, arguments.out, arguments.counts)


def photos(place: Path, out: Path, rounds: int) -> None:
    rows, goals = [], []
    for (arch, size), count in PHOTOS.items():
        network, model = network_and_model(arch, place / f"{arch}.onnx")
        paths = write_photos(place / f"{arch}-{size[0]}", count, size)
        taken = seconds_both_ways(network, model, paths, rounds=rounds)
        ratios = tuple(loop / ours for loop, ours in taken)
        what = f"{arch}, photos of {size[0]}×{size[1]}"
        loop, ours = (count / median(seconds) for seconds in zip(*taken, strict=True))
        rows.append([what, str(count), f"{loop:,.1f}", f"{ours:,.1f}", f"{median(ratios):.1f}"])
        goals.append(Goal(f"fc7 index ÷ photo by photo in torch: {what}", 5, ratios))
    heads = ("network and photos", "photos", "one by one, a second", "fc7 index, a second", "ratio")
    text = table(heads, rows)
    save(out, "peers-photos", text=text, goals=goals, packages=["torch", "onnxruntime", "pillow"])


def search(place: Path, out: Path, count: int, rounds: int, *, autofaiss: Path) -> None:
    built = {"fc7": peers_search.make(place, count)}
    theirs = peers_search.build_autofaiss(place, autofaiss) if peers_search.has_autofaiss(autofaiss) else None
    found = peers_search.rounds_of(place, autofaiss=autofaiss if theirs else None, rounds=rounds)
    kinds = {}
    if theirs is not None:
        built["autofaiss"], kinds["autofaiss"] = theirs["build"], theirs["kind"]
    rows = []
    for name, answers in found.items():
        typical = {key: median(one[key] for one in answers) for key in ("opened", "memory", "single", "batched")}
        kind = kinds.get(name, answers[0].get("kind", name))
        rows.append(
            [
                name if kind == name else f"{name}: {kind}",
                f"{built[name]:.0f}" if name in built else "",
                *(f"{typical[key]:,.0f}" for key in ("opened", "memory")),
                *(f"{typical[key]:,.2f}" for key in ("single", "batched")),
                f"{answers[0]['recall']:.3f}",
            ]
        )
    heads = ("way", "build, s", "opened, ms", "memory, MB", "one query, ms", "of 200 at once, ms", "recall@10")
    text = f"{count:,} vectors, {rounds} rounds, one thread, times of the CPU:\n\n" + table(heads, rows)
    if theirs is None:
        text += f"\n\nautofaiss is not installed for {autofaiss.name}, so it is not compared."
    ratios = tuple(
        product["single"] / ours["single"] for product, ours in zip(found[PRODUCT], found["fc7"], strict=True)
    )
    goal = Goal(f"NumPy product and Python sort ÷ fc7: a query among {count:,} photos", 100, ratios)
    save(out, "peers-search", text=text, goals=[goal], packages=["numpy", "faiss-cpu"])


def duplicates(place: Path, out: Path, counts: list[int]) -> None:
    rows = []
    for count in counts:
        folder = place / str(count)
        folder.mkdir()
        peers_duplicates.make(folder, count)
        ours = peers_duplicates.alone(peers_duplicates.OURS, folder)
        needed = peers_duplicates.matrix_bytes(count) / 1e6
        row = [f"{count:,}", f"{needed:,.0f}", "not run", "", f"{ours['cpu']:.1f}", f"{ours['memory']:,.0f}", ""]
        if count <= MATRIX_UP_TO:
            matrix = peers_duplicates.alone(peers_duplicates.MATRIX, folder)
            both = len({tuple(pair) for pair in ours["pairs"]} & {tuple(pair) for pair in matrix["pairs"]})
            row[2:4] = [f"{matrix['cpu']:.1f}", f"{matrix['memory']:,.0f}"]
            row[6] = f"{both / len(matrix['pairs']):.1%} of {len(matrix['pairs']):,}"
        rows.append(row)
        share = ours["memory"] / needed
    heads = (
        *("photos", "scores, MB, calculated", "n×n: CPU s", "n×n: memory, MB"),
        *("fc7: CPU s", "fc7: memory, MB", "pairs that fc7 finds too"),
    )
    goals = [Goal(f"memory of fc7 ÷ that of all scores, {counts[-1]:,} photos", 0.1, (share,), at_most=True)]
    save(out, "peers-duplicates", text=table(heads, rows), goals=goals, packages=["numpy", "faiss-cpu"])


if __name__ == "__main__":
    main()
