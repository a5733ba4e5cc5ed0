"""The command line: each command parses its words, makes one call and prints what comes back.

Results go to stdout, progress and warnings to stderr. Whatever is heavy is imported inside the commands, so that
`fc7 --help` answers at once.
"""

import functools
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from index.errors import PhotoError, UserError
from training.recipe import RECIPES, option_defaults, recipe_options

if TYPE_CHECKING:
    from index.records import SkippedPhoto
    from retrieval.model import Model
    from retrieval.progress import Progress

Command = Callable[..., Any]
STANDARD_INPUT = Path("-")


class Fc7Group(click.Group):
    """Commands in the order of work; the one place where a UserError becomes `Error: …` and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        # A file name that is no valid text leaves as the bytes that it is.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted.", err=True)
            ctx.exit(130)


def default_index() -> Path:
    """The index in the user's data directory."""
    import platformdirs

    return platformdirs.user_data_path("fc7", appauthor=False) / "index"


def photos_argument(name: str, metavar: str) -> Callable[[Command], Command]:
    return click.argument(
        name, metavar=metavar, nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True)
    )


def model_options(command: Command) -> Command:
    """Add -m, --device and --threads; the command is called with the loaded `model` in their stead."""

    @click.option(
        "-m",
        "--model",
        type=click.Path(path_type=Path),
        envvar="FC7_MODEL",
        show_envvar=True,
        show_default="the built-in one",
        help="Model file (.onnx).",
    )
    @click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where the model runs.")
    @click.option("--threads", type=click.IntRange(min=1), show_default="all cores", help="Threads the model runs on.")
    @functools.wraps(command)
    def with_model(*args: Any, model: Path | None, device: Any, threads: int | None, **options: Any) -> Any:
        from retrieval.model import Model

        return command(*args, model=Model.load(model, device=device, threads=threads), **options)

    return with_model


def index_option(command: Command) -> Command:
    return click.option(
        "--index",
        "index",
        type=click.Path(path_type=Path),
        default=default_index,
        envvar="FC7_INDEX",
        show_envvar=True,
        show_default="in your data directory",
        help="Folder that holds the index.",
    )(command)


def top_option(default: int, what: str) -> Callable[[Command], Command]:
    return click.option("-k", "--top", type=click.IntRange(min=1), default=default, help=f"How many {what}.")


def format_option(*formats: str) -> Callable[[Command], Command]:
    return click.option("--format", "format", type=click.Choice(formats), default=formats[0], help="How to print.")


def strict_option(command: Command) -> Command:
    return click.option("--strict", is_flag=True, help="Fail if any photo had to be skipped.")(command)


def recipe_flags(command: Command) -> Command:
    """Add one option for each value of a Recipe; what the user does not give stays None."""
    for name, annotation, text in reversed(recipe_options()):
        flag = "--" + name.replace("_", "-")
        choices = get_args(annotation)
        command = click.option(
            f"{flag}/--no-{flag[2:]}" if annotation is bool else flag,
            default=None,
            type=click.Choice(choices) if choices else annotation,
            show_default=False,
            help=f"{text}  [{option_defaults(name)}]",
        )(command)
    return command


def sources(photos: Sequence[Path]) -> list[Path | bytes]:
    """The photos, with what comes on standard input in the place of -."""
    return [sys.stdin.buffer.read() if photo == STANDARD_INPUT else photo for photo in photos]


def write(pieces: Iterable[str]) -> None:
    for piece in pieces:
        click.echo(piece, nl=False)


def table_width() -> int | None:
    """The terminal's columns; None where stdout is none, and nothing is to be shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextmanager
def progress_bar(label: str, *, hidden: bool = False) -> Iterator["Progress"]:
    """A bar on stderr where that is a terminal; update it with `progress(done, total)`."""
    with click.progressbar(
        length=0, label=label, file=sys.stderr, show_pos=True, hidden=hidden or not sys.stderr.isatty()
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield progress


def report_skipped(skipped: Sequence["SkippedPhoto"], *, named: Sequence[Path] = (), strict: bool) -> None:
    """List skipped photos; raises PhotoError if there is one that was named itself, or any under --strict."""
    from retrieval.formats import printable

    for photo in skipped:
        click.echo(f"Skipped {printable(str(photo.path))}: {photo.reason}", err=True)
    if skipped and (strict or {photo.path for photo in skipped} & set(named)):
        raise PhotoError(f"{len(skipped)} photo{'s' * (len(skipped) > 1)} could not be read, for the reasons above")


@click.group(
    cls=Fc7Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "FC7",
        "show_default": True,
        "max_content_width": 100,
    },
    epilog="Example: fc7 classify photo.jpg",
)
@click.version_option(package_name="fc7", message="%(prog)s %(version)s")
def main() -> None:
    """Name what is in your photos, and find the ones that look alike.

    Every option can also be set by an environment variable, FC7_<COMMAND>_<OPTION>: FC7_SEARCH_TOP=20.
    """


@main.command("classify", epilog="Example: fc7 classify ~/Pictures --format jsonl | head")
@photos_argument("photos", "PHOTO...")
@model_options
@top_option(5, "names for each photo")
@format_option("table", "json", "jsonl", "csv")
@strict_option
def classify_command(photos: Sequence[Path], *, model: "Model", top: int, format: str, strict: bool) -> None:
    """Name what is in photos.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input.
    """
    from retrieval.describe import describe_photos
    from retrieval.formats import format_predictions

    skipped: list[SkippedPhoto] = []
    with progress_bar("Classifying", hidden=sys.stdout.isatty()) as progress:
        described = describe_photos(model, sources(photos), skipped=skipped, progress=progress)
        answers = ((str(photo.path), model.top_predictions(photo.probabilities, top)) for photo in described)
        write(format_predictions(answers, format, width=table_width()))
    report_skipped(skipped, named=photos, strict=strict)


@main.command("index", epilog="Example: fc7 index ~/Pictures")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@model_options
@index_option
@strict_option
def index_command(folders: Sequence[Path], *, model: "Model", index: Path, strict: bool) -> None:
    """Make folders of photos searchable, or bring their index up to date.

    Only photos that are new or changed are looked at. Nothing is ever written into a photo folder.
    """
    from index.photo_index import PhotoIndex
    from retrieval.formats import format_reports
    from retrieval.indexing import index_folders

    spec = model.spec
    with (
        PhotoIndex.open_for_writing(
            index, fingerprint=spec.fingerprint, model_name=spec.name, dim=spec.dim
        ) as photo_index,
        progress_bar("Indexing") as progress,
    ):
        reports = index_folders(photo_index, model, folders, progress=progress)
    write(format_reports(reports, width=table_width()))
    report_skipped([photo for report in reports for photo in report.skipped], strict=strict)


@main.command("search", epilog="Example: fc7 search photo.jpg -k 20 -0 | xargs -0 cp -t found")
@photos_argument("photos", "PHOTO...")
@model_options
@index_option
@top_option(10, "results for each photo")
@click.option("--min-score", type=click.FloatRange(-1, 1), help="Leave out results below this; 1 is the same picture.")
@format_option("table", "json", "jsonl", "csv", "paths")
@click.option("-0", "--null", is_flag=True, help="Print paths, each ended by a NUL, as xargs -0 takes them.")
@strict_option
def search_command(
    photos: Sequence[Path],
    *,
    model: "Model",
    index: Path,
    top: int,
    min_score: float | None,
    format: str,
    null: bool,
    strict: bool,
) -> None:
    """Find the indexed photos that look most like PHOTO.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input.
    """
    from index.photo_index import PhotoIndex
    from retrieval.describe import describe_photos
    from retrieval.formats import format_results

    skipped: list[SkippedPhoto] = []
    with PhotoIndex.open(index, fingerprint=model.spec.fingerprint) as photo_index:
        answers = (
            (str(photo.path), photo_index.search(photo.embedding[None], top, min_score=min_score)[0])
            for photo in describe_photos(model, sources(photos), skipped=skipped)
        )
        end = "\0" if null else "\n"
        write(format_results(answers, "paths" if null else format, width=table_width(), end=end))
    report_skipped(skipped, named=photos, strict=strict)


@main.command("embed", epilog="Example: fc7 embed ~/Pictures -o pictures.npz")
@photos_argument("photos", "PATH...")
@model_options
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="File to write, .npz or .parquet.")
@click.option("--output", type=click.Choice(["embedding", "fc7"]), default="embedding", help="Which vector.")
@strict_option
def embed_command(photos: Sequence[Path], *, model: "Model", out: Path, output: str, strict: bool) -> None:
    """Write the vectors of photos to a file, their names beside them.

    PATH is a photo, a folder, searched with the folders below it, or - for a picture on standard input.
    """
    from retrieval.describe import describe_photos
    from retrieval.embeddings_file import write_embeddings

    skipped: list[SkippedPhoto] = []
    with progress_bar("Embedding") as progress:
        described = describe_photos(model, sources(photos), skipped=skipped, progress=progress)
        write_embeddings(out, ((str(photo.path), getattr(photo, output)) for photo in described))
    report_skipped(skipped, named=photos, strict=strict)


@main.command("train", epilog="Example: fc7 train tiny-imagenet-200 -o runs/tiny --arch alexnet-64 --epochs 16")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--arch", type=click.Choice(list(RECIPES)), default="alexnet-64", help="Which network.")
@click.option("--resume", is_flag=True, help="Go on where the run in this folder stopped.")
@recipe_flags
def train_command(data: Path, *, out: Path, arch: str, resume: bool, **values: Any) -> None:
    """Learn a network from labelled pictures.

    DATA has one folder of pictures for each class, or train/ and val/ with such folders. Ctrl-C saves the run first.
    """


@main.command("evaluate", epilog="Example: fc7 evaluate tiny-imagenet-200/val -m model.onnx")
@click.argument("data", type=click.Path(path_type=Path))
@model_options
@click.option("--csv", "csv", type=click.Path(path_type=Path), help="Also write a line for each picture to this file.")
@format_option("table", "json")
def evaluate_command(data: Path, *, model: "Model", csv: Path | None, format: str) -> None:
    """Measure how well a model names and finds labelled pictures."""


@main.command("export", epilog="Example: fc7 export runs/tiny/best.pt -o tiny.onnx")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Model file to write (.onnx).")
def export_command(checkpoint: Path, *, out: Path) -> None:
    """Write a trained network as one model file, proven to answer as the network does."""


@main.command("info", epilog="Example: fc7 info model.onnx")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@format_option("table", "json")
def info_command(file: Path | None, *, format: str) -> None:
    """Tell about a model, an index or this installation.

    FILE is a model file or the folder of an index. Without it: versions, and the devices that would really be used.
    """
    from retrieval.facts import facts_of, installation_facts
    from retrieval.formats import format_facts

    write(format_facts(installation_facts(default_index()) if file is None else facts_of(file), format))
