"""Photos of every kind, made here, opened and compared with what went into them."""

import json
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from permissions import locked
from PIL import ExifTags, Image, ImageCms

from index.errors import PhotoError
from retrieval.photos.decode import load_photo, open_photo
from retrieval.photos.formats import PHOTO_SUFFIXES

Pixels = NDArray[np.uint8]
REPOSITORY = Path(__file__).resolve().parent.parent

pillow_heif.register_heif_opener()


def picture(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture that looks different however it is turned."""
    rows, columns = np.mgrid[0:height, 0:width] / max(width, height)
    return Image.fromarray((255 * np.stack([columns, rows, columns * rows], axis=2)).astype(np.uint8))


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels_of(data: bytes, **options: Any) -> Pixels:
    image = open_photo(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def assert_close(pixels: Pixels, expected: Pixels, *, within: float = 3.0) -> None:
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() <= within


def reason_of(source: Path | bytes, **options: Any) -> str:
    with pytest.raises(PhotoError) as caught:
        load_photo(source, **options)
    return str(caught.value)


LOSSLESS: dict[str, dict[str, Any]] = {
    "BMP": {},
    "JPEG2000": {},
    "PNG": {},
    "PPM": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
}
LOSSY: dict[str, dict[str, Any]] = {
    "AVIF": {"speed": 10},
    "GIF": {},
    "HEIF": {"quality": 90},
    "JPEG": {"quality": 95},
    "MPO": {"quality": 95},
    "WEBP": {"quality": 95},
}


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_come_back_as_they_were(format: str) -> None:
    data = encode(picture(), format, **LOSSLESS[format])
    np.testing.assert_array_equal(pixels_of(data), np.asarray(picture()))
    photo = load_photo(data)
    assert (photo.width, photo.height) == photo.image.size == (96, 64)


@pytest.mark.parametrize("format", LOSSY)
def test_lossy_formats_come_back_nearly_as_they_were(format: str) -> None:
    assert_close(pixels_of(encode(picture(), format, **LOSSY[format])), np.asarray(picture()))


def test_whatever_else_pillow_writes_is_no_photo() -> None:
    Image.init()
    reasons = {}
    for format in sorted(Image.SAVE.keys() - LOSSLESS.keys() - LOSSY.keys() - {"JXL"}):
        for mode in ("RGB", "L", "P", "1"):
            try:
                data = encode(picture().convert(mode), format)
            except Exception:  # not a mode of this format, or it needs a handler
                continue
            reasons[format] = reason_of(data)
    assert reasons.keys() >= {"EPS", "ICO", "PCX", "PDF", "TGA"}
    assert set(reasons.values()) == {"not a photo"}


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(compression: str) -> None:
    assert_close(pixels_of(encode(picture(), "TIFF", compression=compression)), np.asarray(picture()))


TURNED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}
"""What a viewer shows for each EXIF orientation of the pixels as they are stored."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_orientation(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {**LOSSLESS, **LOSSY}[format]
    photo = load_photo(encode(picture(), format, exif=exif.tobytes(), **options))
    upright = TURNED[orientation](np.asarray(picture()))
    assert_close(np.asarray(photo.image), upright)
    assert (photo.height, photo.width) == upright.shape[:2]


@pytest.mark.parametrize("orientation", TURNED)
def test_orientation_of_a_jpeg_at_reduced_size(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = load_photo(encode(picture(1200, 801), "JPEG", exif=exif), shorter_side=100)
    upright = TURNED[orientation](np.asarray(picture(1200, 801)))
    assert (photo.height, photo.width) == upright.shape[:2]
    assert photo.image.size == tuple(-(-side // 4) for side in (photo.width, photo.height))
    assert_close(np.asarray(photo.image), np.asarray(Image.fromarray(upright).resize(photo.image.size)), within=1.0)


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40]
)
def test_broken_exif_leaves_the_picture_whole(damage: bytes) -> None:
    assert_close(pixels_of(encode(picture(), "JPEG", exif=damage, quality=95)), np.asarray(picture()))


def test_transparency_lies_over_white() -> None:
    rgba = np.dstack([np.asarray(picture()), np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))])
    alpha = rgba[:, :, 3:] / 255
    over_white = rgba[:, :, :3] * alpha + 255 * (1 - alpha)
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert_close(pixels_of(encode(Image.fromarray(rgba), format, **options)), over_white.astype(np.uint8), within=1)


def test_grey_with_transparency() -> None:
    alpha = Image.new("L", (6, 4), 255)
    alpha.paste(0, (0, 0, 6, 1))
    opened = pixels_of(encode(Image.merge("LA", [Image.new("L", (6, 4), 100), alpha]), "PNG"))
    assert (opened[0] == 255).all()
    assert (opened[1:] == 100).all()


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_with_a_transparent_colour(format: str) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(0, (0, 0, 6, 1))
    opened = pixels_of(encode(image, format, transparency=0))
    assert (opened[0] == 255).all()
    assert (opened[1:] == [200, 100, 50]).all()


def test_palette_with_degrees_of_transparency() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    opened = pixels_of(encode(image, "PNG", transparency=bytes([255, 128])))
    np.testing.assert_allclose(opened[0, 0], np.array([200, 100, 50]) * 128 / 255 + 127, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_one_colour_declared_transparent(mode: str) -> None:
    image = Image.new(mode, (6, 4), "black")
    assert (pixels_of(encode(image, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)) == 255).all()


def test_cmyk_jpeg_and_tiff() -> None:
    for format in ("JPEG", "TIFF"):
        assert_close(pixels_of(encode(picture().convert("CMYK"), format)), np.asarray(picture()))


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_of_tiff(mode: str) -> None:
    image = picture().convert(mode)
    assert_close(pixels_of(encode(image, "TIFF")), np.asarray(image.convert("RGB")))


def test_lab_is_refused() -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(picture(), to_lab)
    assert lab is not None
    assert reason_of(encode(lab, "TIFF")) == "colours in L*a*b*, which are not supported"


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_grey_of_16_bits_keeps_its_high_byte(format: str) -> None:
    deep = np.linspace(0, 0xFFFF, 96 * 64).astype(np.uint16).reshape(64, 96)
    opened = pixels_of(encode(Image.fromarray(deep), format))
    np.testing.assert_array_equal(opened, np.repeat((deep >> 8)[:, :, None], 3, axis=2))


def test_big_endian_grey_of_16_bits() -> None:
    deep = np.linspace(0, 0xFFFF, 96 * 64).astype(">u2").reshape(64, 96)
    image = Image.frombytes("I;16B", (96, 64), deep.tobytes())
    np.testing.assert_array_equal(pixels_of(encode(image, "TIFF"))[:, :, 0], deep >> 8)


def test_grey_of_12_bits() -> None:
    deep = np.linspace(0, 0xFFF, 96 * 64).astype(np.uint16).reshape(64, 96)
    left, right = deep[:, ::2], deep[:, 1::2]  # two of them are three bytes
    packed = np.stack([left >> 4, (left & 15) << 4 | right >> 8, right & 255], axis=2).astype(np.uint8).tobytes()
    entries = [(256, 96), (257, 64), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, len(packed))]
    header = b"II*\0" + struct.pack("<I", 8 + len(packed))
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    data = header + packed + struct.pack("<H", len(entries)) + tags + bytes(4)
    np.testing.assert_array_equal(pixels_of(data)[:, :, 0], deep >> 4)


def test_dark_grey_of_16_bits_stays_dark() -> None:
    dark = np.full((4, 6), 0x0300, np.uint16)
    dark[0, 0] = 0xFFFF
    assert (pixels_of(encode(Image.fromarray(dark), "PNG"))[1:] == 3).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_wider_grey_is_stretched(dtype: type) -> None:
    wide: NDArray[Any] = np.linspace(-7e5, 9e5, 96 * 64).astype(dtype).reshape(64, 96)
    opened = pixels_of(encode(Image.fromarray(wide), "TIFF"))
    np.testing.assert_allclose(opened[:, :, 0], (wide + 7e5) / 16e5 * 255, atol=1)


@pytest.mark.parametrize("brightest", [200, 60_000])
def test_grey_of_32_bits_is_stretched_however_small_its_values_are(brightest: int) -> None:
    wide = np.linspace(0, brightest, 96 * 64).astype(np.int32).reshape(64, 96)
    opened = pixels_of(encode(Image.fromarray(wide), "TIFF"))
    np.testing.assert_allclose(opened[:, :, 0], wide / brightest * 255, atol=1)


def test_values_that_are_infinite_or_no_number_leave_the_others_as_they_were() -> None:
    wide = np.linspace(-3, 5, 96 * 64).astype(np.float32).reshape(64, 96)
    expected = pixels_of(encode(Image.fromarray(wide), "TIFF")).copy()
    wide[1, :3], expected[1, :3] = (np.inf, -np.inf, np.nan), ([[255], [0], [0]])
    np.testing.assert_array_equal(pixels_of(encode(Image.fromarray(wide), "TIFF")), expected)


def test_grey_that_is_no_number() -> None:
    assert (pixels_of(encode(Image.fromarray(np.full((4, 6), np.nan, np.float32)), "TIFF")) == 0).all()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG", "MPO", "AVIF"])
def test_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue", "lime")]
    opened = pixels_of(encode(frames[0], format, save_all=True, append_images=frames[1:]))
    assert_close(opened, np.asarray(frames[0]))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (1, 1)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_thin_pictures(format: str, size: tuple[int, int]) -> None:
    assert load_photo(encode(Image.new("RGB", size), format), shorter_side=64).image.size == size


def test_a_jpeg_is_decoded_at_no_less_than_twice_the_size() -> None:
    data = encode(picture(1000, 800), "JPEG")
    sizes = {side: open_photo(data, shorter_side=side).size for side in (40, 50, 51, 100, 101, 201, 900)}
    assert sizes == {
        40: (125, 100),
        50: (125, 100),
        51: (250, 200),
        100: (250, 200),
        101: (500, 400),
        201: (1000, 800),
        900: (1000, 800),
    }


def test_a_reduced_jpeg_looks_like_the_whole_one(data_dir: Path) -> None:
    for path in sorted((data_dir / "photos").glob("*.JPEG"))[:20]:
        whole, reduced = open_photo(path), open_photo(path, shorter_side=64)
        small = [np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC), float) for image in (whole, reduced)]
        noise = ((small[0] - small[1]) ** 2).mean()
        assert noise < 255**2 / 10**4, path.name  # 40 dB


def test_real_photos(data_dir: Path) -> None:
    paths = sorted((data_dir / "photos").glob("*.JPEG"))
    assert len(paths) > 100
    profiles = 0
    for path in paths:
        photo = load_photo(path)
        with Image.open(path) as image:
            profile = image.info.get("icc_profile", b"")
            if profile and b"sRGB" not in profile:
                continue  # of a camera or Adobe RGB
            profiles += bool(profile)
            np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(image.convert("RGB")))
    assert profiles > 10


# What is refused


def test_empty_and_foreign_files(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("This is no picture.\n" * 100)
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert reason_of(text) == "not a photo"
    assert reason_of(empty) == "empty file"
    assert reason_of(b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(100)) == "not a photo"


def test_paths_that_are_no_readable_file(tmp_path: Path) -> None:
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    assert reason_of(tmp_path / "none.jpg") == "no such file"
    assert reason_of(tmp_path) == "a folder"
    assert reason_of(loop) == "a loop of symbolic links"
    assert reason_of(tmp_path / ("x" * 5000)) == "name too long"
    assert reason_of(Path("/dev/null")) == "not a regular file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    assert reason_of(tmp_path / "fifo.jpg") == "not a regular file"


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(picture(), "PNG"))
    with locked(path):
        assert reason_of(path) == "permission denied"


def test_a_symbolic_link_to_a_photo_is_the_photo(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encode(picture(), "PNG"))
    (tmp_path / "link.png").symlink_to("photo.png")
    assert open_photo(tmp_path / "link.png").size == (96, 64)


@pytest.mark.slow
@pytest.mark.parametrize("format", sorted({*LOSSLESS, *LOSSY}))
def test_photos_cut_anywhere_are_refused_unless_every_pixel_is_there(format: str) -> None:
    data = encode(picture(24, 16), format, **{**LOSSLESS, **LOSSY}[format])
    whole = pixels_of(data)
    refused = 0
    for length in range(16, len(data)):
        try:
            pixels = pixels_of(data[:length])
        except PhotoError:
            refused += 1
        else:  # what is missing only marks the end, such as PNG's last chunk; 95 % of 16 rows are all of them
            np.testing.assert_array_equal(pixels, whole, f"{length} of {len(data)} bytes")
    assert refused > 0.8 * (len(data) - 16)


def test_a_jpeg2000_cut_between_its_headers_is_named_so() -> None:
    data = encode(picture(), "JPEG2000")
    start_of_data = data.index(b"\xff\x93") + 2
    cut = [data[:length] for length in range(start_of_data - 4, start_of_data + 4)]
    assert {reason_of(part) for part in cut} == {"truncated JPEG2000"}


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_truncated_jpegs_are_named_so(options: dict[str, Any]) -> None:
    data = encode(picture(640, 480), "JPEG", **options)
    scan = data.index(b"\xff\xda")
    for cut in (scan + 20, scan + (len(data) - scan) // (20 if options else 3)):
        assert reason_of(data[:cut]) == reason_of(data[:cut], shorter_side=40) == "truncated JPEG"


def test_truncated_png_is_named_so() -> None:
    data = encode(picture(640, 480), "PNG")
    assert reason_of(data[: len(data) // 2]) == "truncated PNG"


@pytest.mark.slow
@settings(max_examples=200)
@given(format=st.sampled_from(sorted({*LOSSLESS, *LOSSY})), data=st.data())
def test_damage_raises_nothing_but_photo_errors(format: str, data: st.DataObject) -> None:
    photo = bytearray(encode(picture(32, 24), format, **{**LOSSLESS, **LOSSY}[format]))
    for _ in range(data.draw(st.integers(1, 8))):
        photo[data.draw(st.integers(0, len(photo) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PhotoError):
        assert open_photo(bytes(photo), max_pixels=100_000).mode == "RGB"


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises more than the file holds."""
    small = encode(Image.new("L", (1, 1)), "PNG")
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


@pytest.mark.parametrize("side", [15_000, 60_000, 200_000])
def test_decompression_bombs_are_refused_by_their_header(side: int) -> None:
    assert "more than 200,000,000" in reason_of(png_header(side, side))


def gif_header(side: int) -> bytes:
    """A GIF of one pixel whose only frame is larger."""
    frame = b"," + bytes(4) + 2 * side.to_bytes(2, "little") + b"\0"
    return b"GIF89a\x01\0\x01\0\0\0\0" + frame + b"\x02\x02\x44\x01\0;"


def webp_header(side: int) -> bytes:
    """A lossless WebP whose header promises more than the file holds."""
    picture = b"\x2f" + ((side - 1) | (side - 1) << 14).to_bytes(4, "little") + bytes(41)
    chunk = b"WEBPVP8L" + len(picture).to_bytes(4, "little") + picture
    return b"RIFF" + len(chunk).to_bytes(4, "little") + chunk


@pytest.mark.parametrize("data", [gif_header(60_000), webp_header(16_000)])
def test_what_pillow_refuses_by_its_own_limit_is_not_called_damaged(data: bytes) -> None:
    assert reason_of(data) == "more than 178,956,970 pixels"
    assert reason_of(data, max_pixels=6000) == "more than 6,000 pixels"


@pytest.mark.parametrize(("limit", "told"), [(2_000, 4_000), (4_000, 4_000)])
def test_the_limit_of_a_program_that_uses_pillow_is_told(
    monkeypatch: pytest.MonkeyPatch, limit: int, told: int
) -> None:
    """It is a warning from the limit on, which a program may have made an error, and an error from twice that."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_photo(encode(picture(), "PNG"))
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert reason_of(gif_header(80)) == f"more than {told:,} pixels"
    assert open_photo(encode(picture(), "PNG")).size == (96, 64)


def test_the_limit_on_pixels_can_be_lowered() -> None:
    data = encode(picture(), "PNG")
    assert reason_of(data, max_pixels=6000) == "96 × 64 pixels, more than 6,000"
    assert open_photo(data, max_pixels=6144).size == (96, 64)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    heic, raw = encode(picture(), "HEIF"), b"FUJIFILMCCD-RAW" + bytes(100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    assert "pip install 'fc7[heif]'" in reason_of(heic)
    assert "pip install 'fc7[raw]'" in reason_of(raw)


# Warnings and threads


def odd_photos() -> list[bytes]:
    """Photos over which Pillow warns."""
    lzw = encode(picture(), "TIFF", compression="tiff_lzw")
    broken_exif = encode(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40)
    return [lzw[:-40], broken_exif, png_header(15_000, 15_000)]


def test_decoders_warn_nobody() -> None:
    for data in odd_photos():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with suppress(PhotoError):
                load_photo(data)
        assert caught == []


def test_decoders_warn_nobody_in_threads(tmp_path: Path) -> None:
    for number, data in enumerate(odd_photos()):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from index.errors import PhotoError
from retrieval.photos.decode import load_photo

def reason(path):
    try:
        return load_photo(path) and None
    except PhotoError as error:
        return str(error)

with ThreadPoolExecutor(8) as executor:
    print(set(executor.map(reason, sorted(Path(sys.argv[1]).iterdir()) * 50)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.count("'") == 4  # two reasons, and None for the photo that is whole


def test_photos_open_alike_in_threads() -> None:
    photos = [encode(picture(60 + side, 90), "JPEG") for side in range(40)]
    alone = [pixels_of(data, shorter_side=20).tobytes() for data in photos]
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(lambda data: pixels_of(data, shorter_side=20).tobytes(), photos)) == alone


def test_a_jpeg_needs_few_decoders(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode(picture(), "JPEG"))
    program = """
import json, sys
from pathlib import Path
from retrieval.photos.decode import open_photo

open_photo(Path(sys.argv[1]))
print(json.dumps([name for name in sys.modules if name.endswith("ImagePlugin") or name in ("pillow_heif", "rawpy")]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "photo.jpg")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout)) <= {
        f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff")
    }


def test_suffixes_are_lower_case_with_a_dot() -> None:
    assert {".jpg", ".jpeg", ".png", ".heic", ".avif", ".webp", ".dng"} <= PHOTO_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PHOTO_SUFFIXES)
