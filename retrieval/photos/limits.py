"""How large a photo may be, and how much of it may be missing."""

from index.errors import PhotoError

MAX_PIXELS = 200_000_000
"""Pixels of the largest photo that is decoded where nothing else is said: some phones have 200 megapixels."""

LEAST_ROWS = 0.95
"""Share of its rows that a photo must have: one that was cut off shows the rest of them."""


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise PhotoError for a picture of more pixels."""
    if width * height > max_pixels:
        raise PhotoError(f"{width} × {height} pixels, more than {max_pixels:,}")


def missing_rows(rows: int, height: int) -> str | None:
    """Return the warning for a picture of which only so many rows are there, None where that is all."""
    missing = height - rows
    return f"the last {missing:,} of its {height:,} rows are missing" if missing else None
