"""The command that trains a network; commands/importing.py makes model files of others."""

import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from commands.interrupt import INTERRUPTED, starting
from commands.options import device_option, recipe_flags, shape_flags
from commands.parameter_types import LOCAL_PATH, PATH, NumberRange
from commands.streams import write
from index.errors import UserError
from training.loop.recipe import RECIPES


def check_head(
    data: Sequence[Path],
    start: Path | None,
    others: Mapping[str, object],
    shape: Mapping[str, object],
    values: Mapping[str, object],
) -> None:
    """Refuse what makes no sense for a last layer alone: `others` are further options. Raises UsageError."""
    if not data:
        raise click.UsageError("name DATA, the pictures to learn from")
    if start is None:
        raise click.UsageError("--head learns the last layer of a model; name the model with --from, or builtin")
    given = [name for name, value in others.items() if value] + [name.strip("-") for name in shape]
    given += [name for name, value in values.items() if value is not None and name != "seed"]
    if given:
        raise click.UsageError(f"--head learns the last layer alone; leave out --{given[0].replace('_', '-')}")


def check_resume(others: Iterable[object], values: Mapping[str, object]) -> None:
    """Refuse another recipe for a run that is resumed. Raises UsageError."""
    fixed = [*others, *(value for name, value in values.items() if name != "epochs")]
    if any(value is not None for value in fixed):
        raise click.UsageError("--resume keeps the recipe of the run; only --epochs may be given with it")


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


def check_start(
    start: Path | None, teacher: Path | None, names: Path | None, shape: Collection[str], mean: object
) -> None:
    """Refuse what a teacher, or the network to start from, brings with it. Raises UsageError."""
    if teacher and names:
        raise click.UsageError("a teacher brings the names of its classes; leave out --names, or give it to fc7 export")
    if start and mean:
        raise click.UsageError("--from brings what is subtracted from pictures with it; leave out --mean")
    # What of a picture is shown is no part of the weights; but the head alone is learned as the start shows them.
    if start and (fixed := [name for name in shape if name != "squash" or not teacher]):
        raise click.UsageError(f"--from brings the network's shape with it; leave out --{fixed[0]}")


@contextmanager
def errors_told_by(first: bool) -> Iterator[None]:
    """Let one process of several report the error that all of them stop for."""
    try:
        yield
    except UserError:
        if first:
            raise
        raise click.exceptions.Exit(1) from None


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


def train_network(
    data: Sequence[Path],
    out: Path,
    *,
    unlabelled: Sequence[Path],
    weights: Mapping[Path, float],
    resume: bool,
    device: Any,
    compiled: bool,
    **asked: Any,
) -> None:
    """Train in this process, or with those that torchrun started; the first of them tells how good the network is.

    `asked` is what a new run is made of, as `train_new` has it.
    """
    with starting():
        from commands.training_report import TerminalReport, summary
        from training.data.sources import Source
        from training.loop.distributed import joined_processes
        from training.loop.hardware import choose_hardware
        from training.loop.new_run import train_new
        from training.loop.report import SilentReport
        from training.loop.run import resume as resume_run

    sources = [Source(folder, weights.get(folder, 1.0)) for folder in data]
    sources += [Source(folder, weights.get(folder, 1.0), labelled=False) for folder in unlabelled]
    with (
        joined_processes(device) as processes,
        errors_told_by(processes.is_main),
        TerminalReport(sys.stderr) if processes.is_main else nullcontext(SilentReport()) as report,
    ):
        hardware = processes.together(lambda: choose_hardware(device, processes=processes, compiled=compiled))
        if resume:
            epochs = asked["changes"]["epochs"]
            result = resume_run(sources, out, hardware=hardware, report=report, epochs=epochs)
        else:
            result = train_new(sources, out, hardware=hardware, report=report, **asked)
    if result.spec is None:
        more = [part for folder in unlabelled for part in ("--unlabelled", str(folder))]
        command = shlex.join(["fc7", "train", *map(str, data), *more, "-o", str(out), "--resume"])
        report.note(f"Stopped and saved. Resume with: {command}")
        raise click.exceptions.Exit(INTERRUPTED)
    if processes.is_main:
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
    help="Model or checkpoint to start from, or builtin: the last layer is learned first, then all, if that gains. "
    "With --teacher all layers learn at once, and classes that it knows keep their last layer.",
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
    type=(PATH, NumberRange(0, 100, min_open=True)),
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
        check_head(data, start, others | {"resume": resume, "compile": compile}, shape, values)
        assert start is not None
        train_last_layer(data, out, start, names=names, seed=values["seed"] or 0, device=device, add=add)
        return
    if add:
        raise click.UsageError("--add goes with --head and --from, which name the model that is added to")
    if resume:
        check_resume([arch, start, teacher, names, cache, *shape, *weights], values)
    check_data(data, unlabelled, weights, labels_needed=not teacher and not resume)
    check_start(start, teacher, names, shape, values["mean"])
    train_network(
        data,
        out,
        unlabelled=unlabelled,
        weights=dict(weights),
        resume=resume,
        device=device,
        compiled=compile,
        arch=arch,
        start=start,
        teacher=teacher,
        shape=shape,
        changes=values,
        names=names,
        cache=cache,
    )
