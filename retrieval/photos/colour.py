"""Colours as a photo means them: what an ICC profile describes is brought to sRGB, which networks learn from.

Adobe RGB, Display P3 and ProPhoto RGB shown as if they were sRGB look pale or of another hue, and CMYK means nothing
without its profile. Little CMS, which is part of Pillow, computes it.
"""

import struct
from functools import cache, lru_cache
from io import BytesIO

from PIL import ExifTags, Image, ImageCms

MAX_PROFILE_BYTES = 16 << 20
"""A larger one is ignored; the profiles of printing presses have up to a few megabytes."""

_KINDS = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Signatures of colour spaces (ICC.1:2022, table 19) and the mode of the pictures that such a profile is for."""
_TOLERANCE = 3
"""Levels of 255 by which colours may move under a profile that is taken for sRGB: several of these are in use."""
_ADOBE_RGB = "R03"
"""What a camera says of a photo in Adobe RGB that has no profile, by the design rule for camera files (DCF 2.0)."""
_STEPS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
_MODE_WITHOUT_ALPHA = {"RGBA": "RGB", "LA": "L", "RGBX": "RGB"}


def profile_of(image: Image.Image) -> bytes | None:
    """Return the ICC profile of a picture, or that of Adobe RGB where a camera says so in its EXIF data."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile
    exif = image.info.get("exif")
    if not isinstance(exif, bytes) or _ADOBE_RGB.encode() not in exif:
        return None
    try:
        index = image.getexif().get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except Exception:  # whatever is wrong with a block of EXIF, the picture beside it is whole
        return None
    return adobe_rgb() if index == _ADOBE_RGB else None


def to_srgb(image: Image.Image, profile: bytes | None, *, shorter_side: int | None = None) -> Image.Image:
    """Return a picture of mode L, LA, RGB, RGBA or CMYK in sRGB; of another mode, or where nothing changes, itself.

    One that will be shrunk to `shorter_side` pixels is first brought near to twice that, because 12 megapixels take as
    long as decoding them. A profile that is damaged, or of other colours than the picture, is ignored, as viewers do.
    """
    if not isinstance(profile, bytes) or len(profile) > MAX_PROFILE_BYTES:
        return image
    mode = _MODE_WITHOUT_ALPHA.get(image.mode, image.mode)
    transform = _transform(profile, mode)
    if transform is None:
        return image
    times = min(image.size) // (2 * shorter_side) if shorter_side else 1
    if times > 1:
        size = (-(-image.width // times), -(-image.height // times))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    try:
        converted = transform.apply(image if image.mode == mode else image.convert(mode))
    except (ImageCms.PyCMSError, ValueError, OSError):
        return image
    if image.mode in ("RGBA", "LA"):
        converted.putalpha(image.getchannel("A"))
    converted.info = {**image.info, "icc_profile": None}
    return converted


# Photos of one camera have one profile, so that a profile is looked at once. A transform can be used by many threads.
@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, None where there is none or it would change next to nothing."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if _KINDS.get(source.profile.xcolor_space) != mode:
            return None
        transform = ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform if _changes_colours(transform, mode) else None
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError):  # whatever Little CMS has against it
        return None


def _changes_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "CMYK":
        return True
    if mode == "L":
        before = Image.new("L", (256, 1))
        before.putdata(range(256))
    else:
        before = Image.new("RGB", (len(_STEPS) ** 2, len(_STEPS)))
        before.putdata([(red, green, blue) for red in _STEPS for green in _STEPS for blue in _STEPS])
    after = transform.apply(before)
    expected = before.convert("RGB").tobytes()
    return any(abs(old - new) > _TOLERANCE for old, new in zip(expected, after.tobytes(), strict=True))


@cache
def adobe_rgb() -> bytes:
    """Return a profile of Adobe RGB (1998), by the primaries and the exponent of its specification, under D50."""
    points = {
        b"wtpt": (0.9642, 1.0, 0.8249),
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    tags = {
        tag: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in point))
        for tag, point in points.items()
    }
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, 0x0233, 0)  # 2 and 51/256
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for tag, body in tags.items():
        table += struct.pack(">4sII", tag, start + len(data), len(body))
        data += body
    header = struct.pack(">II4s4s4s4s", start + len(data), 0, b"\2\x10\0\0", b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    header += b"acsp" + bytes(28) + tags[b"wtpt"][8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
