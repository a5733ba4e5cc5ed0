"""The commands for photos, without an index: classify, embed."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.model_options import ensemble_options, model_options
from commands.options import format_option, index_option, photos_argument, strict_option, top_option
from commands.parameter_types import LOCAL_PATH, IndexPlace
from commands.pictures import Pictures, picture_options
from commands.streams import read_standard_input, report_incomplete, report_skipped, standard_input, warn, write
from index.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from index.milvus.place import IndexLocation
    from index.records import IncompletePhoto, Prediction, SkippedPhoto
    from retrieval.models.ensemble import Ensemble
    from retrieval.models.model import Model


@click.command("classify", epilog="Example: fc7 classify ~/Pictures --format jsonl | head")
@photos_argument("PHOTO...")
@ensemble_options(few=True)
@top_option(5, "names for each photo")
@click.option(
    "--labels",
    metavar="WORDS",
    help="Name by these words, with commas between, not by the model's classes; it needs a text half.",
)
@click.option("--flat", is_flag=True, help="Give the bare classes alone, sure or not.")
@click.option("--prompt", show_default="a photo of a {}", help="Sentence that each of --labels is put into, at {}.")
@format_option("table", "json", "jsonl", "csv")
@click.option(
    "--index",
    "index",
    type=IndexPlace(remote=False),
    envvar="FC7_CLASSIFY_INDEX",
    help="Name the labels too that this index was taught (fc7 label), by its model.",
)
@picture_options("picture", "Draw the photos with their names as bars, guesses with a question mark")
@strict_option
def classify_command(
    photos: Sequence[Path],
    *,
    model: "Ensemble",
    top: int,
    labels: str | None,
    prompt: str | None,
    flat: bool,
    format: str,
    index: Path | None,
    pictures: Pictures,
    strict: bool,
) -> None:
    """Name what is in photos.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input.

    Where no class has 50 %, the most specific WordNet term that has comes first, such as "dog" before breeds of dog,
    and the classes are marked with a question mark. JSON has both, as "terms" and "predictions"; CSV has classes alone.
    """
    from commands.photo_tables import format_predictions
    from commands.progress_bar import ProgressBar
    from commands.terminal import style_of
    from retrieval.answers import Classification
    from retrieval.models.zero_shot import naming
    from retrieval.pipeline.embed import embed_paths
    from retrieval.searching.terms import Terms

    words = () if labels is None else tuple(label.strip() for label in labels.split(","))
    namer = naming(model, words, prompt=prompt)
    terms = None if flat or format == "csv" else Terms(namer.spec)
    skipped: list[SkippedPhoto] = []
    incomplete: list[IncompletePhoto] = []
    drawn: list[Classification] = []
    piped = read_standard_input(photos) if pictures.wanted else None
    with ExitStack() as resources:
        progress = resources.enter_context(ProgressBar("Classifying", sys.stderr, hidden=sys.stdout.isatty()))
        own = resources.enter_context(own_labels(index, model.spec.fingerprint))
        described = embed_paths(
            namer,
            photos,
            standard_input=standard_input(piped),
            skipped=skipped,
            incomplete=incomplete,
            progress=progress,
        )

        answers = (
            Classification(
                photo.path,
                (*own(photo.embedding), *namer.top_predictions(photo.probabilities, top)),
                None if terms is None else terms.likely(photo.probabilities),
            )
            for photo in described
        )
        write(format_predictions(pictures.keep(answers, drawn), format, style=style_of()))
    report_incomplete(incomplete)
    if drawn:
        from retrieval.figures.answers import classified_rows

        pictures.show(classified_rows(drawn, namer.spec.classes, standard_input=piped))
    report_skipped(skipped, named=photos, strict=strict)


@contextmanager
def own_labels(
    index: Path | None, fingerprint: str
) -> "Iterator[Callable[[NDArray[np.float32]], Sequence[Prediction]]]":
    """Yield what names the labels that an index was taught by an embedding (dim,); without an index, none."""
    if index is None:
        yield lambda _: ()
        return

    from index.photo_index import PhotoIndex
    from retrieval.searching.own_labels import own_predictions

    with PhotoIndex.open(index, fingerprint=fingerprint) as opened:
        yield partial(own_predictions, opened)


@click.command("embed", epilog="Example: fc7 embed ~/Pictures -o pictures.npz")
@photos_argument("PATH...")
@model_options
@click.option("-o", "--out", required=True, type=LOCAL_PATH, help="File to write, .npz or .parquet.")
@click.option("--output", type=click.Choice(["embedding", "fc7"]), default="embedding", help="Which vector.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@partial(index_option, remote=True)
@click.option("--recompute", is_flag=True, help="Compute also those that the index has.")
@strict_option
def embed_command(
    photos: Sequence[Path],
    *,
    model: "Model",
    out: Path,
    output: str,
    force: bool,
    index: "IndexLocation",
    recompute: bool,
    strict: bool,
) -> None:
    """Write the vectors of photos to a file, their names beside them.

    PATH is a photo, a folder, searched with the folders below it, or - for a picture on standard input.

    An .npz has the array embeddings, a row for each photo, and names, the bytes of all names with a zero byte between:
    bytes(file["names"]).decode().split("\\0") in Python. A .parquet has the columns name and embedding.

    Embeddings of photos that are in the index and have not changed are taken from there, as float16.
    """
    from commands.progress_bar import ProgressBar
    from retrieval.pipeline.embeddings_file import NothingEmbeddedError, write_embeddings
    from retrieval.pipeline.reuse import index_to_reuse, named_vectors

    if os.path.isfile(out) and not force:
        raise UserError(f"there is a file {out} already", hint="--force overwrites it")
    skipped: list[SkippedPhoto] = []
    incomplete: list[IncompletePhoto] = []
    reused: list[Path] = []
    known, reason = (None, "") if recompute else index_to_reuse(index, model, photos, output=output)
    with ProgressBar("Embedding", sys.stderr) as progress, known or nullcontext():
        vectors = named_vectors(
            known,
            model,
            photos,
            output=output,
            skipped=skipped,
            incomplete=incomplete,
            reused=reused,
            standard_input=sys.stdin.buffer,
            progress=progress,
        )
        try:
            count = write_embeddings(out, ((str(path), vector) for path, vector in vectors))
        except NothingEmbeddedError:
            progress.clear()
            report_skipped(skipped, named=photos, strict=strict)
            raise
    if reused:
        warn(f"{len(reused):,} of {count:,} vectors are those of the index in {index}; --recompute computes all")
    elif reason:
        warn(f"All were computed: {reason}.")
    report_incomplete(incomplete)
    report_skipped(skipped, named=photos, strict=strict)
