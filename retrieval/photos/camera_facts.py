"""What a camera wrote beside a picture (EXIF 2.32), as words for people."""

from collections.abc import Callable
from typing import Any

from PIL.ExifTags import IFD, Base

from retrieval.photos.exif import read_exif

LONGEST = 200


def camera_facts(data: bytes) -> dict[str, str]:
    """Return what is known of the camera and the exposure, by name; nothing where there is no EXIF block."""
    exif = read_exif(data)
    try:
        values: dict[int, Any] = {} if exif is None else {**exif, **exif.get_ifd(IFD.Exif)}
    except Exception:  # whatever is wrong with a block of EXIF, the picture beside it may be whole
        return {}
    found: dict[str, str] = {}
    for name, (tags, tell) in _FACTS.items():
        given = [values[tag] for tag in tags if tag in values]
        try:
            text = " ".join(dict.fromkeys(tell(value) for value in given))
        except (ArithmeticError, TypeError, ValueError):
            continue
        text = "".join(letter if letter.isprintable() else " " for letter in text).strip()
        if text:
            found[name] = text[:LONGEST]
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _moment(value: Any) -> str:
    day, _, time = _text(value).partition(" ")
    return f"{day.replace(':', '-')} {time}".strip()


def _seconds(value: Any) -> str:
    seconds = float(value)
    return f"1/{round(1 / seconds)} s" if 0 < seconds < 0.5 else f"{seconds:g} s"


def _first(value: Any) -> str:
    return str(int(value[0] if isinstance(value, tuple) else value))


_FACTS: dict[str, tuple[tuple[int, ...], Callable[[Any], str]]] = {
    "Taken": ((Base.DateTimeOriginal,), _moment),
    "Camera": ((Base.Make, Base.Model), _text),
    "Lens": ((Base.LensModel,), _text),
    "Exposure": ((Base.ExposureTime,), _seconds),
    "Aperture": ((Base.FNumber,), lambda value: f"f/{float(value):g}"),
    "ISO": ((Base.ISOSpeedRatings,), _first),
    "Focal length": ((Base.FocalLength,), lambda value: f"{float(value):g} mm"),
    "Artist": ((Base.Artist,), _text),
    "Copyright": ((Base.Copyright,), _text),
}
