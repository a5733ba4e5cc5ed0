"""The claims of the lecture on convolutional networks, measured: one subcommand a claim, or `all`.

    python benchmarks/lecture/lecture.py all DATA -o runs/lecture --photos PHOTOS

DATA is a data set as `fc7 train` takes it, here Tiny-ImageNet-200; PHOTOS a folder of any photos of 192 pixels or more.
What was measured is kept in OUT/results.json and not measured again, so a run that was stopped goes on when it is
started again. It ends by printing its tables; --write puts them into docs/lecture.md instead. `averaged` goes on from
the networks of `parts`. With --unseen and -m `neighbours` measures classes that a network never saw; `all` has one
model, which saw them.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))  # what the benchmarks share

import lecture_tables
from lecture_geometry import move
from lecture_handmade import classify_by_hand, find_neighbours
from lecture_part import Part, read_part
from lecture_results import Results, Values
from lecture_summary import summary
from lecture_training import LONGEST, NETWORK, RECIPE, averaged, relu_and_tanh, with_and_without
from report import filled
from untrained import write_untrained

from index.errors import UserError
from retrieval.models.cost import model_cost
from retrieval.pipeline.machine import usable_cores
from training.networks.architectures import CONFIGS

PAGE = Path(__file__).parents[2] / "docs" / "lecture.md"
TABLES: Mapping[str, Callable[[Results], str]] = {
    "summary": summary,
    "setting": lecture_tables.setting,
    "relu": lecture_tables.relu,
    "parts": lecture_tables.parts,
    "averaged": lecture_tables.averaged,
    "handmade": lecture_tables.handmade,
    "neighbours": lecture_tables.neighbours,
    "cost": lecture_tables.cost,
    "maps": lecture_tables.maps,
    "responses": lecture_tables.responses,
    "machines": lecture_tables.machines,
}
"""By the name of its place in the page."""
CLAIMS = ("cost", "moved", "relu", "parts", "averaged", "neighbours", "handmade")


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    results = Results(arguments.out)
    wanted = CLAIMS if arguments.claim == "all" else (arguments.claim,)
    part: Part | None = None
    if {"relu", "parts", "averaged"} & set(wanted):
        part = read_part(arguments.data, classes=arguments.classes, each=arguments.pictures, size=NETWORK.resize)
    for claim in wanted:
        print(f"{claim} …", file=sys.stderr, flush=True)
        match claim:
            case "cost":
                results.measure("cost", {"threads": arguments.threads}, lambda: cost_of_2012(arguments.threads))
            case "moved" if not arguments.photos:
                sys.exit("moved needs photos to shift, turn and scale; name a folder with --photos")
            case "moved":
                move(results, arguments.model, arguments.photos)
            case "relu" if part:
                relu_and_tanh(part, results, seeds=arguments.seeds, most=min(LONGEST, 2 * arguments.epochs))
            case "parts" if part:
                with_and_without(part, results, seeds=arguments.seeds, epochs=arguments.epochs)
            case "averaged" if part:
                averaged(part, results, seeds=arguments.seeds)
            case "neighbours":
                find_neighbours(
                    results, arguments.data, arguments.model, unseen=arguments.unseen, most=arguments.queries
                )
            case "handmade":
                classify_by_hand(results, arguments.data, arguments.model, most=arguments.most)
    if arguments.write:
        write_page(arguments.write, results)
        print(f"written: {arguments.write}", file=sys.stderr)
    else:
        print(tables_of(results))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claim", choices=[*CLAIMS, "tables", "all"])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/lecture"))
    parser.add_argument("-m", "--model", type=Path, help="model that learned from DATA, instead of the built-in one")
    parser.add_argument("--photos", type=Path, help="photos to shift, turn and scale")
    parser.add_argument("--unseen", type=Path, help="neighbours: file with the classes that the model never saw")
    parser.add_argument("--classes", type=int, default=10, help="classes of DATA to train on")
    parser.add_argument("--pictures", type=int, default=400, help="pictures of each to learn from")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=50, help="neighbours: pictures of each class, at most")
    parser.add_argument("--most", type=int, default=100_000, help="handmade: training pictures, at most")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=PAGE,
        metavar="PAGE",
        help="write the tables into a page, by default docs/lecture.md, instead of printing them",
    )
    return parser.parse_args()


def cost_of_2012(threads: int) -> Values:
    """Measure the layers of the network of 2012 with 1,000 classes; its weights do not matter, so it is untrained."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_untrained(CONFIGS["alexnet"], Path(folder) / "alexnet.onnx")
        cost = model_cost(path, threads=threads)
    rows = [{**vars(layer), "output": list(layer.output)} for layer in (*cost.layers, cost.total)]
    return {"runs": cost.runs, "threads": cost.threads, "layers": rows}


def tables_of(results: Results) -> str:
    """Return the tables of what was measured, each under its name."""
    made = ((name, make(results)) for name, make in TABLES.items())
    return "\n\n".join(f"{name}\n\n{text}" for name, text in made if text != lecture_tables.MISSING)


def write_page(page: Path, results: Results) -> None:
    text = page.read_text("utf-8")
    for name, make in TABLES.items():
        text = filled(text, name, make(results))
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
