"""JPEG XL by pillow-jxl-plugin's decoder, used without registering it in Pillow; its size is checked before."""

from io import BytesIO

from PIL import Image, JpegImagePlugin

from index.errors import PhotoError
from retrieval.photos.formats import NEEDED_PACKAGES
from retrieval.photos.limits import Limits

_BYTES_OF_A_PIXEL = 32
"""That the decoder takes, which computes in floats of four channels."""
_CODESTREAM = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width and height (ISO/IEC 18181-1, table of SizeHeader)."""


def open_jpeg_xl(data: bytes, limits: Limits) -> Image.Image:
    """Return the first picture of a file, upright. Raises PhotoError for more pixels, and without the package."""
    try:
        import pillow_jxl
    except ImportError:
        raise PhotoError(NEEDED_PACKAGES["pillow_jxl"]) from None
    width, height = jpeg_xl_size(data)
    limits.check(width, height)
    limits.claim(_BYTES_OF_A_PIXEL * width * height)
    is_jpeg, info, pixels, profile, _ = pillow_jxl.Decoder(num_threads=0)(data)
    if is_jpeg:
        return JpegImagePlugin.jpeg_factory(BytesIO(pixels))
    # A decoder turns it upright itself; an EXIF block may say so again.
    image = Image.frombytes("F" if info.mode == "F;16" else info.mode, (info.width, info.height), pixels)
    if profile:
        image.info["icc_profile"] = profile
    return image


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Return width and height as a file's header tells them. Raises ValueError."""
    codestream = _codestream(data)
    if codestream[:2] != _CODESTREAM:
        raise ValueError("no JPEG XL")
    bits = _Bits(codestream[2:])
    small = bits.take(1)
    height = _small(bits) if small else _large(bits)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        return height * across // down, height
    return _small(bits) if small else _large(bits), height


def _small(bits: "_Bits") -> int:
    return (bits.take(5) + 1) * 8


def _large(bits: "_Bits") -> int:
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


class _Bits:
    """Numbers of any number of bits, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data[:16], "little"), 8 * len(data[:16])

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("truncated header")
        taken = self._number & (1 << count) - 1
        self._number >>= count
        self._left -= count
        return taken


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which a container of boxes may hold."""
    position = 0
    while data[:2] != _CODESTREAM and position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        start = position + (16 if length == 1 else 8)
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        if kind in (b"jxlc", b"jxlp"):
            start += 4 * (kind == b"jxlp")  # the number of the part
            return data[start : start + 32]
        if length < 8:
            break
        position += length
    return data[:32]
