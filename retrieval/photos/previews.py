"""Previews of photos for people: upright, in sRGB, whole, and kept in a cache folder under a size limit.

Not to be taken for the thumbnails of retrieval/photos/thumbnail.py, which are small, grey and square, for comparing.
"""

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from index.files import absolute
from index.records import FileStamp
from retrieval.photos.decode import Photo
from retrieval.photos.files import current_stamp
from retrieval.photos.limits import MAX_PIXELS
from retrieval.pipeline.memory import decode_within_budget

LIMIT = 300_000_000
"""Bytes of the cache folder: about 6,000 previews of 400 pixels."""
LEFT = 0.9
"""What is left of the limit once it was exceeded, so that not every run removes files."""
BEFORE_TRIMMING = 256
"""So many are kept by one process before it looks at the limit, beside the end of the `with` block."""
QUALITY = 90
SETTLED = 2_000_000_000
"""Nanoseconds after which one more change of a file is sure to change its time, whatever the file system."""
USED_LATELY = 3600
"""Seconds within which another use is not noted."""


class Previews:
    """Makes previews, and keeps them in `folder` by path, file stamp and size; without a folder, nothing is kept.

    Several threads and processes may use one folder: a preview appears there whole or not at all. What was not used for
    longest is removed at the end of the `with` block. Where the folder cannot be written, previews are made all the
    same. A photo that has changed within the last two seconds is not kept: it may be changing still.
    """

    def __init__(self, folder: Path | None, *, limit: int = LIMIT, max_pixels: int = MAX_PIXELS) -> None:
        self._folder, self._limit, self._max_pixels = folder, limit, max_pixels
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.trim()

    def preview(self, photo: Path | bytes, side: int, *, shown: int | None = None) -> Image.Image:
        """Return a photo in RGB with a longer side of at most `side` pixels. Raises PhotoError, without its name.

        Where it is shown in fewer pixels, its longer side may come with no more than these, which takes less time.
        """
        picture = Image.open(BytesIO(self.jpeg(photo, side)))
        if shown is not None:
            longer = max(picture.size)
            picture.draft("RGB", (picture.width * shown // longer, picture.height * shown // longer))
        return picture.convert("RGB")

    def jpeg(self, photo: Path | bytes, side: int) -> bytes:
        """Return a photo, or the bytes of one, as a JPEG without metadata, its longer side at most `side` pixels.

        Raises PhotoError, without its name.
        """
        stamp = current_stamp(photo) if isinstance(photo, Path) else None  # before it is read
        kept = self._place(photo, stamp, side) if isinstance(photo, Path) and stamp is not None else None
        if kept is not None and (found := _read(kept)) is not None:
            return found
        data = decode_within_budget(photo, partial(_encoded, side=side), shorter_side=side, max_pixels=self._max_pixels)
        if kept is not None and stamp is not None and time.time_ns() - stamp.mtime_ns >= SETTLED:
            _write(kept, data)
            self._written += 1  # threads may miscount; the limit is kept all the same
            if self._written % BEFORE_TRIMMING == 0:
                self.trim()
        return data

    def kept(self, photo: Path, side: int) -> bytes | None:
        """Return what `jpeg` would, if it was kept; None if the photo must be decoded for it."""
        stamp = current_stamp(photo)
        place = None if stamp is None else self._place(photo, stamp, side)
        return None if place is None else _read(place)

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

    def _place(self, path: Path, stamp: FileStamp, side: int) -> Path | None:
        if self._folder is None:
            return None
        key = b"\0".join((os.fsencode(absolute(path)), repr(stamp).encode(), str(side).encode()))
        return self._folder / f"{hashlib.sha256(key).hexdigest()[:40]}.jpg"


def _encoded(photo: Photo, side: int) -> bytes:
    picture = photo.image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def _read(kept: Path) -> bytes | None:
    """Return a preview that was kept, and note that it was used; None if there is none, or a damaged one."""
    try:
        data = kept.read_bytes()
        if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):  # start and end of image, ITU-T T.81
            return None
        if time.time() - kept.stat().st_mtime > USED_LATELY:
            os.utime(kept)
    except OSError:
        return None
    return data


def _write(kept: Path, data: bytes) -> None:
    """Keep a preview; where that is not possible, as on a full disk, it is made again the next time."""
    with suppress(OSError):
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=kept.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, kept)
        except BaseException:
            os.unlink(name)
            raise
