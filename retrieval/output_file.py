"""Files that a command writes because it was asked to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from index.errors import UserError
from index.files import replacing


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """As `replacing`; raises UserError for a place that cannot be written to, before the work in the block begins.

    A link stays, and what it leads to is replaced; what is no file, such as a pipe, is written to as it is.
    """
    place = Path(os.path.realpath(path))
    try:
        with replacing(place) if place.is_file() or not place.exists() else place.open("wb") as file:
            yield file
    except BrokenPipeError:
        raise  # not of this file, but of what reads the standard output
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{path} cannot be written ({reason}); choose another place") from error
