"""Previews of photos for people: upright, in sRGB, whole, and kept in a cache folder under a size limit.

Not to be taken for the thumbnails of retrieval/photos/thumbnail.py, which are small, grey and square, for comparing.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from retrieval.photos.decode import open_photo
from retrieval.photos.files import current_stamp

LIMIT = 200_000_000
"""Bytes of the cache folder: about 10,000 previews of 200 pixels."""
LEFT = 0.9
"""What is left of the limit once it was exceeded, so that not every run removes files."""
QUALITY = 90


class Previews:
    """Makes previews, and keeps them in `folder` by path, file stamp and size; without a folder, nothing is kept.

    Several processes may use one folder: a preview appears there whole or not at all. What was not used for longest is
    removed at the end of the `with` block. Where the folder cannot be written, previews are made all the same.
    """

    def __init__(self, folder: Path | None, *, limit: int = LIMIT) -> None:
        self._folder, self._limit = folder, limit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.trim()

    def preview(self, path: Path, side: int) -> Image.Image:
        """Return a photo in RGB with a longer side of at most `side` pixels. Raises PhotoError, without its name."""
        kept = self._place(path, side)
        if kept is not None and (found := _read(kept)) is not None:
            return found
        picture = open_photo(path, shorter_side=side)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = BytesIO()
        picture.save(file, "JPEG", quality=QUALITY, subsampling=0)
        if kept is not None:
            _write(kept, file.getvalue())
        return Image.open(BytesIO(file.getvalue())).convert("RGB")  # the first time as it is the second time

    def trim(self) -> None:
        """Remove what was not used for longest, until the folder is within its limit."""
        if self._folder is None:
            return
        files = list[tuple[int, int, str]]()
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process has removed it
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        if total <= self._limit:
            return
        for _, size, name in sorted(files):
            if total <= LEFT * self._limit:
                break
            with suppress(OSError):
                os.unlink(name)
            total -= size

    def _place(self, path: Path, side: int) -> Path | None:
        stamp = current_stamp(path)
        if self._folder is None or stamp is None:
            return None
        key = b"\0".join((os.fsencode(os.path.abspath(path)), repr(stamp).encode(), str(side).encode()))
        return self._folder / f"{hashlib.sha256(key).hexdigest()[:40]}.jpg"


def _read(kept: Path) -> Image.Image | None:
    """Return a preview that was kept, and mark it as used now; None if there is none, or a damaged one."""
    try:
        with Image.open(kept, formats=["JPEG"]) as image:
            picture = image.convert("RGB")
    except (OSError, SyntaxError):
        return None
    with suppress(OSError):
        os.utime(kept)
    return picture


def _write(kept: Path, data: bytes) -> None:
    """Keep a preview; where that is not possible, as on a full disk, it is made again the next time."""
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=kept.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, kept)
        except BaseException:
            os.unlink(name)
            raise
