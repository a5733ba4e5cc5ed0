"""Values as text that a terminal or a program can take."""

import csv
import io
import unicodedata
from collections.abc import Iterable


def printable(text: str) -> str:
    """`text` with control characters, line ends and undecodable bytes escaped, safe to show on a terminal."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} else character
        for character in text
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python reads a byte of a file name that is no valid text
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def file_size(size: int) -> str:
    """`size` bytes as a few digits and a unit."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def csv_line(values: Iterable[object]) -> str:
    """Values as a line of CSV."""
    line = io.StringIO()
    # Python before 3.13 quotes a carriage return in a value, as a file name may have, only if lines end with one.
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"
