"""Values as text that a terminal or a program can take."""

import csv
import io
import unicodedata
from collections.abc import Iterable

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""The characters with Unicode's property Bidi_Control (UAX 9)."""


def printable(text: str) -> str:
    """`text` with control characters, line ends and undecodable bytes escaped, safe to show on a terminal.

    So are the marks that turn the direction of text, by which "gpj.exe" can look like "exe.jpg".
    """
    return "".join(_escaped(character) if _is_unsafe(character) else character for character in text)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in _BIDI_CONTROLS


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python reads a byte of a file name that is no valid text
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def photo_count(count: int) -> str:
    """Say how many photos: 1 photo, 2 photos."""
    return f"{count:,} photo{'' if count == 1 else 's'}"


def file_size(size: int) -> str:
    """`size` bytes as a few digits and a unit."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def csv_line(values: Iterable[object]) -> str:
    """Values as a line of CSV."""
    line = io.StringIO()
    # Python before 3.13 quotes a carriage return in a value, as a file name may have, only if lines end with one.
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"
