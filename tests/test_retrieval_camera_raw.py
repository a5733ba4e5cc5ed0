"""Camera RAW by its preview, on small DNG files written here byte by byte."""

import struct
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError
from retrieval.photos.decode import load_photo

pytest.importorskip("rawpy", reason="needs rawpy, the extra `raw`")

BYTE, TEXT, SHORT, LONG = 1, 2, 3, 4
WIDTH, HEIGHT = 160, 120

Entry = tuple[int, int, list[int] | bytes]


def directory(entries: list[Entry], start: int) -> bytes:
    """A TIFF directory with its entries (tag, type, values), to stand at `start`; what does not fit comes after it."""
    head, rest = struct.pack("<H", len(entries)), b""
    for tag, kind, values in sorted(entries):
        letter = {BYTE: "B", SHORT: "H", LONG: "I"}.get(kind, "")
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{letter}", *values)
        if len(data) > 4:
            place = struct.pack("<I", start + 2 + 12 * len(entries) + 4 + len(rest))
            rest += data + bytes(len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, len(values)) + place
    return head + bytes(4) + rest


def dng(preview: bytes, *, compression: int, photometric: int, orientation: int = 1) -> bytes:
    """A DNG: a preview of WIDTH × HEIGHT in the first directory, 64 × 48 raw values in a directory below it."""
    raw = np.arange(64 * 48, dtype="<u2").tobytes()
    raw_at = 8 + len(preview) + len(preview) % 2
    raw_directory_at = raw_at + len(raw)
    raw_directory = directory(
        [
            (254, LONG, [0]),
            (256, LONG, [64]),
            (257, LONG, [48]),
            (258, SHORT, [16]),
            (259, SHORT, [1]),
            (262, SHORT, [32803]),
            (273, LONG, [raw_at]),
            (277, SHORT, [1]),
            (278, LONG, [48]),
            (279, LONG, [len(raw)]),
            (33421, SHORT, [2, 2]),
            (33422, BYTE, [0, 1, 1, 2]),
        ],
        raw_directory_at,
    )
    first_at = raw_directory_at + len(raw_directory)
    first = directory(
        [
            (254, LONG, [1]),
            (256, LONG, [WIDTH]),
            (257, LONG, [HEIGHT]),
            (258, SHORT, [8, 8, 8]),
            (259, SHORT, [compression]),
            (262, SHORT, [photometric]),
            (271, TEXT, b"fc7\0"),
            (272, TEXT, b"test\0"),
            (273, LONG, [8]),
            (274, SHORT, [orientation]),
            (277, SHORT, [3]),
            (278, LONG, [HEIGHT]),
            (279, LONG, [len(preview)]),
            (330, LONG, [raw_directory_at]),
            (50706, BYTE, [1, 4, 0, 0]),
            (50708, TEXT, b"fc7 test\0"),
        ],
        first_at,
    )
    return b"II*\0" + struct.pack("<I", first_at) + preview.ljust(raw_at - 8, b"\0") + raw + raw_directory + first


def scene() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([columns, rows, np.full_like(rows, 60)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "bitmap"])
def test_the_preview_is_taken_upright(kind: str, orientation: int, quarter_turns: int) -> None:
    if kind == "JPEG":
        file = BytesIO()
        Image.fromarray(scene()).save(file, "JPEG", quality=95)
        data = dng(file.getvalue(), compression=7, photometric=6, orientation=orientation)
    else:
        data = dng(scene().tobytes(), compression=1, photometric=2, orientation=orientation)
    photo = load_photo(data)
    upright = np.rot90(scene(), quarter_turns)
    assert (photo.height, photo.width) == upright.shape[:2]
    assert np.abs(np.asarray(photo.image).astype(int) - upright).mean() < 2


def test_a_raw_without_a_usable_preview_is_refused() -> None:
    data = dng(b"no JPEG at all", compression=7, photometric=6)
    with pytest.raises(PhotoError, match=r"^a camera RAW without a preview$"):
        load_photo(data)


@pytest.mark.parametrize(
    "head", [b"FUJIFILMCCD-RAW", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0", b"II*\0\x10\0\0\0CR\x02\0"]
)
def test_damaged_raws_of_other_makers_are_refused(head: bytes) -> None:
    with pytest.raises(PhotoError, match=r"^damaged camera RAW, or of a kind that is not supported$"):
        load_photo(head + bytes(500))


def test_an_ordinary_tiff_is_no_raw() -> None:
    file = BytesIO()
    Image.fromarray(scene()).save(file, "TIFF")
    np.testing.assert_array_equal(np.asarray(load_photo(file.getvalue()).image), scene())
