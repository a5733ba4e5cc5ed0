"""Opens photos: what cameras, phones and the web write becomes an upright RGB picture, or a PhotoError saying why not.

The message of such a PhotoError is the reason alone ("truncated JPEG"): the caller knows the photo's name and adds it.
"""

import re
import warnings
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, ImageFile, features

from index.errors import OutOfMemoryError, PhotoError
from retrieval.photos.exif import moment_of, read_exif
from retrieval.photos.files import read_photo
from retrieval.photos.formats import HEIF, JPEG_XL, NEEDED_PACKAGES, RAW, photo_format
from retrieval.photos.limits import MAX_PIXELS, Claim, Limits
from retrieval.photos.rgb import to_rgb

_DECODERS = re.compile(r"(PIL|pillow_heif|rawpy)\.")
_PLUGINS = {"JPEG2000": "Jpeg2K", "TIFF": "Tiff", "WEBP": "WebP", "AVIF": "Avif"}
# Of these there are more kinds than the decoders know, and they say the same of an unknown one as of a damaged one.
_OR_UNKNOWN = dict.fromkeys(("TIFF", RAW), ", or of a kind that is not supported")
_END_OF_JPEG2000 = b"\xff\xd9"
"""The marker that closes a codestream (ISO/IEC 15444-1, annex A); bit stuffing keeps it out of the data before."""
_AFTER_12_BITS = 16
"""The least high byte that 12 bits, stored in 16, do not have."""
_FEATURES = {"JPEG2000": "jpg_2000", "WEBP": "webp", "AVIF": "avif"}
_OF_DECODER = {"WEBP": 13, "JPEG2000": 16, "AVIF": 6, "HEIF": 6}
"""Bytes of memory a pixel that decoders take beside the picture."""
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
    """An upright RGB picture, perhaps at a reduced size; width and height are those of the whole photo, upright.

    `missing` says which part of the file is missing, None for a whole one; `taken` is when the photo was taken, by the
    clock of its camera, None where the file does not say so.
    """

    image: Image.Image
    width: int
    height: int
    missing: str | None = None
    taken: datetime | None = None


def open_photo(source: Path | bytes, *, shorter_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the picture that `load_photo` gives."""
    return load_photo(source, shorter_side=shorter_side, max_pixels=max_pixels).image


def load_photo(
    source: Path | bytes,
    *,
    shorter_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    claim: Claim | None = None,
) -> Photo:
    """Decode a file, or the bytes of one: the first frame, upright, in sRGB, over white where it is transparent.

    A photo that will be shrunk to `shorter_side` pixels may come at a reduced size, never below twice that. A JPEG, PNG
    or TIFF that was cut off comes without the missing rows, with a warning, if at least 95 % of them are there, and a
    WebP without what comes after its picture; other kinds are refused.
    Raises PhotoError for anything but a picture of at most `max_pixels`. A GIF or WebP may also be refused by Pillow's
    own limit, which a program can set: at first 178,956,970 pixels. `claim` is called with the bytes of memory that
    decoding takes, before it begins. Raises OutOfMemoryError where there is not enough memory.
    """
    data = read_photo(source) if isinstance(source, Path) else source
    format = photo_format(data)
    if format is None:
        raise PhotoError("not a photo" if data else "empty file")
    _silence_decoders()
    try:
        photo = _load(data, format, shorter_side, Limits(max_pixels, claim))
        if photo.taken is None and format in ("TIFF", RAW):
            photo = replace(photo, taken=moment_of(read_exif(data)))  # what decodes these need not know of it
        return photo
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
        image.load()  # a program may have opened it only, and not decoded it
        rgb = to_rgb(image)
    except OSError as error:
        raise PhotoError(f"damaged {image.format or 'picture'} ({error})") from error
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def _load(data: bytes, format: str, shorter_side: int | None, limits: Limits) -> Photo:
    """Decode a file, or what can be made of one that Pillow refuses though viewers show it."""
    try:
        image, missing = _open(data, format, limits)
        with image:
            return _decode(image, shorter_side, limits, missing)
    except (PhotoError, MemoryError):
        raise
    except Exception as error:
        try:
            repaired = _repaired(data, format, limits, error)
        except (PhotoError, MemoryError):
            raise
        except Exception:  # it is damaged in other ways too
            repaired = None
        if repaired is None:
            raise
        image, missing = repaired
        with image:
            return _decode(image, shorter_side, limits, missing)


def _open(data: bytes, format: str, limits: Limits) -> tuple[Image.Image, str | None]:
    """Open with the one decoder that the format needs: importing all of Pillow's takes longer than decoding a photo."""
    if format in ("TIFF", RAW):
        from retrieval.photos.camera_raw import is_camera_raw, open_preview

        if format == RAW or is_camera_raw(data):
            return open_preview(data), None
        from retrieval.photos.tiff import open_tiff, pillow_is_right

        if not pillow_is_right(data):
            return open_tiff(data, limits)
    if format == JPEG_XL:
        from retrieval.photos.jpeg_xl import open_jpeg_xl

        return open_jpeg_xl(data, limits), None
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
    return open_as(format, data), None


def _repaired(data: bytes, format: str, limits: Limits, error: Exception) -> tuple[Image.Image, str | None] | None:
    """Open what can be made of a file that was refused with an error, and say which part of it is missing."""
    if format == "JPEG":
        from retrieval.photos.jpeg import repaired_jpeg

        jpeg = repaired_jpeg(data, limits)
        return jpeg and (open_as("JPEG", jpeg[0]), jpeg[1])
    if format == "PNG":
        from retrieval.photos.png import repaired_png

        png = repaired_png(data, limits)
        if png is None:
            return None
        image = open_as("PNG", png[0])
        image.info["icc_profile"] = png[2]
        return image, png[1]
    if format == "WEBP":
        from retrieval.photos.webp import without_cut_chunk

        webp = without_cut_chunk(data)
        return None if webp is None else (open_as("WEBP", webp), None)
    if format == "TIFF":
        from retrieval.photos.tiff import open_tiff

        try:
            return open_tiff(data, limits)
        except PhotoError as refused:
            # Pillow knows the kind: it is damaged, and no package helps.
            if str(refused) in NEEDED_PACKAGES.values() and not isinstance(error, SyntaxError):
                return None
            raise
    return None


def open_as(format: str, data: bytes) -> Image.Image:
    """Open a picture of a known format, not yet decoded.

    `Image.open` would refuse what has more pixels than a limit of its own, which holds for the whole process: a program
    that uses fc7 may have set it. The limit here is checked before anything is decoded. Pillow still checks its own
    inside some formats (GIF, WebP).
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


def _decode(image: Image.Image, shorter_side: int | None, limits: Limits, missing: str | None) -> Photo:
    width, height = image.size
    limits.check(width, height)
    drafted = None
    if shorter_side is not None and image.format in ("JPEG", "MPO"):
        # A JPEG can be decoded at 1/2, 1/4 or 1/8. Measured after shrinking to 64 or 256 pixels, against shrinking the
        # whole picture: decoding at twice the size wanted is right to 48-54 dB (worst photo 41), at once the size only
        # to 39-47 (worst 31), and three times gains 1-6 dB. A photo of 12 megapixels takes half the time for 64 pixels.
        drafted = image.draft(None, (2 * shorter_side, 2 * shorter_side))
    limits.claim(decoding_bytes(image, width * height))
    image = _loaded(image, limits)
    if drafted and drafted[1] != (0, 0, *image.size):
        # 375 pixels at 1/2 are 188, the last of them half outside: without this the picture is shifted (6 dB worse).
        image = image.resize(image.size, Image.Resampling.BICUBIC, box=drafted[1])
    rgb = to_rgb(image, shorter_side=shorter_side)
    orientation = _orientation(image)
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    upright = (height, width) if orientation >= 5 else (width, height)
    return Photo(rgb, *upright, missing, _taken(image))


def _loaded(image: Image.Image, limits: Limits) -> Image.Image:
    """Decode a picture: by all of its bits where Pillow keeps the higher 8 of 16, and these say next to nothing."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) and ";16" in str(image.tile) else None
    data = file.getvalue() if isinstance(file, BytesIO) else None
    image.load()
    if data is None or image.mode not in ("RGB", "RGBA") or any(image.convert("L").histogram()[_AFTER_12_BITS:]):
        return image
    if image.format == "PNG":
        from retrieval.photos.png import decoded_with_16_bits

        return decoded_with_16_bits(image, data)
    if image.format == "TIFF":
        from retrieval.photos.tiff import open_tiff

        return open_tiff(data, limits)[0]
    return image


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever is wrong with a block of EXIF, the picture beside it is whole
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _taken(image: Image.Image) -> datetime | None:
    try:
        return moment_of(image.getexif())
    except Exception:  # as of the orientation
        return None


def _silence_decoders() -> None:
    """Hide Pillow's warnings about odd metadata; errors that matter are checked here and raised.

    The filter holds for the whole process, because `warnings.catch_warnings` is not thread-safe. It is checked at every
    photo, because another `catch_warnings` (for example pytest's) removes it at its end.
    """
    if not any(entry[0] == "ignore" and entry[3] == _DECODERS for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_DECODERS.pattern)
