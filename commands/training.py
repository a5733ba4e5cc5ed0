"""The commands that train a network and measure how good one is; commands/models.py writes model files of others."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.interrupt import INTERRUPTED, starting
from commands.model_options import ensemble_options
from commands.options import LOCAL_PATH, PATH, device_option, format_option, recipe_flags, shape_flags
from commands.streams import report_skipped, table_width, warn, write
from index.errors import UserError
from training.loop.recipe import RECIPES
from training.networks.architectures import CONFIGS

if TYPE_CHECKING:
    from retrieval.models.ensemble import Ensemble
    from retrieval.models.model import Model


@contextmanager
def errors_told_by(first: bool) -> Iterator[None]:
    """Let one process of several report the error that all of them stop for."""
    try:
        yield
    except UserError:
        if first:
            raise
        raise click.exceptions.Exit(1) from None


def check_data(
    data: Sequence[Path], unlabelled: Sequence[Path], weights: Sequence[tuple[Path, float]], *, labels_needed: bool
) -> None:
    """Refuse folders that are missing, of no use, or weighted without being named. Raises UsageError."""
    if not data and not unlabelled:
        raise click.UsageError("name DATA, the training pictures")
    if unlabelled and labels_needed:
        raise click.UsageError(
            "--unlabelled is for a teacher, who knows what is in the photos; name one with --teacher"
        )
    if strange := [str(folder) for folder, _ in weights if folder not in (*data, *unlabelled)]:
        raise click.UsageError(
            f"--weight names no folder to learn from: {', '.join(strange)}; write it as in DATA or --unlabelled"
        )


def check_head(data: Sequence[Path], start: Path | None, given: Sequence[str]) -> None:
    """Refuse what makes no sense for a last layer alone. Raises UsageError."""
    if not data:
        raise click.UsageError("name DATA, the pictures to learn from")
    if start is None:
        raise click.UsageError("--head learns the last layer of a model; name the model with --from, or builtin")
    if given:
        raise click.UsageError(f"--head learns the last layer alone; leave out --{given[0].replace('_', '-')}")


def train_last_layer(
    data: Sequence[Path], out: Path, start: Path, *, names: Path | None, seed: int, device: Any, add: bool
) -> None:
    """Learn a last layer, without torch, and tell how good it is."""
    with starting():
        from commands.training_report import TerminalReport, summary
        from training.data.sources import Source
        from training.head.train_head import train_head

    with TerminalReport(sys.stderr) as report:
        sources = [Source(folder) for folder in data]
        result = train_head(sources, out, start, report=report, names=names, seed=seed, device=device, add=add)
    write(f"{line}\n" for line in summary(result))


@click.command("train", epilog="Example: fc7 train tiny-imagenet-200 -o runs/tiny --epochs 16")
@click.argument("data", metavar="DATA...", nargs=-1, type=PATH)
@click.option("-o", "--out", required=True, type=LOCAL_PATH, help="Folder of the run.")
@click.option(
    "--arch",
    type=click.Choice(list(RECIPES)),
    show_default="alexnet-64; with --teacher alexnet-128",
    help="Which network.",
)
@click.option(
    "--from",
    "start",
    type=PATH,
    envvar="FC7_TRAIN_FROM",
    help="Model or checkpoint to start from, or builtin: the last layer is learned first, then all, if that gains.",
)
@click.option(
    "--head",
    is_flag=True,
    help="With --from: learn the last layer alone, in seconds. Any model file will do; the recipe below is not used.",
)
@click.option(
    "--add",
    is_flag=True,
    help="With --head, from a model that it made: keep its classes, and add those of DATA, one or more, to them.",
)
@click.option("--resume", is_flag=True, help="Resume the run in this folder where it stopped.")
@click.option(
    "--teacher", type=PATH, envvar="FC7_TRAIN_TEACHER", help="Model to learn from: what it says of the pictures."
)
@click.option(
    "--unlabelled",
    metavar="FOLDER",
    multiple=True,
    type=PATH,
    help="More photos for the teacher, whose folders are no classes.",
)
@click.option(
    "--weight",
    "weights",
    metavar="FOLDER TIMES",
    nargs=2,
    envvar="FC7_TRAIN_WEIGHT",
    multiple=True,
    type=(PATH, click.FloatRange(0, 100, min_open=True)),
    help="How often an epoch draws each picture of one of the folders.  [default: 1]",
)
@click.option(
    "--cache", type=LOCAL_PATH, help="Folder to keep decoded pictures and the teacher's answers in, for later runs."
)
@click.option("--names", type=PATH, help="File with a line for each class: WordNet id, tab, name.")
@device_option
@click.option("--compile/--no-compile", default=False, help="Compile each step, which takes a minute first.")
@shape_flags
@recipe_flags
def train_command(
    data: tuple[Path, ...],
    *,
    out: Path,
    arch: str | None,
    start: Path | None,
    head: bool,
    add: bool,
    resume: bool,
    teacher: Path | None,
    unlabelled: tuple[Path, ...],
    weights: tuple[tuple[Path, float], ...],
    cache: Path | None,
    names: Path | None,
    device: str,
    compile: bool,
    shape: dict[str, Any],
    **values: Any,
) -> None:
    """Learn a network from labelled pictures, or from a teacher, and write it as a model file.

    DATA has one folder of pictures for each class, or tar shards, or train/ and val/ with such. With --teacher it may
    be any folder of photos. Ctrl-C saves the run first.

    On several GPUs: torchrun --no-python --nproc-per-node GPUS fc7 train DATA -o RUN
    """
    if head:
        others = {"arch": arch, "teacher": teacher, "unlabelled": unlabelled, "weight": weights, "cache": cache}
        given = [name for name, value in (others | {"resume": resume, "compile": compile}).items() if value]
        given += [name.strip("-") for name in shape] + [name for name in values if values[name] is not None]
        check_head(data, start, [name for name in given if name != "seed"])
        assert start is not None
        train_last_layer(data, out, start, names=names, seed=values["seed"] or 0, device=device, add=add)
        return
    if add:
        raise click.UsageError("--add goes with --head and --from, which name the model that is added to")
    fixed = [arch, start, teacher, names, cache, *shape, *weights]
    fixed += [values[name] for name in values if name != "epochs"]
    if resume and any(value is not None for value in fixed):
        raise click.UsageError("--resume keeps the recipe of the run; only --epochs may be given with it")
    check_data(data, unlabelled, weights, labels_needed=not teacher and not resume)
    if teacher and names:
        raise click.UsageError("a teacher brings the names of its classes; leave out --names, or give it to fc7 export")
    if start and values["mean"]:
        raise click.UsageError("--from brings what is subtracted from pictures with it; leave out --mean")
    # What of a picture is shown is no part of the weights; but the head alone is learned as the start shows them.
    if start and (fixed_by_start := [name for name in shape if name != "squash" or not teacher]):
        raise click.UsageError(f"--from brings the network's shape with it; leave out --{fixed_by_start[0]}")

    with starting():
        from commands.training_report import TerminalReport, summary
        from training.data.sources import Source
        from training.loop.distributed import joined_processes
        from training.loop.hardware import choose_hardware
        from training.loop.report import SilentReport
        from training.loop.run import first_recipe, train
        from training.loop.run import resume as resume_run
        from training.pretrained.fine_tuning import read_pretrained

    times = dict(weights)
    sources = [Source(folder, times.get(folder, 1.0)) for folder in data]
    sources += [Source(folder, times.get(folder, 1.0), labelled=False) for folder in unlabelled]
    with (
        joined_processes(device) as processes,
        errors_told_by(processes.is_main),
        TerminalReport(sys.stderr) if processes.is_main else nullcontext(SilentReport()) as report,
    ):
        hardware = processes.together(lambda: choose_hardware(device, processes=processes, compiled=compile))
        if resume:
            result = resume_run(sources, out, hardware=hardware, report=report, epochs=values["epochs"])
        else:
            initial = processes.together(lambda: read_pretrained(start) if start else None)
            recipe = first_recipe(arch=arch, start=initial, teacher=teacher is not None).changed(arch=arch, **values)
            result = train(
                sources,
                out,
                recipe,
                hardware=hardware,
                report=report,
                config=(initial.config if initial else CONFIGS[recipe.arch]).changed(**shape) if shape else None,
                start=initial,
                start_file=start,
                fit_batch=values["batch_size"] is None,
                fit_rate=values["lr"] is None,
                names=names,
                teacher=teacher,
                cache=cache,
            )
    if result.spec is None:
        more = [part for folder in unlabelled for part in ("--unlabelled", str(folder))]
        command = shlex.join(["fc7", "train", *map(str, data), *more, "-o", str(out), "--resume"])
        report.note(f"Stopped and saved. Resume with: {command}")
        raise click.exceptions.Exit(INTERRUPTED)
    if processes.is_main:
        write(f"{line}\n" for line in summary(result))


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

    from commands.progress_bar import ProgressBar
    from commands.tables import format_facts, format_pictures
    from index.files import output_file
    from retrieval.evaluation.evaluate import Evaluation, evaluate, evaluate_neighbours
    from retrieval.info import evaluation_facts
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
        if pictures is not None:
            raise UserError("--csv lists names, and none of these classes is among the model's", hint="leave it out")
        if not neighbours:
            warn(f"{model.spec.name} knows none of the classes in {data}: only neighbours are measured.")
    if learned:
        click.echo(
            f"{len(split)} pictures are measured; {learned} are left out: the model learned from them.", err=True
        )
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


def evaluate_boxes(data: Path, *, model: "Model", boxes: Path, format: str) -> None:
    """Measure localisation and print it."""
    from commands.progress_bar import ProgressBar
    from commands.tables import format_facts
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
