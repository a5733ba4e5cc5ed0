"""The EXIF block of a photo (CIPA DC-008, EXIF 2.32), read without decoding the picture, and the date in it."""

import re
from datetime import datetime
from io import BytesIO

from PIL import Image
from PIL.ExifTags import IFD, Base

from retrieval.photos.formats import HEIF, RAW, photo_format

_MOMENT = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_ORDERS = {b"II": b"II*\0", b"MM": b"MM\0*"}


def read_exif(data: bytes) -> Image.Exif | None:
    """Return what a camera wrote beside a picture, of those formats that have a place for it; None where there is none.

    Of a JPEG the beginning is enough.
    """
    format = photo_format(data)
    try:
        if format in ("TIFF", RAW):
            return _of_tiff(data)
        if format == "PNG" and b"eXIf" not in data and b"Raw profile type" not in data:
            return None  # Pillow would decode it to find out
        if format == HEIF:
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif format not in ("JPEG", "PNG", "WEBP", "AVIF"):
            return None
        with Image.open(BytesIO(data), formats=[format]) as image:
            return image.getexif()
    except Exception:  # whatever is wrong with a block of EXIF, the picture beside it may be whole
        return None


def moment_of(exif: Image.Exif | None) -> datetime | None:
    """Return when a photo was taken (DateTimeOriginal), by the camera's clock; None where there is no such date."""
    if exif is None:
        return None
    try:
        told = exif.get_ifd(IFD.Exif).get(Base.DateTimeOriginal)
        text = told.decode("ascii", "replace") if isinstance(told, bytes) else str(told)
        found = _MOMENT.match(text)
        return None if found is None else datetime.fromisoformat("{}-{}-{}T{}:{}:{}".format(*found.groups()))
    except Exception:
        return None


def _of_tiff(data: bytes) -> Image.Exif | None:
    """Read the block of a TIFF, or of a camera RAW that is built as one."""
    if data[:2] not in _ORDERS:
        return None
    exif = Image.Exif()
    exif.load(_ORDERS[data[:2]] + data[4:])  # of Olympus and Panasonic the first bytes are their own
    return exif
