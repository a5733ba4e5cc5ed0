"""The flags that commands of the command line share; commands/model_options.py has those that load a model.

Whatever is heavy is imported inside: `fc7 --help` imports this module.
"""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from commands.parameter_types import PATH, AnyPath, IndexPlace, Label, NumberRange
from index.errors import OptionError

if TYPE_CHECKING:
    from training.loop.options import Option

Command = Callable[..., Any]
MOST_THREADS = 1024


def default_index() -> Path:
    """The folder of the index that FC7_INDEX names, or of the one in the user's data directory."""
    if (named := os.environ.get("FC7_INDEX")) and not named.startswith("milvus+"):
        return Path(named)
    import platformdirs

    return platformdirs.user_data_path("fc7", appauthor=False) / "index"


def cache_folder() -> Path:
    """The folder for downloads, and for what takes time to compute again."""
    import platformdirs

    return platformdirs.user_cache_path("fc7", appauthor=False)


def completed_by(name: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return what completes the value of an option in the shell: a function of commands/completion.py."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Any:

        return getattr(import_module("commands.completion"), name)(context, parameter, incomplete)

    return complete


def photos_argument(metavar: str, *, required: bool = True) -> Callable[[Command], Command]:
    return click.argument("photos", metavar=metavar, nargs=-1, required=required, type=AnyPath(allow_dash=True))


def device_option(command: Command) -> Command:
    return click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to compute."
    )(command)


def index_option(command: Command, *, remote: bool = False) -> Command:
    """Add --index; with `remote` it can be in Milvus."""
    return click.option(
        "--index",
        "index",
        type=IndexPlace(remote=remote),
        default=default_index,
        envvar="FC7_INDEX",
        show_envvar=True,
        show_default="in your data directory",
        help="Folder that holds the index" + (", or its URL in Milvus." if remote else "."),
        shell_complete=completed_by("complete_indexes"),
    )(command)


def concurrency_options(command: Command) -> Command:
    """Add --workers, --batch-size and --memory, after a `model`; the command is called with `concurrency` instead."""

    @click.option(
        "--workers",
        type=click.IntRange(1, MOST_THREADS),
        show_default="one a core",
        help="Threads that decode photos and compute batches.",
    )
    @click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        show_default="16, on a GPU 64",
        help="Photos in a batch, at most.",
    )
    @click.option(
        "--memory",
        metavar="MIB",
        type=click.IntRange(min=1),
        show_default="a quarter of what there is",
        help="Memory for photos while they are decoded, over all threads; a larger photo is decoded alone.",
    )
    @functools.wraps(command)
    def with_pace(
        *args: Any, model: Any, workers: int | None, batch_size: int | None, memory: int | None, **options: Any
    ) -> Any:
        from retrieval.pipeline.executor import Concurrency

        concurrency = Concurrency.chosen(
            model, workers=workers, batch_size=batch_size, memory=None if memory is None else memory << 20
        )
        return command(*args, model=model, concurrency=concurrency, **options)

    return with_pace


def query_options(command: Command) -> Command:
    """Add the photos and options that make a `Query`; the command is called with `query` instead."""

    @photos_argument("[PHOTO]...", required=False)
    @click.option("--average", is_flag=True, help="Look for what all PHOTOs have in common.")
    @click.option(
        "--not",
        "unlike",
        metavar="PHOTO",
        multiple=True,
        type=PATH,
        envvar="FC7_SEARCH_NOT",
        help="Results should not look like it.",
    )
    @click.option(
        "--box",
        metavar="X,Y,W,H",
        callback=_box,
        help="Look at this region of PHOTO only, in pixels of the upright picture.",
    )
    @click.option("--detect", is_flag=True, help="Look at the main thing in PHOTO only; needs onnx.")
    @click.option("--mirror", is_flag=True, help="Average PHOTO with its mirror image.")
    @click.option(
        "--label",
        "labels",
        metavar="NAME",
        multiple=True,
        type=Label(),
        shell_complete=completed_by("complete_labels"),
        envvar="FC7_SEARCH_LABEL",
        help="Only photos of this; of any, if repeated. In FC7_SEARCH_LABEL with commas between.",
    )
    @click.option("--within", metavar="FOLDER", multiple=True, type=PATH, help="Only photos below this indexed folder.")
    @click.option(
        "--since",
        metavar="DATE",
        callback=_moment,
        help="Only photos taken then or later: 2019, 2019-07 or 2019-07-14.",
    )
    @click.option(
        "--until",
        "before",
        metavar="DATE",
        callback=_moment,
        envvar="FC7_SEARCH_UNTIL",
        help="Only photos taken then or earlier, all of that time.",
    )
    @top_option(10, "results for each photo")
    @click.option(
        "--min-score",
        type=NumberRange(-1, 1),
        help="Leave out results below this; 1 is the same picture. Without PHOTO, the least probability.",
    )
    @click.option(
        "--recall",
        type=NumberRange(0, 1, min_open=True),
        show_default="0.97",
        help="Share of the 10 best to find, on average, in a large index; 1 compares all photos.",
    )
    @click.option(
        "--collapse/--all-copies",
        "collapse",
        default=None,
        show_default="--collapse in tables, --all-copies in other formats",
        help="One result for files of the same bytes, and none for PHOTO itself; or all of them.",
    )
    @functools.wraps(command)
    def with_query(*args: Any, **options: Any) -> Any:
        from retrieval.searching.search import Query

        if options["collapse"] is None:
            options["collapse"] = options["format"] == "table" and not options["null"]
        query = Query(**{field.name: options.pop(field.name) for field in fields(Query) if field.name in options})
        if query.since and query.before and query.since >= query.before:
            raise click.UsageError("--since is later than --until, so no photo can be between them; swap them")
        about_photos = {"average": query.average, "not": query.unlike, "box": query.box}
        about_photos |= {"detect": query.detect, "mirror": query.mirror}
        if not query.photos and not query.labels:
            raise click.UsageError("name a PHOTO, or what to look for with --label")
        if not query.photos and (given := [f"--{name}" for name, value in about_photos.items() if value]):
            raise click.UsageError(f"{' and '.join(given)} without a PHOTO; name one")
        return command(*args, query=query, **options)

    return with_query


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    from retrieval.searching.dates import first_moment, moment_after

    if value is None:
        return None
    try:
        return first_moment(value) if parameter.name == "since" else moment_after(value)
    except OptionError as error:
        raise click.BadParameter(str(error)) from None


def _box(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    from retrieval.searching.query import Box

    try:
        return None if value is None else Box.parse(value)
    except ValueError:
        raise click.BadParameter(f"{value} is not x,y,w,h, in whole pixels from the upper left corner") from None


def top_option(default: int, what: str) -> Callable[[Command], Command]:
    return click.option("-k", "--top", type=click.IntRange(min=1), default=default, help=f"How many {what}.")


def format_option(*formats: str) -> Callable[[Command], Command]:
    return click.option("--format", "format", type=click.Choice(formats), default=formats[0], help="How to print.")


def consistency_option(command: Command) -> Command:
    return click.option(
        "--consistency",
        type=click.Choice(["strong", "bounded"]),
        show_default="bounded",
        help="In Milvus: strong sees all that was written before, bounded is faster and may miss the last seconds.",
    )(command)


def strict_option(command: Command) -> Command:
    return click.option("--strict", is_flag=True, help="Fail if any photo had to be skipped.")(command)


def recipe_flags(command: Command) -> Command:
    """Add one option for each value of a Recipe; what the user does not give stays None."""
    from training.loop.recipe import recipe_options

    return value_flags(recipe_options(), command)


def shape_flags(command: Command) -> Command:
    """Add one option for each value of a Shape; the command is called with `shape`, those that the user gives."""
    from training.networks.architectures import shape_options

    options = shape_options()

    @functools.wraps(command)
    def with_shape(*args: Any, **values: Any) -> Any:
        shape = {option.name: values.pop(option.name) for option in options}
        return command(*args, shape={name: value for name, value in shape.items() if value is not None}, **values)

    return value_flags(options, with_shape)


def value_flags(options: "Sequence[Option]", command: Command) -> Command:
    for name, annotation, text in reversed(options):
        flag = "--" + name.replace("_", "-")
        choices = get_args(annotation)
        command = click.option(
            f"{flag}/--no-{flag[2:]}" if annotation is bool else flag,
            default=None,
            type=click.Choice(choices) if choices else annotation,
            show_default=False,
            help=text,
        )(command)
    return command


def null_wants_paths(null: bool, format: str) -> None:
    """Raise UsageError where -0 is given together with a format that is not "paths"."""
    source = click.get_current_context().get_parameter_source("format")
    if null and format != "paths" and source is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"-0 prints paths, not {format}; leave out one of -0 and --format")
