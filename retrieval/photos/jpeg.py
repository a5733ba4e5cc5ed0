"""JPEG files that Pillow calls damaged and viewers show: no end, a maker's data in its place, a marker that is unknown.

The file is written again with what a decoder needs, in the syntax of ITU-T T.81, annex B. Where the last rows are
missing, the frame is made as many rows shorter.
"""

import random
import re
from io import BytesIO

from PIL import Image, ImageChops, JpegImagePlugin

from retrieval.photos.limits import LEAST_ROWS, Limits, missing_rows

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""What ends the data of a scan: in it, a byte of 255 is followed by 0 or is part of a restart marker."""
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BETWEEN_SCANS = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_END_OF_IMAGE = b"\xff\xd9"
_BYTES_OF_A_PIXEL = 28
"""That two pictures take, their difference, and the coefficients of a progressive one."""
# Data of no picture: where a decoder needs more than there is, it reads other pixels from it than from nothing.
_NOISE = bytes(random.Random(7).choices(range(255), k=4096))


def repaired_jpeg(data: bytes, limits: Limits) -> tuple[bytes, str | None] | None:
    """Return a JPEG file that Pillow reads, with a warning where rows or detail are missing; None if too much is.

    Raises PhotoError for a frame of more than the limit of pixels.
    """
    file = _Jpeg(data)
    if file.frame is None or not file.height or not file.scans:
        return None
    limits.check(file.width, file.height)
    if not file.has_every_coefficient():
        return None
    limits.claim(_BYTES_OF_A_PIXEL * file.width * file.height)
    whole = bytes(file.kept) + _END_OF_IMAGE
    rows = _rows_before_noise(whole, bytes(file.kept) + _NOISE + _END_OF_IMAGE)
    if rows < file.height and file.refines:
        return whole, "its end is missing, and so is fine detail"
    if rows < LEAST_ROWS * file.height:
        return None
    shorter = file.kept
    shorter[file.frame + 5 : file.frame + 7] = rows.to_bytes(2, "big")
    return bytes(shorter) + _END_OF_IMAGE, missing_rows(rows, file.height)


class _Jpeg:
    """The segments of a file that belong to its picture, as far as they can be followed."""

    def __init__(self, data: bytes) -> None:
        self.kept = bytearray(data[:2])
        self.frame: int | None = None
        """Where in `kept` the frame's marker is."""
        self.height = self.width = 0
        self.components: tuple[int, ...] = ()
        self.scans: list[tuple[tuple[int, ...], range, bool]] = []
        """Of each its components, its coefficients, and whether it refines what came before."""
        position = 2
        while (found := _MARKER.search(data, position)) is not None:
            position = self._take(data, found[1][0], found.end())

    def _take(self, data: bytes, marker: int, start: int) -> int:
        """Keep a segment whose marker ends at `start` if a decoder knows it; return where to look for the next one."""
        if marker in _WITHOUT_LENGTH and not self.scans:
            return start
        end = start + int.from_bytes(data[start : start + 2], "big")
        known = marker in _BETWEEN_SCANS or marker == _START_OF_SCAN or (marker in _FRAMES and self.frame is None)
        is_segment = start + 2 <= end < len(data)
        followed = data[end : end + 1] == b"\xff" or marker == _START_OF_SCAN
        if self.scans and not (known and marker not in _FRAMES and is_segment and followed):
            return len(data)  # the end of the picture, whatever comes then
        if not (known and is_segment):
            return end if is_segment and followed and marker != _END else start
        if marker == _START_OF_SCAN:
            scan_ends = _AFTER_SCAN.search(data, end)
            count = data[start + 2]
            parameters = data[start + 3 + 2 * count : end]
            ids = tuple(data[start + 3 : start + 3 + 2 * count : 2])
            self.scans.append((ids, range(parameters[0], parameters[1] + 1), parameters[2] > 15))
            end = scan_ends.start() if scan_ends else len(data)
        elif marker in _FRAMES:
            self.frame = len(self.kept)
            self.height, self.width = (int.from_bytes(data[start + at : start + at + 2], "big") for at in (3, 5))
            self.components = tuple(data[start + 8 : end : 3])
        self.kept += b"\xff" + bytes([marker]) + data[start:end]
        return end

    @property
    def refines(self) -> bool:
        """Whether the last scan only refines what the ones before it have told."""
        return self.scans[-1][2]

    def has_every_coefficient(self) -> bool:
        """Whether the scans tell every coefficient of every component, though perhaps not all its bits."""
        told = {(component, k) for ids, ks, refines in self.scans if not refines for component in ids for k in ks}
        return told >= {(component, k) for component in self.components for k in range(64)}


def _rows_before_noise(silent: bytes, noisy: bytes) -> int:
    """Return how many rows two files have in common: those that are decoded before the data ends."""
    pictures = [JpegImagePlugin.JpegImageFile(BytesIO(data), "") for data in (silent, noisy)]
    difference = ImageChops.difference(*pictures)
    box = difference.convert("RGB").getbbox() if isinstance(difference, Image.Image) else None
    return box[1] if box else pictures[0].height
