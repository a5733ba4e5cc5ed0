"""How large a photo may be, how much memory it takes, and how much of it may be missing."""

from collections.abc import Callable
from dataclasses import dataclass

from index.errors import PhotoError

Claim = Callable[[int], None]
"""Takes the bytes of memory that decoding will need, and returns when there is room for them."""

MAX_PIXELS = 200_000_000
"""Pixels of the largest photo that is decoded where nothing else is said: some phones have 200 megapixels."""

LEAST_ROWS = 0.95
"""Share of its rows that a photo must have: one that was cut off shows the rest of them."""


@dataclass(frozen=True)
class Limits:
    """The pixels that a photo may have at most, and who has to be asked for memory, if anybody."""

    max_pixels: int = MAX_PIXELS
    claimed: Claim | None = None

    def check(self, width: int, height: int) -> None:
        """Raise PhotoError for a picture of more pixels."""
        if width * height > self.max_pixels:
            raise PhotoError(f"{width} × {height} pixels, more than {self.max_pixels:,}")

    def claim(self, size: int) -> None:
        """Wait until there are so many bytes of memory for decoding."""
        if self.claimed is not None:
            self.claimed(size)


def missing_rows(rows: int, height: int) -> str | None:
    """Return the warning for a picture of which only so many rows are there, None where that is all."""
    missing = height - rows
    return f"the last {missing:,} of its {height:,} rows are missing" if missing else None
