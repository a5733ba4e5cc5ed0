"""The command that measures how good a model is."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.model_options import ensemble_options
from commands.options import format_option
from commands.parameter_types import PATH
from commands.streams import report_skipped, table_width, warn, write
from index.errors import UserError

if TYPE_CHECKING:
    from retrieval.models.ensemble import Ensemble
    from retrieval.models.model import Model
    from training.data.dataset import Split


@click.command("evaluate", epilog="Example: fc7 evaluate tiny-imagenet-200/val -m model.onnx --crops 10")
@click.argument("data", type=PATH)
@ensemble_options(few=False)
@click.option(
    "--csv",
    "pictures",
    envvar="FC7_EVALUATE_CSV",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a line for each picture to this file.",
)
@click.option(
    "--neighbours",
    is_flag=True,
    help="Measure only how well others of the same class are found, whether the model knows these classes or not.",
)
@click.option(
    "--boxes",
    metavar="FILE",
    type=PATH,
    help="Measure instead how well things are found in pictures; CSV: file,x_min,y_min,x_max,y_max.",
)
@format_option("table", "json")
def evaluate_command(
    data: Path, *, model: "Ensemble", pictures: Path | None, neighbours: bool, boxes: Path | None, format: str
) -> None:
    """Measure how well a model names labelled pictures, and finds others of the same class.

    DATA has one folder of pictures for each class, named by class or WordNet id; or it is a data set with a folder val.
    Pictures that the model learned from are left out where a part of a set was set aside in training. Where the model
    knows none of the classes, only neighbours are measured, as with --neighbours.

    With --boxes it is localisation that is measured, as ILSVRC does: a box is right if it overlaps the true one by half
    or more. "localised" also needs the right label among five, "located" is given the label; "whole" and "centre" are
    what the whole picture and the best box in its middle would reach. Needs onnx: pip install 'fc7[onnx]'.
    """
    if boxes is not None:
        if pictures is not None or neighbours or len(model.models) > 1 or model.crops > 1:
            raise click.UsageError("--boxes goes with one model, and without --crops, --csv and --neighbours")
        evaluate_boxes(data, model=model.models[0], boxes=boxes, format=format)
        return

    if neighbours and pictures is not None:
        raise click.UsageError("--csv lists names, and --neighbours measures none; leave out one of them")

    from commands.model_tables import format_facts
    from commands.photo_tables import format_pictures
    from commands.progress_bar import ProgressBar
    from index.files import output_file
    from retrieval.evaluation.evaluate import Evaluation, evaluate, evaluate_neighbours
    from retrieval.info import evaluation_facts

    split, known = pictures_to_judge(data, model, neighbours=neighbours, listed=pictures is not None)
    with ExitStack() as resources:
        table = resources.enter_context(output_file(pictures)) if pictures is not None else None
        with ProgressBar("Evaluating", sys.stderr) as progress:
            judge = evaluate if known else evaluate_neighbours
            evaluation = judge(model, split.paths, split.labels, progress=progress)
        if table is not None and isinstance(evaluation, Evaluation):
            table.writelines(line.encode("utf-8", "surrogateescape") for line in format_pictures(evaluation.results))
    # After the table is in its place: whoever reads what is printed may have gone.
    write(format_facts(evaluation_facts(evaluation), format, width=table_width()))
    report_skipped(evaluation.skipped)


def pictures_to_judge(data: Path, model: "Ensemble", *, neighbours: bool, listed: bool) -> "tuple[Split, bool]":
    """Return the pictures that no model learned from, and whether their classes are the model's.

    `listed`: their names are asked for. Raises UserError where there are none to list.
    """
    from training.data.dataset import scan_kinds, scan_unseen
    from training.errors import UnknownClassesError

    named = click.get_current_context().params["model"]
    known = not neighbours and bool(model.spec.classes)
    if known:
        try:
            split, learned = scan_unseen(data, model.specs, model=str(named[0]) if named else "builtin")
        except UnknownClassesError:
            known = False
    if not known:
        split, learned = scan_kinds(data, model.specs)
        if listed:
            raise UserError("--csv lists names, and none of these classes is among the model's", hint="leave it out")
        if not neighbours:
            warn(f"{model.spec.name} knows none of the classes in {data}: only neighbours are measured.")
    if learned:
        click.echo(
            f"{len(split)} pictures are measured; {learned} are left out: the model learned from them.", err=True
        )
    return split, known


def evaluate_boxes(data: Path, *, model: "Model", boxes: Path, format: str) -> None:
    """Measure localisation and print it."""
    from commands.model_tables import format_facts
    from commands.progress_bar import ProgressBar
    from retrieval.detection.convolutional import ScoreMaps
    from retrieval.detection.localisation import localise, read_boxes
    from retrieval.info import localisation_facts
    from training.data.dataset import scan_unseen

    known = read_boxes(boxes)
    split, _ = scan_unseen(data, [model.spec])
    maps = ScoreMaps.of(model.path, model.spec)
    with ProgressBar("Evaluating", sys.stderr) as progress:
        found = localise(maps, split.paths, split.labels, known, progress=progress)
    write(format_facts(localisation_facts(found), format))
    report_skipped(found.skipped)
