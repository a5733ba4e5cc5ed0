"""What permissions do to a user who is not root, whoever runs the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Give up, for a while, the right of root to read and write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let nobody, not even root, read a file or look into a folder."""
    before = path.stat().st_mode
    path.chmod(0)
    try:
        with as_an_ordinary_user():
            yield
    finally:
        path.chmod(before)
