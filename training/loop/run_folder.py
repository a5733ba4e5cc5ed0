"""The folder of a training run: names of its files, and that one run at a time can write there."""

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile

from index.file_lock import lock
from training.errors import RunError

LAST, BEST = "last.pt", "best.pt"
"""The checkpoints: where to go on, and what to use."""

MODEL = "model.onnx"
METRICS, CONFUSION, MISTAKES = "metrics.csv", "confusion.csv", "mistakes.csv"
ANSWERS = "answers"
"""The folder in which a teacher's answers lie, where no other is named."""
LOCK = ".lock"

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def make_folder(out: Path, roots: Sequence[Path], held: ExitStack, *, cache: Path | None = None) -> None:
    """Make the folder of a new run, and take it until `held` ends; a run that writes nothing leaves no new folder."""
    for root in roots:
        for what, place, option in (("run", out, "-o"), ("cache", cache, "--cache")):
            if place is not None and place.resolve().is_relative_to(root.resolve()):
                raise RunError(
                    f"the {what} would lie among its pictures, in {root}, and be taken for a class the next time",
                    hint=f"choose a folder outside with {option}",
                )
    new = not os.path.exists(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {out} cannot be made ({error.strerror})", hint="choose another with -o") from error
    if new:
        held.callback(_remove_unused, out)  # after the lock is free
    take_folder(out, held)
    if os.path.exists(out / LAST):
        raise RunError(
            f"there is a run in {out} already", hint="resume it with --resume, or choose another folder with -o"
        )
    if os.path.exists(out / MODEL):  # perhaps what the run is to begin with
        raise RunError(f"there is a model in {out} already", hint="choose another folder with -o")


def _remove_unused(out: Path) -> None:
    with suppress(OSError):
        if os.listdir(out) == [LOCK]:
            (out / LOCK).unlink()
            out.rmdir()


def take_folder(out: Path, held: ExitStack) -> None:
    """Let no other run use the folder until `held` ends, and see that its files can be written there, before hours go.

    Raises RunError.
    """
    try:
        file = held.enter_context((out / LOCK).open("a"))
        with suppress(OSError):  # a file system without locks is no reason not to train
            if not lock(file):
                raise RunError(
                    f"another fc7 is training in {out}",
                    hint="wait until it has ended, or choose another folder with -o",
                )
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RunError(f"no file can be written into {out} ({error.strerror}); {recovery_hint(out, error)}") from error
    for path in (out / name for name in (MODEL, CONFUSION, MISTAKES)):  # what is written only at the end
        if os.path.isdir(path):
            raise RunError(
                f"{path} is a folder where the run is to write a file", hint="move it, or choose another folder with -o"
            )


def recovery_hint(run: Path, error: Exception | None = None) -> str:
    """Return what to do where a file could not be written into a run's folder.

    That is lack of room, unless an OSError says otherwise.
    """
    full = not isinstance(error, OSError) or error.errno in NO_ROOM
    if os.path.exists(run / LAST):
        first = "Make room" if full else "Correct that"
        return f"the last good checkpoint is untouched. {first} and resume it with --resume"
    return "make room and start again" if full else "choose another place with -o"
