"""JPEG and PNG files that viewers show though something is wrong with them, made here from whole ones."""

import random
import struct
import sys
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, PngImagePlugin

from index.errors import PhotoError
from retrieval.photos.decode import Photo, load_photo

Pixels = NDArray[np.uint8]


def picture(width: int = 160, height: int = 480) -> Image.Image:
    """A picture with detail in every block."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = 127 + 60 * np.sin(columns / 7) * np.cos(rows / 5) + 60 * np.sin(rows / 31)
    return Image.fromarray(np.stack([waves, 255 - waves, rows * 255 / height], axis=2).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(photo: Photo) -> Pixels:
    return np.asarray(photo.image)


def reason_of(data: bytes, **options: Any) -> str:
    with pytest.raises(PhotoError) as caught:
        load_photo(data, **options)
    return str(caught.value)


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "restart markers": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "grey": {},
}
TRAILERS = {
    "nothing": b"",
    "zeros": b"\0\0",
    "random bytes": b"\0\0" + bytes(random.Random(1).choices(range(256), k=5000)),
    "a vendor's data": b"\0\0\0\0SEFHe\0\0\0\1\0\0\0\0\0\1\x0a\x4e\0\0\0\x2f\0\0\0SEFT",
    "another JPEG": b"\0\0" + encode(picture(16, 16), "JPEG"),
}


def jpeg(kind: str, image: Image.Image | None = None) -> bytes:
    image = image or picture()
    return encode(image.convert("L") if kind == "grey" else image, "JPEG", quality=90, **JPEGS[kind])


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_is_whole(kind: str, trailer: str) -> None:
    data = jpeg(kind)
    whole = load_photo(data)
    photo = load_photo(data[:-2] + TRAILERS[trailer])
    np.testing.assert_array_equal(pixels(photo), pixels(whole))
    assert (photo.width, photo.height, photo.missing) == (160, 480, None)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_is_reduced_alike(kind: str) -> None:
    data = jpeg(kind)
    np.testing.assert_array_equal(
        pixels(load_photo(data[:-2], shorter_side=20)), pixels(load_photo(data, shorter_side=20))
    )


@pytest.mark.parametrize(
    "marker", [b"\xff\x02", b"\xff\xbf", b"\xff\xf0\0\4ab", b"\xff\x50\0\x10" + bytes(14), b"rubbish"]
)
@pytest.mark.parametrize("kind", JPEGS)
def test_an_unknown_marker_before_the_frame(kind: str, marker: bytes) -> None:
    data = jpeg(kind)
    end_of_first = 4 + int.from_bytes(data[4:6], "big")
    odd = data[:end_of_first] + marker + data[end_of_first:]
    photo = load_photo(odd)
    np.testing.assert_array_equal(pixels(photo), pixels(load_photo(data)))
    assert photo.missing is None


@pytest.mark.parametrize("kind", ["baseline", "4:4:4", "restart markers", "grey"])
def test_a_jpeg_without_its_last_rows_is_shown_as_far_as_it_goes(kind: str) -> None:
    data = jpeg(kind)
    whole = pixels(load_photo(data))
    cut = data[: int(len(data) * 0.98)]
    photo = load_photo(cut)
    assert 0.95 * 480 <= photo.height < 480
    assert photo.missing == f"the last {480 - photo.height} of its 480 rows are missing"
    # Colours are spread over the row below, which is missing.
    np.testing.assert_array_equal(pixels(photo)[:-2], whole[: photo.height - 2])
    assert load_photo(cut, shorter_side=20).missing == photo.missing


def test_rows_of_a_jpeg_that_are_shown_are_no_grey() -> None:
    data = jpeg("baseline")
    for share in np.linspace(0.9, 1, 40):
        try:
            photo = load_photo(data[: int(len(data) * share)])
        except PhotoError:
            continue
        whole = pixels(load_photo(data))[: photo.height]
        assert np.abs(pixels(photo).astype(int) - whole).max(axis=(1, 2))[:-2].max(initial=0) == 0, share


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_more_is_truncated(kind: str) -> None:
    data = jpeg(kind)
    for share in (0.3, 0.4, 0.5):
        assert reason_of(data[: int(len(data) * share)]) == "truncated JPEG"


def test_a_progressive_jpeg_that_lacks_only_fine_detail() -> None:
    data = jpeg("progressive")
    whole = pixels(load_photo(data))
    photo = load_photo(data[:-200])
    assert photo.missing == "its end is missing, and so is fine detail"
    assert photo.image.size == (160, 480)
    assert np.abs(pixels(photo).astype(int) - whole).mean() < 2


def test_a_progressive_jpeg_that_lacks_coefficients_is_truncated() -> None:
    data = jpeg("progressive")
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    assert reason_of(data[: scans[3] + 400]) == "truncated JPEG"


def test_a_damaged_jpeg_of_too_many_pixels_says_so() -> None:
    assert reason_of(jpeg("baseline")[:-2], max_pixels=1000) == "160 × 480 pixels, more than 1,000"


@settings(max_examples=60)
@given(data=st.data())
def test_rubbish_in_place_of_a_jpeg_raises_photo_errors_alone(data: st.DataObject) -> None:
    photo = bytearray(jpeg(data.draw(st.sampled_from(sorted(JPEGS))), picture(48, 40)))
    for _ in range(data.draw(st.integers(1, 6))):
        photo[data.draw(st.integers(2, len(photo) - 1))] = data.draw(
            st.sampled_from([0, 1, 0xFF, 0xD8, 0xDA, 0xC0, 0xC4])
        )
    with suppress(PhotoError):
        load_photo(bytes(photo[: data.draw(st.integers(3, len(photo)))]), max_pixels=100_000)


# PNG


def chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunk(png: bytes, added: bytes) -> bytes:
    """Put a chunk behind the header."""
    return png[:33] + added + png[33:]


MEGABYTES = bytes(2 << 20)
ODD_CHUNKS = {
    "a long profile": chunk(b"iCCP", b"odd\0\0" + zlib.compress(MEGABYTES)),
    "a long zTXt": chunk(b"zTXt", b"Raw\0\0" + zlib.compress(MEGABYTES)),
    "a long iTXt": chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(MEGABYTES)),
    "a long plain iTXt": chunk(b"iTXt", b"XML\0\0\0\0\0" + b"x" * len(MEGABYTES)),
    "text of 66 megabytes": chunk(b"tEXt", b"Comment\0" + b"x" * (22 << 20)) * 3,
    "a wrong checksum": chunk(b"tEXt", b"Comment\0hello", checksum=1),
    "a wrong checksum of transparency": chunk(b"tRNS", b"\0\1\0\1\0\1", checksum=1),
    "a wrong checksum of a profile": chunk(b"iCCP", b"odd\0\0" + zlib.compress(b"nothing"), checksum=1),
}


@pytest.mark.parametrize("odd", ODD_CHUNKS)
def test_an_odd_chunk_beside_the_pixels_of_a_png(odd: str) -> None:
    data = encode(picture(24, 40), "PNG")
    photo = load_photo(with_chunk(data, ODD_CHUNKS[odd]))
    np.testing.assert_array_equal(pixels(photo), pixels(load_photo(data)))
    assert photo.missing is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_with_an_odd_chunk_in_every_mode(mode: str) -> None:
    image = Image.new("I;16", (24, 40), 40_000) if mode == "I;16" else picture(24, 40).convert(mode)
    data = encode(image, "PNG")
    np.testing.assert_array_equal(
        pixels(load_photo(with_chunk(data, ODD_CHUNKS["a long zTXt"]))), pixels(load_photo(data))
    )


def test_orientation_and_a_long_profile_of_a_png_are_kept() -> None:
    import icc_profiles

    profile = icc_profiles.profile("ProPhoto RGB").ljust(3 << 20, b"\0")
    profile = struct.pack(">I", len(profile)) + profile[4:]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    plain = Image.new("RGB", (24, 40), (120, 160, 90))
    data = with_chunk(encode(plain, "PNG", exif=exif), chunk(b"iCCP", b"wide\0\0" + zlib.compress(profile)))
    photo = load_photo(data)
    assert photo.image.size == (40, 24)
    wanted = icc_profiles.in_srgb(np.array([120, 160, 90], np.uint8), "ProPhoto RGB")
    np.testing.assert_allclose(pixels(photo)[5, 5], wanted, atol=2)


def test_a_png_without_its_last_rows_is_shown_as_far_as_it_goes() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (480, 160), np.uint8)
    data = encode(Image.fromarray(noise), "PNG")
    whole = pixels(load_photo(data))
    seen = set()
    for missing in range(1, 3000, 150):
        photo = load_photo(data[:-missing])
        np.testing.assert_array_equal(pixels(photo), whole[: photo.height])
        rows = 480 - photo.height
        assert photo.missing == (f"the last {rows} of its 480 rows are missing" if rows else None)
        seen.add(rows)
    assert len(seen) > 3
    assert reason_of(data[: len(data) // 2]) == "truncated PNG"


def test_damaged_pixels_of_a_png_are_refused() -> None:
    data = bytearray(encode(picture(), "PNG"))
    data[len(data) // 2] ^= 0x55
    assert reason_of(bytes(data)).startswith(("damaged PNG", "truncated PNG"))


def test_an_interlaced_png_that_was_cut_off_is_truncated() -> None:
    small = Image.fromarray(np.asarray(picture(8, 8).convert("L")))
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    grey = np.asarray(small)
    raw = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in grey[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    data = zlib.compress(raw)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    whole = start + chunk(b"tEXt", b"a\0b", checksum=3) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(pixels(load_photo(whole))[:, :, 0], grey)
    assert reason_of(start + chunk(b"IDAT", data)[:-12]) == "truncated PNG"


def test_a_png_that_unpacks_to_more_than_it_says_ends_early() -> None:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    bomb = zlib.compress(bytes(64 << 20))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", b"a\0b", checksum=3) + chunk(b"IDAT", bomb)
    assert (pixels(load_photo(data + chunk(b"IEND", b""))) == 0).all()
    assert reason_of(data[:60], max_pixels=60) == "8 × 8 pixels, more than 60"


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_few_bits_in_16_of_a_png_are_no_night(mode: str, bits: int) -> None:
    wide = np.asarray(picture(24, 40)).astype(np.uint16) << 8 >> (16 - bits)
    colour_type = {"L": 0, "RGB": 2, "RGBA": 6}[mode]
    samples = wide[:, :, :1] if mode == "L" else wide
    if mode == "RGBA":
        samples = np.concatenate([wide, np.full((40, 24, 1), 0xFFFF, np.uint16)], axis=2)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", 24, 40, 16, colour_type, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    expected = np.asarray(picture(24, 40))
    if mode == "L":
        expected = np.repeat(expected[:, :, :1], 3, axis=2)
    assert np.abs(pixels(load_photo(data)).astype(int) - expected).max() <= 1


def test_nothing_global_is_changed() -> None:
    def state() -> tuple[object, ...]:
        return ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK

    before = state()
    load_photo(jpeg("baseline")[:-2])
    load_photo(with_chunk(encode(picture(24, 40), "PNG"), ODD_CHUNKS["a long zTXt"]))
    assert state() == before


# BMP


@pytest.mark.parametrize("size", [40, 56, 108, 124])
@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_of_32_bits_whose_fourth_byte_means_nothing(size: int, alpha: int) -> None:
    expected = np.asarray(picture(24, 40))
    bgra = np.dstack([expected[::-1, :, ::-1], np.full((40, 24), alpha, np.uint8)])
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000 if size > 40 else 0)
    head = struct.pack("<IiiHHIIiiII", size, 24, 40, 1, 32, 3, bgra.size, 2835, 2835, 0, 0)
    head += masks[:12] if size == 40 else masks.ljust(size - 40, b"\0")
    start = 14 + len(head)
    data = b"BM" + struct.pack("<IHHI", start + bgra.size, 0, 0, start) + head + bgra.tobytes()
    np.testing.assert_array_equal(pixels(load_photo(data)), expected)


def test_a_bmp_that_is_transparent_in_places_lies_over_white() -> None:
    bgra = np.zeros((40, 24, 4), np.uint8)
    bgra[:20, :, 3] = 255
    head = struct.pack("<IiiHHIIiiII", 108, 24, 40, 1, 32, 3, bgra.size, 2835, 2835, 0, 0)
    head += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000).ljust(68, b"\0")
    data = b"BM" + struct.pack("<IHHI", 122 + bgra.size, 0, 0, 122) + head + bgra.tobytes()
    opened = pixels(load_photo(data))
    assert (opened[:20] == 255).all()
    assert (opened[20:] == 0).all()


# JPEG XL


def test_jpeg_xl() -> None:
    pillow_jxl = pytest.importorskip("pillow_jxl", reason="needs pillow-jxl-plugin, the extra `jxl`")
    from retrieval.photos.jpeg_xl import jpeg_xl_size

    for width, height in ((24, 40), (256, 8), (300, 200), (1, 700), (1600, 900), (2049, 3)):
        image = picture(width, height)
        for mode, container in (("RGB", False), ("RGB", True), ("L", False), ("RGBA", True)):
            encoder = pillow_jxl.Encoder(mode=mode, lossless=True, use_container=container, effort=1)
            data = encoder(image.convert(mode).tobytes(), width, height, jpeg_encode=False)
            assert jpeg_xl_size(data) == (width, height)
            photo = load_photo(data)
            expected = np.asarray(image.convert(mode).convert("RGB"))
            np.testing.assert_array_equal(pixels(photo), expected)
        assert reason_of(data, max_pixels=10) == f"{width} × {height} pixels, more than 10"


def test_a_jpeg_in_jpeg_xl_is_upright() -> None:
    pillow_jxl = pytest.importorskip("pillow_jxl", reason="needs pillow-jxl-plugin, the extra `jxl`")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    jpeg = encode(picture(), "JPEG", exif=exif)
    encoder = pillow_jxl.Encoder(mode="RGB", lossless=True)
    photo = load_photo(encoder(jpeg, 160, 480, jpeg_encode=True))
    np.testing.assert_array_equal(pixels(photo), pixels(load_photo(jpeg)))


def test_damaged_jpeg_xl_and_none_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_jxl", reason="needs pillow-jxl-plugin, the extra `jxl`")
    for data in (b"\xff\x0a", b"\xff\x0a" + bytes(40), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60)):
        assert reason_of(data) in ("damaged JPEG XL", "truncated JPEG XL")
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    assert reason_of(b"\xff\x0a" + bytes(40)) == "a JPEG XL photo, which needs: pip install 'fc7[jxl]'"
