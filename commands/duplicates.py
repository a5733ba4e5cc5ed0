"""The command that finds copies, moves them away and takes that back."""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.interrupt import INTERRUPTED
from commands.options import format_option, index_option, null_wants_paths
from commands.parameter_types import LOCAL_PATH, PATH, NumberRange
from commands.pictures import Pictures, picture_options
from commands.streams import report_skipped, table_width, warn, write
from index.errors import OptionError, PhotoError, PhotoIndexError, UserError

if TYPE_CHECKING:
    from index.milvus.place import IndexLocation
    from index.searchable import SearchableIndex
    from retrieval.duplicates.find import Duplicates
    from retrieval.duplicates.move import Move, Moved


@click.command("duplicates", epilog="Example: fc7 duplicates ~/Pictures --move-to ~/copies")
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
    show_default="all three; exact alone where paths are printed or photos are moved",
    help="Which groups to list; can be given several times.",
)
@click.option(
    "--min-score",
    type=NumberRange(-1, 1),
    default=0.88,
    help="Look-alikes have this score or more in a search; measured for the built-in model.",
)
@click.option(
    "--keep-in",
    multiple=True,
    type=PATH,
    metavar="FOLDER",
    help="Keep the photo of a group that lies in this folder; of several folders, the first counts most.",
)
@click.option("--across-folders", is_flag=True, help="Do not compare photos that lie in one folder, as bursts do.")
@click.option("--move-to", type=LOCAL_PATH, metavar="DIR", help="Move all but the best of each group into this folder.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is moved.")
@click.option("--undo", type=LOCAL_PATH, metavar="FILE", help="Move back what --move-to has moved, by its undo file.")
@click.option("--not-duplicates", is_flag=True, help="Remember that the photos given are no copies of each other.")
@click.option("--duplicates-after-all", is_flag=True, help="Forget that again.")
@format_option("table", "json", "jsonl", "paths")
@click.option("-0", "--null", is_flag=True, help="Print paths, each ended by a NUL, as xargs -0 takes them.")
@picture_options("sheet", "Draw what is found")
@partial(index_option, remote=True)
def duplicates_command(
    folders: Sequence[Path],
    *,
    against: Sequence[Path],
    like: Sequence[Any],
    min_score: float,
    keep_in: Sequence[Path],
    across_folders: bool,
    move_to: Path | None,
    yes: bool,
    undo: Path | None,
    not_duplicates: bool,
    duplicates_after_all: bool,
    format: str,
    null: bool,
    pictures: Pictures,
    index: "IndexLocation",
) -> None:
    """Find copies among the indexed photos: all of them, or those below FOLDER. No file is changed.

    \b
    exact    files of the same bytes
    altered  one picture resaved, resized, cropped by up to 30 % of each side,
             framed, recoloured, mirrored, turned, tilted by up to 5°, or shown in
             a screenshot
    alike    pictures that look much alike, and are no copies

    The best of a group comes first, and the table says why: by --keep-in; not in a bin; camera RAW; more real detail;
    camera data; not enlarged; more of the picture; lossless; less compressed; no link; of --against; the oldest; the
    shortest path. A photo that is exact and altered is in a group of each; only the best of the exact copies is in the
    second, and so on.

    --move-to moves all but the best of each group, of exact copies alone unless --like says otherwise, after asking.
    They keep their path below DIR, nothing is overwritten, and a file in DIR tells what --undo needs. Photos of
    --against, files with several names (links) and photos in a library of Apple's programs stay. The index forgets
    what was moved. With --format paths or -0, the same photos are printed for other programs.

    What is found as altered and alike can be a mistake: look at these before you move any. If photos are different,
    `fc7 duplicates --not-duplicates PHOTO PHOTO...` keeps them out of each other's groups for good.

    What is compared is what the index knows: bring it up to date with fc7 index first. A photo whose file is gone or
    has changed since is left out. Of an index made by an older fc7, the first search reads all photos, and the index
    keeps what was seen. An index in Milvus keeps nothing of this, so each search reads the photos, which have to be on
    this machine.
    """
    null_wants_paths(null, format)
    paths = null or format == "paths"
    _check_what_to_do(
        undo,
        move_to,
        not_duplicates,
        duplicates_after_all,
        other_output=null or format != "table",
        drawn=pictures.wanted,
    )
    if undo is not None:
        _undo(undo)
        return
    if not_duplicates or duplicates_after_all:
        _remember(index, folders, different=not_duplicates)
        return

    from commands.progress_bar import ProgressBar
    from index.open_index import open_index
    from retrieval.duplicates.find import find_duplicates
    from retrieval.duplicates.keep import LIKENESSES

    with (
        open_index(index, warn=warn) as photo_index,
        ProgressBar("Comparing", sys.stderr) as progress,
    ):
        found = find_duplicates(
            photo_index,
            folders,
            against=against,
            keep_in=keep_in,
            across_folders=across_folders,
            likenesses=like or (["exact"] if paths or move_to else LIKENESSES),
            min_score=min_score,
            progress=progress,
        )
        moves = _plan(photo_index, found, move_to) if move_to else []
    _show(found, "paths" if paths else format, pictures, end="\0" if null else "\n")
    if found.groups and move_to is not None:
        _move(index, moves, move_to, yes=yes)


def _show(found: "Duplicates", format: str, pictures: Pictures, *, end: str) -> None:
    from commands.photo_tables import format_duplicates
    from commands.terminal import style_of
    from retrieval.text import photo_count

    write(format_duplicates(found.groups, format, style=style_of(), width=table_width(), end=end))
    if found.left_out:
        click.echo(
            f"Left out: {photo_count(found.left_out)} that cannot be read now, or changed after indexing; bring the "
            "index up to date with fc7 index.",
            err=True,
        )
    if pictures.wanted and found.groups:
        from retrieval.figures.answers import duplicate_rows

        pictures.show(duplicate_rows(found.groups))
    if not found.groups:
        click.echo(f"No copies among {photo_count(found.photos)}.", err=True)


def _check_what_to_do(
    undo: Path | None, move_to: Path | None, not_duplicates: bool, after_all: bool, *, other_output: bool, drawn: bool
) -> None:
    named = {
        "--undo": undo is not None,
        "--move-to": move_to is not None,
        "--not-duplicates": not_duplicates,
        "--duplicates-after-all": after_all,
    }
    chosen = [name for name, given in named.items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} do different things; choose one")
    if chosen and other_output:
        raise click.UsageError(f"{chosen[0]} prints no list for programs; leave out --format and -0")
    if chosen and drawn and move_to is None:
        raise click.UsageError("--sheet and --preview show what is found; leave them out where nothing is looked for")


def _remember(index: "IndexLocation", photos: Sequence[Path], *, different: bool) -> None:
    if len(photos) < 2:
        raise click.UsageError("name two photos or more: fc7 duplicates --not-duplicates PHOTO PHOTO...")

    from index.index_writer import IndexWriter

    if not isinstance(index, Path):
        raise OptionError(
            f"{index} is in Milvus, which does not keep what people say of pairs of photos",
            hint="name an index in a folder",
        )
    with IndexWriter.open_to_edit(index) as writer:
        writer.set_different(photos, different=different)
    write([f"Remembered: {len(photos)} photos are no copies of each other.\n" if different else "Forgotten.\n"])


def _plan(photo_index: "SearchableIndex", found: "Duplicates", folder: Path) -> "list[Move]":
    from retrieval.duplicates.move import plan_moves

    return plan_moves(found.groups, photo_index.roots(), folder)


def _move(index: "IndexLocation", moves: "Sequence[Move]", folder: Path, *, yes: bool) -> None:
    from commands.progress_bar import ProgressBar
    from index.open_index import open_to_forget
    from retrieval.duplicates.move import move_copies
    from retrieval.text import file_size, photo_count

    if not moves:
        click.echo("None of these can be moved: see docs/duplicates.md on links, libraries and --against.", err=True)
        return
    size = file_size(sum(move.copy.size for move in moves))
    question = f"Move {photo_count(len(moves))} ({size}) to {folder}, and keep the first of each group?"
    try:
        if not yes and not click.confirm(question, err=True):
            write(["Nothing was moved.\n"])
            return
    except click.Abort:
        raise UserError("nothing was moved", hint="give --yes where nobody can answer") from None
    with ProgressBar("Moving", sys.stderr) as progress:
        moved = move_copies(moves, folder, progress=progress)
    try:
        with open_to_forget(index) as writer:
            writer.forget_files([source for source, _ in moved.photos])
    except PhotoIndexError as error:
        warn(f"The index still lists what was moved, until the next fc7 index: {error}")
    _report(moved, f"Moved {{}} to {folder}.")
    if moved.photos:
        write([f"To move them back: {shlex.join(['fc7', 'duplicates', '--undo', str(moved.undo_file)])}\n"])
    _end(moved)


def _undo(undo_file: Path) -> None:
    from commands.progress_bar import ProgressBar
    from retrieval.duplicates.move import undo_moves

    with ProgressBar("Moving", sys.stderr) as progress:
        moved = undo_moves(undo_file, progress=progress)
    _report(moved, "Moved {} back; fc7 index puts them into the index again.")
    _end(moved)


def _report(moved: "Moved", text: str) -> None:
    from retrieval.text import file_size, photo_count, printable

    write([printable(text.format(f"{photo_count(len(moved.photos))} ({file_size(moved.bytes)})")) + "\n"])
    report_skipped(moved.left)


def _end(moved: "Moved") -> None:
    if moved.interrupted:
        click.echo("Interrupted; the same command resumes it.", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if moved.left:
        were = "photo was" if len(moved.left) == 1 else "photos were"
        raise PhotoError(f"{len(moved.left):,} {were} not moved, for the reasons above")
