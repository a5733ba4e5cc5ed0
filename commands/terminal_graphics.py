"""What pictures the terminal that results go to can show. It is asked, but nothing depends on an answer."""

import os
import re
import select
import shutil
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast, get_args

from index.errors import OptionError

if TYPE_CHECKING:
    from retrieval.figures.terminal import Protocol, Screen

PATIENCE = 1.0
"""Seconds for all answers: several times what the slowest connection needs."""
USUAL_CELL = (10, 20)
"""Pixels (width, height) of a character, where the terminal does not tell."""
LEAST_COLUMNS = 10
# Does it know the protocol of kitty? How large is a character? And, which all terminals answer: what is it?
QUESTIONS = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
KITTY = b"\x1b_Gi=31;OK\x1b\\"
CELL = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
SIXEL = b"4"
"""Among the attributes of a terminal (DA1)."""
SILENT = ("linux", "dumb", "")
"""Terminals, by TERM, that would print a question rather than answer it; so would Apple's."""


def screen_of(stream: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> "Screen | str":
    """Return what shows pictures on a stream, by default standard output, or why nothing does.

    FC7_PREVIEW names a protocol, where what is found out is wrong. Raises OptionError for one that there is not.
    """
    from retrieval.figures.terminal import Protocol, Screen

    stream = stream or sys.stdout
    wanted = environment.get("FC7_PREVIEW", "")
    if wanted and wanted not in get_args(Protocol):
        raise OptionError(f"FC7_PREVIEW is {wanted}; it can be {', '.join(get_args(Protocol))}")
    if not stream.isatty():
        return "standard output is no terminal"
    columns = shutil.get_terminal_size().columns
    if environment.get("TERM", "") in ("dumb", ""):
        return "this terminal shows text alone"
    if columns < LEAST_COLUMNS:
        return f"this terminal has {columns} columns"
    told = b"" if wanted == "blocks" else answers(stream.fileno(), environment)
    protocol = cast("Protocol", wanted) if wanted else protocol_of(told, environment)
    if protocol == "blocks" and environment.get("NO_COLOR"):
        return "NO_COLOR is set, and this terminal shows pictures only as colours"
    if protocol == "blocks" and not _encodes(stream, "▀"):
        return f"half-blocks are not in {stream.encoding}, and this terminal shows pictures no other way"
    true_colour = environment.get("COLORTERM") in ("truecolor", "24bit")
    plain = bool(environment.get("NO_COLOR"))
    return Screen(protocol, columns, _cell(stream.fileno(), told), true_colour, plain)


def protocol_of(told: bytes, environment: Mapping[str, str]) -> "Protocol":
    """Return the best protocol of a terminal that gave these answers."""
    if KITTY in told:
        return "kitty"
    iterm = "iTerm" in environment.get("TERM_PROGRAM", "") or "iTerm" in environment.get("LC_TERMINAL", "")
    if iterm and not environment.get("TMUX") and not environment.get("TERM", "").startswith(("tmux", "screen")):
        return "iterm2"
    attributes = ATTRIBUTES.search(told)
    return "sixel" if attributes and SIXEL in attributes[1].split(b";") else "blocks"


def answers(terminal: int, environment: Mapping[str, str]) -> bytes:
    """Ask a terminal what it can show, and return what it says within a second; nothing where it cannot be asked.

    A program in the background must not ask: the system would stop it.
    """
    if environment.get("TERM", "") in SILENT or environment.get("TERM_PROGRAM") == "Apple_Terminal":
        return b""
    try:
        import termios
    except ImportError:  # Windows
        return b""
    try:
        # A description of its own, which never blocks: the output of a terminal may be stopped by Ctrl-S.
        own = os.open(os.ttyname(terminal), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        if os.tcgetpgrp(own) != os.getpgrp():
            return b""
        before = termios.tcgetattr(own)
        quiet = [*before[:3], before[3] & ~(termios.ICANON | termios.ECHO), *before[4:]]
        try:
            termios.tcsetattr(own, termios.TCSANOW, quiet)
            os.write(own, QUESTIONS)
            told = _read(own)
            os.write(own, b"\r\x1b[K")  # what it may have printed of the questions
        finally:
            termios.tcsetattr(own, termios.TCSANOW, before)
        return told
    except (OSError, termios.error):
        return b""
    finally:
        os.close(own)


def _read(terminal: int) -> bytes:
    """Read until the last question is answered, or no more is to be expected."""
    told, end = b"", time.monotonic() + PATIENCE
    while not ATTRIBUTES.search(told) and (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            if not (part := os.read(terminal, 1024)):
                break
            told += part
    return told


def _cell(terminal: int, told: bytes) -> tuple[int, int]:
    with suppress(OSError, ImportError):
        import fcntl
        import termios

        lines, columns, width, height = struct.unpack("4H", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
        if lines and columns and width >= columns and height >= lines:
            return width // columns, height // lines
    if (found := CELL.search(told)) and (size := (int(found[2]), int(found[1]))) >= (1, 1):
        return min(size[0], 100), min(max(size[1], 1), 100)
    return USUAL_CELL


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding)
    except UnicodeEncodeError:
        return False
    return True
