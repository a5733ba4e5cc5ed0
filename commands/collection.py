"""The commands that keep an index in step with its photos: index, forget, moved, check."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.model_options import index_model_options
from commands.options import concurrency_options, index_option, strict_option
from commands.parameter_types import PATH
from commands.streams import report_incomplete, report_skipped, warn, write
from index.errors import OptionError, PhotoError, PhotoIndexError

if TYPE_CHECKING:
    from index.milvus.place import IndexLocation
    from index.searchable import SearchableIndex
    from retrieval.indexing.index_folders import FolderReport
    from retrieval.models.model import Model
    from retrieval.pipeline.engine import Engine
    from retrieval.pipeline.executor import Concurrency


@click.command("index", epilog="Example: fc7 index ~/Pictures")
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=PATH)
@index_model_options(begins=True, remote=True)
@concurrency_options
@click.option(
    "--rebuild", is_flag=True, help="Rebuild the index, of all its folders, with the built-in model or that of -m."
)
@click.option(
    "--kind",
    metavar="KIND",
    show_default="as before, auto at first",
    help="Kind of FAISS index: auto (by the number of photos), Flat, SQ8, IVF,SQ8 or HNSW; in Milvus, HNSW or Flat.",
)
@click.option(
    "--exclude",
    metavar="PATTERN",
    multiple=True,
    help="Leave out files and folders, as a line of a .gitignore would; can be given several times, and is remembered.",
)
@click.option("--no-exclude", is_flag=True, help="Forget the patterns that --exclude was given before.")
@click.option("--retry-skipped", is_flag=True, help="Try again what was skipped before, though it has not changed.")
@click.option("--watch", is_flag=True, help="Run until Ctrl-C, and update the index whenever its folders change.")
@click.option(
    "--engine",
    type=click.Choice(["threads", "ray"]),
    default="threads",
    help="What embeds: threads of this process, or Ray, on this machine or on many.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    show_default="this machine alone",
    help="Cluster of Ray: auto, the one that this machine is part of, or ray://HOST:10001.",
)
@click.option(
    "--shards",
    metavar="DIR",
    show_default="in the index, until they are stored",
    help="Folder for what Ray computes, shared by all machines, or s3://BUCKET/DIR; it is kept.",
)
@strict_option
def index_command(
    folders: Sequence[Path],
    *,
    model: "Model",
    concurrency: "Concurrency",
    index: "IndexLocation",
    rebuild: bool,
    kind: str | None,
    exclude: Sequence[str],
    no_exclude: bool,
    retry_skipped: bool,
    watch: bool,
    engine: str,
    address: str | None,
    shards: str | None,
    strict: bool,
) -> None:
    """Make folders of photos searchable, or bring their index up to date; without FOLDER, all that it knows.

    Only photos that are new or changed are looked at. A folder that is not there, on a drive that is not plugged in,
    keeps its photos in the index. Nothing is ever written into a photo folder. FOLDER may be s3://BUCKET/FOLDER or
    gs://BUCKET/FOLDER, with pyarrow: pip install 'fc7[parquet]'.

    Hidden files, bins, snapshots, thumbnails and backups are left out, and what a file .fc7ignore in a photo folder
    says, which has the rules of a .gitignore. A PATTERN is a line of one for all folders of the index, and comes before
    these files. What is left out from now on leaves the index. fc7 info shows the patterns.

    --rebuild refuses while photos that are indexed cannot be seen. The old index is searched until the new one is
    finished; the same command resumes an interrupted one.

    The vectors of up to 39,000 photos, of 256 values each, are compared one by one; of more, auto makes inverted lists,
    and measures their recall, which fc7 info shows. --kind is remembered.

    An index in Milvus is filled directly, by one program at a time, and keeps no thumbnails. It cannot be rebuilt.

    --watch ends by Ctrl-C, with status 0, and needs watchfiles: pip install 'fc7[watch]'.

    --engine ray needs pip install 'fc7[ray]'. Every machine needs fc7, and the model and the photos at the same paths.
    --workers is the number of processes, by default one for each core or GPU. What is in --shards is not computed
    again.
    """
    check_engine(engine, address, shards, watch=watch)
    if rebuild and watch:
        raise click.UsageError("--watch keeps an existing index in step; run --rebuild first, without --watch")

    from commands.progress_bar import ProgressBar
    from retrieval.indexing.update import update_index

    with ProgressBar("Indexing", sys.stderr) as progress, suppress(*[KeyboardInterrupt] if watch else []):
        runs = update_index(
            index,
            model,
            folders,
            rebuild=rebuild,
            watch=watch,
            kind=kind,
            exclude=exclude,
            no_exclude=no_exclude,
            retry_skipped=retry_skipped,
            concurrency=concurrency,
            engine=ray_engine(index, address, shards, concurrency, progress.say) if engine == "ray" else None,
            progress=progress,
            warn=warn,
            building=progress.say,
        )
        with closing(runs):
            for number, reports in enumerate(runs):
                progress.clear()
                report_run(reports, index, first=not number, strict=strict)


def check_engine(engine: str, address: str | None, shards: str | None, *, watch: bool) -> None:
    """Refuse options that do not go with what embeds. Raises UsageError."""
    if engine == "ray" and watch:
        raise click.UsageError("--watch works in this process alone; leave out --engine ray")
    if engine != "ray" and (address is not None or shards is not None):
        raise click.UsageError("--address and --shards belong to --engine ray")


def report_run(reports: "Sequence[FolderReport]", index: "IndexLocation", *, first: bool, strict: bool) -> None:
    """Print what a run over the folders did. Raises PhotoError with `strict`, where photos were skipped."""
    from commands.index_tables import format_changes, format_reports
    from commands.terminal import style_of

    if first:
        write(format_reports(reports, style=style_of()))
    else:  # while folders are watched, what matters is which photos came and went, and when
        write(format_changes(reports, datetime.now(), style=style_of()))
    report_incomplete(photo for report in reports for photo in report.incomplete)
    report_unread(reports)
    report_skipped([photo for report in reports for photo in report.skipped], strict=strict)
    if strict:
        check_still_skipped(reports, index)


def ray_engine(
    index: "IndexLocation",
    address: str | None,
    shards: str | None,
    concurrency: "Concurrency",
    say: Callable[[str], None],
) -> "Engine":
    """Return what embeds with Ray, which is loaded later."""
    from retrieval.shards.engine import ShardEngine
    from retrieval.shards.place import ShardPlace
    from retrieval.shards.ray_workers import RayWorkers, require_ray

    require_ray()
    if shards is not None:
        place = ShardPlace(shards)
    elif isinstance(index, Path):
        place = ShardPlace(str(index / "shards"))
    else:
        raise OptionError("an index in Milvus has no place for what Ray computes", hint="name a folder with --shards")
    count = click.get_current_context().params["workers"]
    workers = RayWorkers(address=address, count=count, shared=shards is not None, say=say)
    # On one machine alone FAISS has all cores already; Milvus builds its own index.
    run = workers.fill if address is not None and isinstance(index, Path) else None
    return ShardEngine(place, workers, kept=shards is not None, concurrency=concurrency, warn=warn, run=run)


def report_unread(reports: "Sequence[FolderReport]") -> None:
    """Count the pictures of kinds that fc7 cannot read, in one line."""
    unread = sum((Counter(report.unread) for report in reports), Counter())
    if unread:
        kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in unread.most_common())
        warn(f"Left out: {unread.total():,} file{'s' * (unread.total() > 1)} of kinds that fc7 cannot read: {kinds}")


def check_still_skipped(reports: "Sequence[FolderReport]", index: "IndexLocation") -> None:
    """Raise PhotoError where photos were skipped before and still are."""
    still_skipped = sum(report.counts.still_skipped for report in reports if report.counts)
    if still_skipped:
        command = shlex.join(["fc7", "info", str(index), "--skipped"])
        raise PhotoError(f"{still_skipped} photos were skipped before and have not changed; `{command}` lists them")


@click.command("forget", epilog="Example: fc7 forget /mnt/sold-drive")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)
@partial(index_option, remote=True)
def forget_command(paths: Sequence[Path], *, index: "IndexLocation") -> None:
    """Remove photos or folders from the index; no file is touched.

    PATH need not be there any more. What is still there comes back when the indexed folder that it lies in is brought
    up to date; an indexed folder itself does not. What is forgotten in a copy in Milvus comes back with the next fc7
    push of an index that still has it.
    """
    from commands.index_tables import format_forgotten
    from index.open_index import open_to_forget

    with open_to_forget(index) as photo_index:
        counts = photo_index.forget(paths)
    write(format_forgotten(zip(paths, counts, strict=True)))


@click.command("moved", epilog="Example: fc7 moved /media/old-drive /media/new-drive")
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@index_option
def moved_command(old: Path, new: Path, *, index: Path) -> None:
    """Tell the index that a folder was moved or renamed; no photo is read, no file is touched.

    OLD is an indexed folder, one inside it, or one that several lie in, such as a drive; NEW is where it is now. What
    is indexed in NEW already stays.
    """
    from commands.index_tables import format_moved
    from index.index_writer import IndexWriter
    from retrieval.indexing.missing import move_folder

    with IndexWriter.open_to_edit(index) as photo_index:
        write(format_moved(old, new, *move_folder(photo_index, old, new)))


@click.command("check", epilog="Example: fc7 check --repair")
@index_model_options(remote=True)
@click.option("--sample", type=click.IntRange(min=0), default=64, help="Photos to embed again, drawn at random.")
@click.option("--repair", is_flag=True, help="Repair what is wrong.")
def check_command(*, model: "Model", index: "IndexLocation", sample: int, repair: bool) -> None:
    """Check that an index is whole and goes with its photos.

    --repair removes wrong entries, so that the next fc7 index embeds these photos again, and rebuilds the vectors
    that a search uses. No photo is touched. A copy in Milvus is repaired by fc7 push.
    """
    from commands.index_tables import format_check
    from commands.progress_bar import ProgressBar
    from index.index_writer import IndexWriter
    from index.milvus.place import MilvusPlace
    from index.open_index import open_index
    from index.photo_index import PhotoIndex
    from retrieval.indexing.check import check_index, repair_index

    fingerprint = model.spec.fingerprint
    if isinstance(index, MilvusPlace):
        if repair:
            raise OptionError(
                "--repair is for an index in a folder",
                hint="`fc7 forget` what is wrong, and run again what fills the index, `fc7 push` or `fc7 index`",
            )
        opened: SearchableIndex = open_index(index, fingerprint=fingerprint, consistency="strong")
    else:
        opened = (IndexWriter.open_to_edit if repair else PhotoIndex.open)(index, fingerprint=fingerprint)
    with opened as photo_index:
        with ProgressBar("Checking", sys.stderr) as progress:
            report = check_index(photo_index, model, sample=sample, progress=progress)
        left = repair_index(photo_index, report.problems) if isinstance(photo_index, IndexWriter) else report.problems
    write(format_check(report, index))
    report_skipped(report.skipped)
    if left and repair:
        raise PhotoIndexError(f"{len(left)} of this could not be repaired: move {index} away and run fc7 index FOLDER")
    if left and isinstance(index, MilvusPlace):
        filled_by = getattr(photo_index, "filled_by", "")
        again = f"{filled_by} --{'index' if filled_by == 'fc7 index' else 'to'} {index}"
        raise PhotoIndexError(f"something is wrong with the index: forget the photos that are named, and run {again}")
    if left:
        raise PhotoIndexError("something is wrong with the index: repair it with fc7 check --repair")
    if report.problems:
        write(["Repaired. Run fc7 index to embed again what was dropped.\n"])
