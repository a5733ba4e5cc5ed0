"""Photos with ICC profiles, compared with the colours that their primaries and curves say."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import icc_profiles
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from retrieval.photos import colour
from retrieval.photos.decode import load_photo, upright

WIDE = ("Adobe RGB", "Display P3", "ProPhoto RGB")


def colours() -> NDArray[np.uint8]:
    """Colours (32, 48, 3) of middle saturation, most of which sRGB has too."""
    rows, columns = np.mgrid[0:32, 0:48]
    red, green = 80 + 3 * rows, 80 + 2 * columns
    return np.stack([red, green, (red + green) // 2], axis=2).astype(np.uint8)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def opened(data: bytes, **options: Any) -> NDArray[np.int64]:
    return np.asarray(load_photo(data, **options).image).astype(int)


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 98})]
)
def test_wide_colours_are_brought_to_srgb(name: str, format: str, options: dict[str, Any]) -> None:
    pixels = colours()
    data = encode(Image.fromarray(pixels), format, icc_profile=icc_profiles.profile(name), **options)
    expected = icc_profiles.in_srgb(pixels, name)
    assert np.abs(expected - pixels).mean() > 1.5  # it makes a difference
    difference = np.abs(opened(data) - expected)
    assert difference.mean() < 1.5
    assert format == "JPEG" or difference.max() < 4


@pytest.mark.parametrize("name", WIDE)
def test_a_reduced_jpeg_has_the_same_colours(name: str) -> None:
    plain = Image.new("RGB", (640, 480), (120, 160, 90))
    data = encode(plain, "JPEG", icc_profile=icc_profiles.profile(name), quality=95)
    photo = load_photo(data, shorter_side=30)
    assert photo.image.size == (80, 60)
    np.testing.assert_allclose(np.asarray(photo.image)[30, 40], opened(data)[240, 320], atol=1)


@pytest.mark.parametrize(
    "profile", [icc_profiles.profile("sRGB"), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_srgb_is_left_as_it_is(profile: bytes) -> None:
    assert (opened(encode(Image.fromarray(colours()), "PNG", icc_profile=profile)) == colours()).all()


def test_a_profile_is_looked_at_once() -> None:
    colour._transform.cache_clear()
    data = encode(Image.fromarray(colours()), "PNG", icc_profile=icc_profiles.profile("Adobe RGB"))
    for _ in range(5):
        load_photo(data)
    assert colour._transform.cache_info().misses == 1


def test_one_transform_serves_many_threads() -> None:
    data = [
        encode(Image.fromarray(np.roll(colours(), shift, axis=0)), "PNG", icc_profile=icc_profiles.profile(name))
        for shift in range(8)
        for name in WIDE
    ]
    alone = [opened(photo).tobytes() for photo in data]
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(lambda photo: opened(photo).tobytes(), data * 4)) == alone * 4


def test_transparent_pixels_are_converted_before_they_lie_on_white() -> None:
    rgba = np.dstack([colours(), np.full((32, 48), 128, np.uint8)])
    data = encode(Image.fromarray(rgba), "PNG", icc_profile=icc_profiles.profile("Adobe RGB"))
    expected = icc_profiles.in_srgb(colours(), "Adobe RGB") * 128 / 255 + 127
    np.testing.assert_allclose(opened(data), expected, atol=3)


def test_a_palette_has_a_profile_too() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 120, 160, 90])
    data = encode(image, "PNG", icc_profile=icc_profiles.profile("ProPhoto RGB"))
    expected = icc_profiles.in_srgb(np.array([120, 160, 90], np.uint8), "ProPhoto RGB")
    np.testing.assert_allclose(opened(data)[0, 0], expected, atol=2)


def grey_profile(gamma: float) -> bytes:
    curve = b"para" + bytes(4) + icc_profiles.fixed(0, kind=0) + icc_profiles.fixed(gamma)
    white = b"XYZ " + bytes(4) + icc_profiles.fixed(0.9642, 1.0, 0.8249)
    return icc_profiles.assembled({b"wtpt": white, b"kTRC": curve}, b"GRAY")


def test_grey_is_brought_to_the_curve_of_srgb() -> None:
    grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    linear = encode(Image.fromarray(grey), "PNG", icc_profile=grey_profile(1.0))
    values = np.arange(256) / 255
    expected = 255 * np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    # Little CMS interpolates what is nearly black.
    np.testing.assert_allclose(opened(linear)[0, 12:, 0], expected[12:], atol=2)


def cmyk_profile() -> bytes:
    """A printer whose inks are as pure as no ink is: a table of 2 points a side from CMYK to L*a*b*."""
    corners = np.stack(np.meshgrid(*[(0.0, 1.0)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    rgb = (1 - corners[:, :3]) * (1 - corners[:, 3:])
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    strip = Image.fromarray((rgb * 255).astype(np.uint8)[None])
    lab = ImageCms.applyTransform(strip, to_lab)
    assert lab is not None
    table = np.frombuffer(lab.tobytes(), np.uint8).reshape(-1, 3).copy()
    table[:, 1:] ^= 128  # Pillow's a* and b* are signed
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + icc_profiles.fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    ramp = bytes(range(256))
    lut += ramp * 4 + table.tobytes() + ramp * 3
    white = b"XYZ " + bytes(4) + icc_profiles.fixed(0.9642, 1.0, 0.8249)
    data = bytearray(icc_profiles.assembled({b"wtpt": white, b"A2B0": lut}, b"CMYK"))
    data[12:16], data[20:24] = b"prtr", b"Lab "
    data[8:12] = b"\x02\x40\0\0"
    return bytes(data)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_printed_by_its_profile(format: str) -> None:
    inks = {
        "cyan": (255, 0, 0, 0),
        "magenta": (0, 255, 0, 0),
        "yellow": (0, 0, 255, 0),
        "black": (0, 0, 0, 255),
        "none": (0, 0, 0, 0),
    }
    for name, ink in inks.items():
        options = {"quality": 100} if format == "JPEG" else {}
        data = encode(Image.new("CMYK", (16, 16), ink), format, icc_profile=cmyk_profile(), **options)
        expected = [255 * (1 - part / 255) * (1 - ink[3] / 255) for part in ink[:3]]
        np.testing.assert_allclose(opened(data)[8, 8], expected, atol=12, err_msg=name)


def test_half_a_cmyk_ink_is_what_the_profile_says_and_not_what_pillow_guesses() -> None:
    image = Image.new("CMYK", (16, 16), (128, 0, 0, 0))
    printed = opened(encode(image, "TIFF", icc_profile=cmyk_profile()))[8, 8]
    assert np.abs(printed - opened(encode(image, "TIFF"))[8, 8]).max() > 5


@pytest.mark.parametrize(
    "broken",
    [
        b"x",
        bytes(200),
        icc_profiles.profile("Adobe RGB")[:150],
        icc_profiles.profile("Adobe RGB")[:-40].replace(b"rTRC", b"nono"),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_a_broken_profile_is_ignored(format: str, broken: bytes) -> None:
    options = {"quality": 98} if format == "JPEG" else {}
    plain = opened(encode(Image.fromarray(colours()), format, **options))
    assert (opened(encode(Image.fromarray(colours()), format, icc_profile=broken, **options)) == plain).all()


def test_a_profile_of_other_colours_than_the_picture_is_ignored() -> None:
    grey = Image.new("L", (8, 8), 100)
    assert (opened(encode(grey, "PNG", icc_profile=icc_profiles.profile("ProPhoto RGB"))) == 100).all()
    assert (opened(encode(Image.fromarray(colours()), "PNG", icc_profile=grey_profile(1.0))) == colours()).all()


def test_pictures_of_python_programs_are_treated_alike() -> None:
    data = encode(Image.fromarray(colours()), "PNG", icc_profile=icc_profiles.profile("ProPhoto RGB"))
    with Image.open(BytesIO(data)) as image:
        assert (np.asarray(upright(image)) == opened(data)).all()


def test_a_camera_that_says_adobe_rgb_without_a_profile() -> None:
    def exif_with(index: str) -> Image.Exif:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex: index}
        exif[ExifTags.Base.Software] = "R03"
        return exif

    plain = opened(encode(Image.fromarray(colours()), "JPEG", quality=98))
    said = opened(encode(Image.fromarray(colours()), "JPEG", quality=98, exif=exif_with("R03")))
    assert np.abs(said - icc_profiles.in_srgb(plain.astype(np.uint8), "Adobe RGB")).mean() < 1
    assert (opened(encode(Image.fromarray(colours()), "JPEG", quality=98, exif=exif_with("R98"))) == plain).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1999, 1501), (999, 1203)])
def test_a_photo_that_is_reduced_before_its_colours_looks_like_the_whole_one(size: tuple[int, int], mode: str) -> None:
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    waves = [127 + 60 * np.sin(columns / (90 + at)) * np.cos(rows / (70 + 9 * at)) for at in (0, 20, 40)]
    image = Image.fromarray(np.stack(waves, axis=2).astype(np.uint8)).convert(mode)
    data = encode(image, "PNG", icc_profile=icc_profiles.profile("ProPhoto RGB"), compress_level=1)
    whole, reduced = load_photo(data), load_photo(data, shorter_side=64)
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == whole.image.size == size
    assert 128 <= min(reduced.image.size) < 256
    small = [np.asarray(photo.image.resize((64, 64), Image.Resampling.BICUBIC), float) for photo in (whole, reduced)]
    assert np.abs(small[0] - small[1]).mean() < 0.7
