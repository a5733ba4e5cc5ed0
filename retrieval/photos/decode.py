"""Opens photos: what cameras, phones and the web write becomes an upright RGB picture, or a PhotoError saying why not.

The message of such a PhotoError is the reason alone ("truncated JPEG"): the caller knows the photo's name and adds it.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, features

from index.errors import OutOfMemoryError, PhotoError
from retrieval.photos.files import read_photo
from retrieval.photos.formats import HEIF, NEEDED_PACKAGES, RAW, photo_format

MAX_PIXELS = 200_000_000
"""Pixels of the largest photo that is decoded where nothing else is said: some phones have 200 megapixels."""

_DECODERS = re.compile(r"(PIL|pillow_heif|rawpy)\.")
_PLUGINS = {"JPEG2000": "Jpeg2K", "TIFF": "Tiff", "WEBP": "WebP", "AVIF": "Avif"}
# Of these there are more kinds than the decoders know, and they say the same of an unknown one as of a damaged one.
_OR_UNKNOWN = dict.fromkeys(("TIFF", RAW), ", or of a kind that is not supported")
_END_OF_JPEG2000 = b"\xff\xd9"
"""The marker that closes a codestream (ISO/IEC 15444-1, annex A); bit stuffing keeps it out of the data before."""
_FEATURES = {"JPEG2000": "jpg_2000", "WEBP": "webp", "AVIF": "avif"}
_OF_DECODER = {"WEBP": 13, "JPEG2000": 16, "AVIF": 6, "HEIF": 6}
"""Bytes of memory a pixel that decoders take beside the picture."""
_BITS_PER_SAMPLE = 258
"""The tag of a TIFF."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright RGB picture, perhaps at a reduced size; width and height are those of the whole photo, upright."""

    image: Image.Image
    width: int
    height: int


def open_photo(source: Path | bytes, *, shorter_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the picture that `load_photo` gives."""
    return load_photo(source, shorter_side=shorter_side, max_pixels=max_pixels).image


def load_photo(
    source: Path | bytes,
    *,
    shorter_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    claim: Callable[[int], None] | None = None,
) -> Photo:
    """Decode a file, or the bytes of one: the first frame, upright, in RGB, over white where it is transparent.

    A photo that will be shrunk to `shorter_side` pixels may come at a reduced size, never below twice that.
    Raises PhotoError for anything but a whole picture of at most `max_pixels`. A GIF, TIFF or WebP may also be refused
    by Pillow's own limit, which a program can set: at first 178,956,970 pixels. `claim` is called with the bytes of
    memory that decoding takes, before it begins. Raises OutOfMemoryError where there is not enough memory.
    """
    data = read_photo(source) if isinstance(source, Path) else source
    format = photo_format(data)
    if format is None:
        raise PhotoError("not a photo" if data else "empty file")
    _silence_decoders()
    try:
        with _open(data, format) as image:
            return _decode(image, shorter_side, max_pixels, claim)
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(_beyond_limit_of_pillow(error, max_pixels)) from None
    except MemoryError:
        raise OutOfMemoryError from None
    except Exception as error:  # over damaged bytes a decoder may raise anything
        reason = str(error).lower()
        if "memory" in reason and "limit" not in reason:  # a decoder's own word for it, which is no MemoryError
            raise OutOfMemoryError from error
        if "truncated" in reason or "end of file" in reason:
            raise PhotoError(f"truncated {format}") from error
        raise PhotoError(f"damaged {format}{_OR_UNKNOWN.get(format, '')}") from error


def upright(image: Image.Image) -> Image.Image:
    """Return a picture that a program has opened as `open_photo` would: upright, in RGB, over white.

    Raises PhotoError for a picture that cannot be decoded, and for colours that are not supported.
    """
    orientation = _orientation(image)
    try:
        rgb = _to_rgb(image)
    except OSError as error:
        raise PhotoError(f"damaged {image.format or 'picture'} ({error})") from error
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def _open(data: bytes, format: str) -> Image.Image:
    """Open with the one decoder that the format needs: importing all of Pillow's takes longer than decoding a photo."""
    if format in ("TIFF", RAW):
        from retrieval.photos.camera_raw import is_camera_raw, open_preview

        if format == RAW or is_camera_raw(data):
            return open_preview(data)
    if format == HEIF:
        try:
            import pillow_heif
        except ImportError:
            raise PhotoError(NEEDED_PACKAGES["pillow_heif"]) from None
        pillow_heif.register_heif_opener()
    if format in _FEATURES and not features.check(_FEATURES[format]):
        raise PhotoError(f"this installation of Pillow cannot read {format}")
    if format == "JPEG2000" and _END_OF_JPEG2000 not in data:
        raise PhotoError("truncated JPEG2000")  # cut between two headers, OpenJPEG takes it for a grey picture
    if format in _PLUGINS:
        import_module(f"PIL.{_PLUGINS[format]}ImagePlugin")
    return open_as(format, data)


def open_as(format: str, data: bytes) -> Image.Image:
    """Open a picture of a known format, not yet decoded.

    `Image.open` would refuse what has more pixels than a limit of its own, which holds for the whole process: a program
    that uses fc7 may have set it. The limit here is checked before anything is decoded. Pillow still checks its own
    inside some formats (GIF, TIFF, WebP).
    """
    Image.preinit()
    factory, _ = Image.OPEN[format]
    return factory(BytesIO(data), "")


def _beyond_limit_of_pillow(error: Exception, max_pixels: int) -> str:
    """Return the reason for a photo that Pillow refuses: it warns from its own limit on, and raises from twice that."""
    own = (Image.MAX_IMAGE_PIXELS or max_pixels) * (1 if isinstance(error, Warning) else 2)
    return f"more than {min(own, max_pixels):,} pixels"


def decoding_bytes(image: Image.Image, whole: int) -> int:
    """Return about how many bytes it takes to decode a picture that was opened, and to make it upright RGB.

    `whole` is its number of pixels before a JPEG was reduced. Measured as the growth of whole processes.
    """
    # A transparent picture is laid over a white one; floats are computed in 64 bits.
    of_mode = 14 if image.has_transparency_data else 28 if image.mode in ("F", "I") else 8
    size = image.width * image.height * (of_mode + _OF_DECODER.get(image.format or "", 0))
    if "progressive" in image.info:
        size += whole * 2 * len(image.getbands())  # all coefficients, of 16 bits
    return size


def _decode(
    image: Image.Image, shorter_side: int | None, max_pixels: int, claim: Callable[[int], None] | None
) -> Photo:
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError(f"{width} × {height} pixels, more than {max_pixels:,}")
    drafted = None
    if shorter_side is not None and image.format in ("JPEG", "MPO"):
        # A JPEG can be decoded at 1/2, 1/4 or 1/8. Measured after shrinking to 64 or 256 pixels, against shrinking the
        # whole picture: decoding at twice the size wanted is right to 48-54 dB (worst photo 41), at once the size only
        # to 39-47 (worst 31), and three times gains 1-6 dB. A photo of 12 megapixels takes half the time for 64 pixels.
        drafted = image.draft(None, (2 * shorter_side, 2 * shorter_side))
    if claim is not None:
        claim(decoding_bytes(image, width * height))
    image.load()
    rgb = _to_rgb(image)
    if drafted and drafted[1] != (0, 0, *rgb.size):
        # 375 pixels at 1/2 are 188, the last of them half outside: without this the picture is shifted (6 dB worse).
        rgb = rgb.resize(rgb.size, Image.Resampling.BICUBIC, box=drafted[1])
    orientation = _orientation(image)
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    return Photo(rgb, *((height, width) if orientation >= 5 else (width, height)))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever is wrong with a block of EXIF, the picture beside it is whole
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _wide_grey_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "LAB":
        raise PhotoError("colours in L*a*b*, which are not supported")
    return image if image.mode == "RGB" else image.convert("RGB")


def _wide_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of up to 16 bits keeps its highest 8; with no agreed white (more or signed bits, floats) it is stretched."""
    grey = np.asarray(image)
    # Pillow's mode I is 16 bits in a PNG, PPM or JPEG 2000, but 32 or signed ones in a TIFF.
    if grey.dtype.itemsize == 2 or (image.mode == "I" and image.format != "TIFF"):
        # Pillow scales them all to 16 bits, except a TIFF of 12.
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        return Image.fromarray((grey >> (bits - 8)).astype(np.uint8))
    finite = grey[np.isfinite(grey)]
    darkest, brightest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    grey = np.nan_to_num(grey.astype(np.float64), copy=False, nan=darkest, posinf=brightest, neginf=darkest)
    return Image.fromarray(((grey - darkest) * (255 / max(brightest - darkest, 1e-9)) + 0.5).astype(np.uint8))


def _silence_decoders() -> None:
    """Hide Pillow's warnings about odd metadata; errors that matter are checked here and raised.

    The filter holds for the whole process, because `warnings.catch_warnings` is not thread-safe. It is checked at every
    photo, because another `catch_warnings` (for example pytest's) removes it at its end.
    """
    if not any(entry[0] == "ignore" and entry[3] == _DECODERS for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_DECODERS.pattern)
