"""How Ctrl-C ends a command: at once while it starts; later as a KeyboardInterrupt, which `cli.py` makes a status."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

INTERRUPTED = 130
"""Exit status: what a shell reports for a program that Ctrl-C ended."""


@contextmanager
def starting() -> Iterator[None]:
    """Around imports and the loading of models, Ctrl-C ends the program immediately: there is nothing to clean up yet.

    An import that is interrupted by an exception can fail in other ways, or keep a lock that a thread waits for.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a calling program may have set another, and `nohup` ignores it
        signal.signal(signal.SIGINT, _exit_immediately)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit_immediately(*_: object) -> None:
    with suppress(OSError):
        click.echo("\nInterrupted.", err=True)
    os._exit(INTERRUPTED)
