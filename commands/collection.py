"""The commands that keep an index of photos and find photos in it."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.model_options import index_model_options
from commands.options import (
    PATH,
    concurrency_options,
    format_option,
    index_option,
    null_wants_paths,
    query_options,
    strict_option,
)
from commands.streams import report_skipped, warn, write
from index.errors import PhotoError, PhotoIndexError

if TYPE_CHECKING:
    from index.records import SkippedPhoto
    from retrieval.indexing.index_folders import FolderReport
    from retrieval.models.model import Model
    from retrieval.pipeline.executor import Concurrency
    from retrieval.searching.search import Query


@click.command("index", epilog="Example: fc7 index ~/Pictures")
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=PATH)
@index_model_options(begins=True)
@concurrency_options
@click.option(
    "--rebuild", is_flag=True, help="Rebuild the index, of all its folders, with the built-in model or that of -m."
)
@click.option(
    "--kind",
    metavar="KIND",
    show_default="as before, auto at first",
    help="Kind of FAISS index: auto (by the number of photos), Flat, SQ8, IVF,SQ8 or HNSW.",
)
@click.option("--retry-skipped", is_flag=True, help="Try again what was skipped before, though it has not changed.")
@click.option("--watch", is_flag=True, help="Run until Ctrl-C, and update the index whenever its folders change.")
@strict_option
def index_command(
    folders: Sequence[Path],
    *,
    model: "Model",
    concurrency: "Concurrency",
    index: Path,
    rebuild: bool,
    kind: str | None,
    retry_skipped: bool,
    watch: bool,
    strict: bool,
) -> None:
    """Make folders of photos searchable, or bring their index up to date; without FOLDER, all that it knows.

    Only photos that are new or changed are looked at. A folder that is not there, on a drive that is not plugged in,
    keeps its photos in the index. Nothing is ever written into a photo folder.

    --rebuild refuses while photos that are indexed cannot be seen. The old index is searched until the new one is
    finished; the same command resumes an interrupted one.

    The vectors of up to 39,000 photos, of 256 values each, are compared one by one; of more, auto makes inverted lists,
    and measures their recall, which fc7 info shows. --kind is remembered.

    --watch ends by Ctrl-C, with status 0, and needs watchfiles: pip install 'fc7[watch]'.
    """
    if rebuild and watch:
        raise click.UsageError("--watch keeps an existing index in step; run --rebuild first, without --watch")

    from commands.progress_bar import ProgressBar
    from commands.tables import format_changes, format_reports
    from commands.terminal import style_of
    from retrieval.indexing.update import update_index

    with ProgressBar("Indexing", sys.stderr) as progress, suppress(*[KeyboardInterrupt] if watch else []):
        runs = update_index(
            index,
            model,
            folders,
            rebuild=rebuild,
            watch=watch,
            kind=kind,
            retry_skipped=retry_skipped,
            concurrency=concurrency,
            progress=progress,
            warn=warn,
            building=progress.say,
        )
        with closing(runs):
            for number, reports in enumerate(runs):
                progress.clear()
                # While folders are watched, what matters is which photos came and went, and when.
                shown = (
                    format_changes(reports, datetime.now(), style=style_of())
                    if number
                    else format_reports(reports, style=style_of())
                )
                write(shown)
                report_skipped([photo for report in reports for photo in report.skipped], strict=strict)
                if strict:
                    check_still_skipped(reports, index)


def check_still_skipped(reports: "Sequence[FolderReport]", index: Path) -> None:
    """Raise PhotoError where photos were skipped before and still are."""
    still_skipped = sum(report.counts.still_skipped for report in reports if report.counts)
    if still_skipped:
        command = shlex.join(["fc7", "info", str(index), "--skipped"])
        raise PhotoError(f"{still_skipped} photos were skipped before and have not changed; `{command}` lists them")


@click.command("search", epilog="Example: fc7 search photo.jpg -k 20 -0 | xargs -0 cp -t found")
@query_options
@index_model_options(few=True)
@format_option("table", "json", "jsonl", "csv", "paths")
@click.option("-0", "--null", is_flag=True, help="Print paths, each ended by a NUL, as xargs -0 takes them.")
@strict_option
def search_command(*, model: "Model", index: Path, query: "Query", format: str, null: bool, strict: bool) -> None:
    """Find the indexed photos that look most like PHOTO, or what is in photos by --label.

    PHOTO is a file, a folder, searched with the folders below it, or - for a picture on standard input. Each is looked
    for by itself, unless --average makes one query of all. A photo that is indexed need not be there any more.

    A table has one line for files of the same bytes, and none for PHOTO itself. Other formats have all, and json, jsonl
    and csv mark them: copy_of, is_query.

    --label takes a name that the model knows, a synonym, a WordNet id, or what has such kinds: goldfish, dog, vehicle.
    Alone it lists photos by the probability that the model gave it, as far as it is among the names that are kept of
    each photo, five of each group of classes; with PHOTO it leaves out results of which it is less than 20 %.
    """
    null_wants_paths(null, format)

    from commands.tables import format_results
    from commands.terminal import style_of
    from index.photo_index import PhotoIndex
    from retrieval.searching.search import search_index

    skipped: list[SkippedPhoto] = []
    opened = PhotoIndex.open(index, fingerprint=model.spec.fingerprint, device=model.device, warn=warn)
    with opened as photo_index:
        answers = search_index(photo_index, model, query, standard_input=sys.stdin.buffer, skipped=skipped)
        format = "paths" if null else format
        end = "\0" if null else "\n"
        write(format_results(answers, format, labelled=not query.photos, style=style_of(), end=end))
    report_skipped(skipped, named=query.photos + query.unlike, strict=strict)


@click.command("duplicates", epilog="Example: fc7 duplicates ~/Pictures -0 | xargs -0 mv -n -t ~/copies")
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=PATH)
@click.option(
    "--against",
    multiple=True,
    type=PATH,
    metavar="FOLDER",
    help="Compare with the photos of this folder, instead of among themselves; can be given several times.",
)
@click.option(
    "--like",
    multiple=True,
    type=click.Choice(["exact", "altered", "alike"]),
    show_default="all three; exact alone where paths are printed",
    help="Which groups to list; can be given several times.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(-1, 1),
    default=0.88,
    help="Look-alikes have this score or more in a search; measured for the built-in model.",
)
@format_option("table", "json", "jsonl", "paths")
@click.option("-0", "--null", is_flag=True, help="Print paths, each ended by a NUL, as xargs -0 takes them.")
@index_option
def duplicates_command(
    folders: Sequence[Path],
    *,
    against: Sequence[Path],
    like: Sequence[Any],
    min_score: float,
    format: str,
    null: bool,
    index: Path,
) -> None:
    """Find copies among the indexed photos: all of them, or those below FOLDER. No file is removed or changed.

    \b
    exact    files of the same bytes
    altered  one picture resaved, resized, cropped by up to a fifth of each side,
             framed, recoloured or mirrored; not turned
    alike    pictures that look much alike, and are no copies

    The best of a group comes first: most pixels, most bytes, files before links, those of --against, oldest. A photo
    that is exact and altered is in a group of each; only the best of the exact copies is in the second, and so on.

    With --format paths or -0, the paths of all but the best of each group are printed, of exact copies alone unless
    --like says otherwise. What is printed for altered and alike can be a mistake: look at these before you remove any.
    With --against, the photos of that folder are never printed.

    What is compared is what the index knows: bring it up to date with fc7 index first. A photo whose file is gone or
    has changed since is left out. Several names of one file (links) are no copies, and none of them is printed.
    """
    null_wants_paths(null, format)

    from commands.progress_bar import ProgressBar
    from commands.tables import format_duplicates
    from commands.terminal import style_of
    from index.photo_index import PhotoIndex
    from retrieval.duplicates.find import LIKENESSES, find_duplicates

    paths = null or format == "paths"
    with (
        PhotoIndex.open(index) as photo_index,
        ProgressBar("Comparing", sys.stderr) as progress,
    ):
        found = find_duplicates(
            photo_index,
            folders,
            against=against,
            likenesses=like or (["exact"] if paths else LIKENESSES),
            min_score=min_score,
            progress=progress,
        )
    write(format_duplicates(found.groups, "paths" if paths else format, style=style_of(), end="\0" if null else "\n"))
    if found.left_out:
        click.echo(
            f"Left out: {found.left_out:,} photos whose files cannot be read now, or have changed since they were "
            "indexed; bring the index up to date with fc7 index.",
            err=True,
        )
    if not found.groups:
        click.echo(f"No copies among {found.photos:,} photos.", err=True)


@click.command("forget", epilog="Example: fc7 forget /mnt/sold-drive")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)
@index_option
def forget_command(paths: Sequence[Path], *, index: Path) -> None:
    """Remove photos or folders from the index; no file is touched.

    PATH need not be there any more. What is still there comes back when the indexed folder that it lies in is brought
    up to date; an indexed folder itself does not.
    """
    from commands.tables import format_forgotten
    from index.index_writer import IndexWriter

    with IndexWriter.open_to_edit(index) as photo_index:
        counts = photo_index.forget(paths)
    write(format_forgotten(zip(paths, counts, strict=True)))


@click.command("check", epilog="Example: fc7 check --repair")
@index_model_options()
@click.option("--sample", type=click.IntRange(min=0), default=64, help="Photos to embed again, drawn at random.")
@click.option("--repair", is_flag=True, help="Repair what is wrong.")
def check_command(*, model: "Model", index: Path, sample: int, repair: bool) -> None:
    """Check that an index is whole and goes with its photos.

    --repair drops what is wrong of photos, so that the next fc7 index embeds them again, and makes the vectors that
    search uses again. No photo is touched.
    """
    from commands.progress_bar import ProgressBar
    from commands.tables import format_check
    from index.index_writer import IndexWriter
    from index.photo_index import PhotoIndex
    from retrieval.indexing.check import check_index, repair_index

    opened = (IndexWriter.open_to_edit if repair else PhotoIndex.open)(index, fingerprint=model.spec.fingerprint)
    with opened as photo_index:
        with ProgressBar("Checking", sys.stderr) as progress:
            report = check_index(photo_index, model, sample=sample, progress=progress)
        left = repair_index(photo_index, report.problems) if isinstance(photo_index, IndexWriter) else report.problems
    write(format_check(report))
    report_skipped(report.skipped)
    if left and repair:
        raise PhotoIndexError(f"{len(left)} of this could not be repaired: move {index} away and run fc7 index FOLDER")
    if left:
        raise PhotoIndexError("something is wrong with the index: repair it with fc7 check --repair")
    if report.problems:
        write(["Repaired. Run fc7 index to embed again what was dropped.\n"])
