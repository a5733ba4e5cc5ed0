"""What commands of the command line print: results to stdout, warnings to stderr."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from index.errors import PhotoError, UserError

if TYPE_CHECKING:
    from index.records import IncompletePhoto, SkippedPhoto

READER_GONE = 141
"""Exit status: what a shell reports for a program that SIGPIPE ended, as `| head` does once it has enough."""


def write(pieces: Iterable[str]) -> None:
    """Print to stdout. Raises UserError where it cannot be written to, as on a full disk."""
    for piece in pieces:
        try:
            click.echo(piece, nl=False, color=True)  # otherwise names in a pipe lose what looks like a colour
        except BrokenPipeError:
            raise  # the reader has closed the pipe, which is no error
        except OSError as error:
            raise UserError(f"standard output cannot be written ({error.strerror}); choose another place") from error


def warn(text: str) -> None:
    """Print one line on stderr, with control characters escaped, which file names can contain.

    Raises UserError where it cannot be written to, as on a full disk.
    """
    from commands.installation import as_installed
    from retrieval.text import printable

    try:
        click.echo(printable(as_installed(text)), err=True)
    except BrokenPipeError:
        raise  # the reader has closed the pipe, which is no error
    except OSError as error:
        raise UserError(f"standard error cannot be written ({error.strerror}); choose another place") from error


def table_width() -> int | None:
    """The terminal's columns; None where stdout is none, and no line is to be broken."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def report_incomplete(photos: Iterable["IncompletePhoto"]) -> None:
    """List photos that were used though a part of them is missing."""
    for photo in photos:
        warn(f"Incomplete {photo.path}: {photo.missing}")


def report_skipped(skipped: Sequence["SkippedPhoto"], *, named: Sequence[Path] = (), strict: bool = False) -> None:
    """List skipped photos; PhotoError if one of them was named itself, or with `strict`."""
    reasons = [f"{photo.path}: {photo.reason}" for photo in skipped]
    failed = strict or any(photo.path in named for photo in skipped)
    if failed and len(skipped) == 1:
        raise PhotoError(f"cannot read {reasons[0]}")
    for reason in reasons:
        warn(f"Skipped {reason}")
    if failed and skipped:
        raise PhotoError(f"{len(skipped)} photos could not be read, for the reasons above")


def read_standard_input(photos: Sequence[Path]) -> bytes | None:
    """Return what comes on standard input where it is among photos, as -, to use it twice; else None."""
    from retrieval.photos.files import MAX_BYTES
    from retrieval.pipeline.embed import STANDARD_INPUT

    return sys.stdin.buffer.read(MAX_BYTES + 1) if STANDARD_INPUT in photos else None


def standard_input(piped: bytes | None) -> BinaryIO:
    """Return standard input, from its start if it was `piped` and read already."""
    return sys.stdin.buffer if piped is None else BytesIO(piped)
