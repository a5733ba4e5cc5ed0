"""How text looks on the terminal that results go to: colours, links, and paths that are short and can be copied."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from retrieval.text import printable

BOLD, DIM, YELLOW = "1", "2", "33"
LINKING = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio"}
"""Terminals, by TERM_PROGRAM, that make a link of the escape sequence OSC 8."""
OLDEST_VTE = 5000
"""Version of VTE, the terminal of GNOME and others, from which it does so (0.50)."""


@dataclass(frozen=True)
class Style:
    """What a stream can show; without anything, text is as it is for a file or a pipe.

    With `links` a path is a link to its file (OSC 8); a path below `folder` is printed relative to it.
    """

    colour: bool = False
    links: bool = False
    folder: Path | None = None

    def heading(self, text: str) -> str:
        """What stands above the rows of a table."""
        return self._painted(text, BOLD)

    def note(self, text: str) -> str:
        """What matters less than what it stands beside."""
        return self._painted(text, DIM)

    def warning(self, text: str) -> str:
        """What a user should look at."""
        return self._painted(text, YELLOW)

    def path(self, path: Path) -> str:
        """A path as a whole: a terminal breaks what is too long for its line, and copies it without the break."""
        shown = printable(str(self._relative(path)))
        if not self.links:
            return shown
        place = quote(os.fsencode(os.path.abspath(path)), safe="/")
        return f"\x1b]8;;file://{socket.gethostname()}{place}\x1b\\{shown}\x1b]8;;\x1b\\"

    def _relative(self, path: Path) -> Path:
        if self.folder is None or not path.is_absolute() or not path.is_relative_to(self.folder):
            return path
        relative = path.relative_to(self.folder)
        # What begins like an option would be taken for one where it is pasted.
        return path if str(relative).startswith("-") else relative

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


PLAIN = Style()


def style_of(stream: TextIO | None = None, environment: Mapping[str, str] = os.environ) -> Style:
    """Return what can be shown on a stream, by default standard output.

    NO_COLOR (no-color.org) and TERM=dumb turn colours off.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return PLAIN
    able = environment.get("TERM") != "dumb"
    return Style(
        colour=able and not environment.get("NO_COLOR"), links=able and _makes_links(environment), folder=Path.cwd()
    )


def _makes_links(environment: Mapping[str, str]) -> bool:
    vte = environment.get("VTE_VERSION", "")
    return (
        environment.get("TERM_PROGRAM") in LINKING
        or environment.get("TERM") in ("xterm-kitty", "foot", "alacritty")
        or any(name in environment for name in ("KONSOLE_VERSION", "WT_SESSION", "DOMTERM"))
        or (vte.isdecimal() and int(vte) >= OLDEST_VTE)
    )
