"""How large a photo may be, when there is memory for it, and how much of it may be missing."""

from collections.abc import Callable
from dataclasses import dataclass

from index.errors import PhotoError

MAX_PIXELS = 200_000_000
"""Pixels of the largest photo that is decoded where nothing else is said: some phones have 200 megapixels."""

LEAST_ROWS = 0.95
"""Share of its rows that a photo must have: one that was cut off shows the rest of them."""


@dataclass(frozen=True)
class Limits:
    """What one photo may take: so many pixels, and the memory that `claim` gives it, asked before it is decoded."""

    max_pixels: int = MAX_PIXELS
    claim: Callable[[int], None] | None = None

    def check_pixels(self, width: int, height: int) -> None:
        """Raise PhotoError for a picture of more pixels."""
        if width * height > self.max_pixels:
            raise PhotoError(f"{width} × {height} pixels, more than {self.max_pixels:,}")

    def claim_memory(self, count: int) -> None:
        """Wait until there are so many bytes for the photo."""
        if self.claim is not None:
            self.claim(count)


def missing_rows(rows: int, height: int) -> str | None:
    """Return which part of a picture is missing that has only so many rows, None where these are all."""
    missing = height - rows
    return f"the last {missing:,} of its {height:,} rows are missing" if missing else None
