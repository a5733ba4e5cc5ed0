"""The commands that say what is in photos, and tell about models, indexes and this machine."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli_models import ensemble_options, model_options
from cli_options import (
    PATH,
    cache_folder,
    default_index,
    device_option,
    format_option,
    photos_argument,
    strict_option,
    top_option,
)
from cli_output import report_skipped, table_width, write

if TYPE_CHECKING:
    from index.records import SkippedPhoto
    from retrieval.ensemble import Ensemble
    from retrieval.model import Model


@click.command("classify", epilog="Example: fc7 classify ~/Pictures --format jsonl | head")
@photos_argument("PHOTO...")
@ensemble_options
@top_option(5, "names for each photo")
@format_option("table", "json", "jsonl", "csv")
@strict_option
def classify_command(photos: Sequence[Path], *, model: "Ensemble", top: int, format: str, strict: bool) -> None:
    """Name what is in photos.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input.
    """
    from retrieval.describe import describe_photos
    from retrieval.formats import format_predictions
    from retrieval.progress_bar import ProgressBar

    skipped: list[SkippedPhoto] = []
    with ProgressBar("Classifying", sys.stderr, hidden=sys.stdout.isatty()) as progress:
        described = describe_photos(model, photos, standard_input=sys.stdin.buffer, skipped=skipped, progress=progress)
        answers = ((str(photo.path), model.top_predictions(photo.probabilities, top)) for photo in described)
        write(format_predictions(answers, format, width=table_width()))
    report_skipped(skipped, named=photos, strict=strict)


@click.command("embed", epilog="Example: fc7 embed ~/Pictures -o pictures.npz")
@photos_argument("PATH...")
@model_options
@click.option("-o", "--out", required=True, type=PATH, help="File to write, .npz or .parquet.")
@click.option("--output", type=click.Choice(["embedding", "fc7"]), default="embedding", help="Which vector.")
@strict_option
def embed_command(photos: Sequence[Path], *, model: "Model", out: Path, output: str, strict: bool) -> None:
    """Write the vectors of photos to a file, their names beside them.

    PATH is a photo, a folder, searched with the folders below it, or - for a picture on standard input.
    """
    from retrieval.describe import describe_photos
    from retrieval.embeddings_file import NothingEmbeddedError, write_embeddings
    from retrieval.progress_bar import ProgressBar

    skipped: list[SkippedPhoto] = []
    with ProgressBar("Embedding", sys.stderr) as progress:
        described = describe_photos(model, photos, standard_input=sys.stdin.buffer, skipped=skipped, progress=progress)
        try:
            write_embeddings(out, ((str(photo.path), getattr(photo, output)) for photo in described))
        except NothingEmbeddedError:
            progress.clear()
            report_skipped(skipped, named=photos, strict=strict)
            raise
    report_skipped(skipped, named=photos, strict=strict)


@click.command("info", epilog="Example: fc7 info model.onnx")
@click.argument("file", required=False, type=PATH)
@click.option("--skipped", is_flag=True, help="List the photos that an index had to skip, and why.")
@click.option("--layers", is_flag=True, help="List the layers of a model: what each consists of, costs and takes.")
@format_option("table", "json")
def info_command(file: Path | None, *, skipped: bool, layers: bool, format: str) -> None:
    """Tell about a model, an index or this installation.

    FILE is a model file or the folder of an index. Without it: versions, and the devices that would really be used;
    with --skipped, the index of FC7_INDEX, or that in your data directory; with --layers, the built-in model.
    """
    if skipped and layers:
        raise click.UsageError("--skipped is about an index, --layers about a model; leave out one of them")
    if layers:
        from retrieval.layer_table import format_layers
        from retrieval.layers import model_cost

        write(format_layers(model_cost(file), format, width=table_width()))
        return

    from retrieval.facts import facts_of, installation_facts, skipped_in_index
    from retrieval.formats import format_facts, format_skipped

    if skipped:
        write(format_skipped(skipped_in_index(file or default_index()), format))
        return
    facts = installation_facts(default_index(), cache=cache_folder()) if file is None else facts_of(file)
    write(format_facts(facts, format))


@click.command("bench", epilog="Example: fc7 bench --photos ~/Pictures")
@click.argument("model", metavar="[MODEL]", required=False, type=PATH, envvar="FC7_MODEL")
@click.option(
    "--photos",
    type=PATH,
    metavar="FOLDER",
    show_default="those of the index of FC7_INDEX or in your data directory, or some made for it",
    help="Photos to measure with.",
)
@device_option
@format_option("table", "json")
def bench_command(model: Path | None, *, photos: Path | None, device: Any, format: str) -> None:
    """Measure how fast photos are indexed on this machine.

    MODEL is a model file, by default the built-in one. Each stage is measured by itself, then all of them together with
    several numbers of --workers and sizes of a batch. Takes about a minute; nothing is written but into a temporary
    folder.
    """
    from tempfile import TemporaryDirectory

    from retrieval.bench import enough_photos, measure, paces_to_try
    from retrieval.bench_photos import photos_to_measure
    from retrieval.bench_table import format_measured
    from retrieval.model import Model
    from retrieval.progress_bar import ProgressBar

    loaded = Model.load(model, device=device, threads=1)
    with TemporaryDirectory(prefix="fc7-bench-") as work, ProgressBar("Measuring", sys.stderr) as progress:
        source, found = photos_to_measure(photos, default_index(), Path(work))
        chosen = enough_photos(loaded, found)
        measured = measure(loaded, chosen, paces=paces_to_try(loaded), progress=progress)
    write(format_measured(measured, format, source=source, width=table_width()))
