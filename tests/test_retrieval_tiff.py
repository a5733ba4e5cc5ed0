"""Every variant of TIFF that can be written here, opened and compared with what tifffile reads from it.

Whatever cannot be read must be refused, and what is read must be right.
"""

import itertools
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from index.errors import PhotoError
from retrieval.photos.decode import load_photo

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs", reason="needs imagecodecs, the extra `tiff`")

Array = NDArray[Any]
HEIGHT, WIDTH = 37, 52
COMPRESSIONS = (None, "lzw", "adobe_deflate", "packbits", "zstd", "lzma", "jpeg")
QUICK_KINDS = ("u1", "u2", "f4")
OTHER_KINDS = ("u4", "i1", "i2", "i4", "f2", "f8", "bool")
KINDS = [*QUICK_KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHER_KINDS)]
COLOURS = {"minisblack": 1, "miniswhite": 1, "palette": 1, "rgb": 3, "rgba": 4, "separated": 4}


def scene(samples: int) -> NDArray[np.float64]:
    """Values from 0 to 1, all samples different."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    down, across = rows / (HEIGHT - 1), columns / (WIDTH - 1)
    return np.stack([down, across, (down + across) / 2, 0.3 + 0.7 * across], axis=2)[:, :, :samples]


def stored(values: NDArray[np.float64], kind: str) -> Array:
    if kind == "bool":
        return values > 0.5
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.round(values * (float(limits.max) - limits.min) + limits.min).clip(limits.min, limits.max).astype(dtype)


def expected(values: NDArray[np.float64], colours: str) -> NDArray[np.float64]:
    """What a viewer shows, from 0 to 255."""
    if colours == "miniswhite":
        values = 1 - values
    elif colours == "palette":
        values = np.concatenate([values, 1 - values, values], axis=2)
    elif colours == "separated":
        values = (1 - values[:, :, :3]) * (1 - values[:, :, 3:])
    elif colours == "rgba":
        values = values[:, :, :3] * values[:, :, 3:] + 1 - values[:, :, 3:]
    return 255 * (np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values)


def written(array: Array, **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def variants(kind: str) -> Iterator[tuple[str, bytes, NDArray[np.float64]]]:
    for colours, planes, tile, compression, order in itertools.product(
        COLOURS, ("contig", "separate"), (None, (16, 16)), COMPRESSIONS, "<>"
    ):
        samples = COLOURS[colours]
        if samples > 1 and kind == "bool":
            continue  # tifffile writes other bits than it is given; `test_packed_bits` has them
        if planes == "separate" and samples == 1:
            continue
        if (colours == "palette" or compression == "jpeg") and kind != "u1":
            continue
        if compression == "jpeg" and colours == "rgba":
            continue
        values = scene(samples)
        array = stored(values, kind)
        options: dict[str, Any] = {"photometric": colours.replace("rgba", "rgb"), "extrasamples": None}
        if colours == "rgba":
            options["extrasamples"] = ["unassalpha"]
        if colours == "palette":
            ramp = np.arange(256) * 257
            options["colormap"] = np.stack([ramp, ramp[::-1], ramp]).astype(np.uint16)
        if samples == 1:
            array = array[:, :, 0]
        else:
            options["planarconfig"] = planes
            array = array.transpose(2, 0, 1) if planes == "separate" else array
        name = f"{colours} {planes} {'tiles' if tile else 'strips'} {compression} {order}"
        data = written(array, tile=tile, compression=compression, byteorder=order, **options)
        yield name, data, expected(values if kind != "bool" else (values > 0.5).astype(float), colours)


@pytest.mark.parametrize("kind", KINDS)
def test_every_variant_is_right(kind: str) -> None:
    for name, data, wanted in variants(kind):
        got = np.asarray(load_photo(data).image).astype(int)
        worst = 8 if "jpeg" in name else 3  # CMYK is rounded twice, half floats have 11 bits
        assert np.abs(got - wanted).mean() <= worst, name
        assert "jpeg" in name or np.abs(got - wanted).max() <= worst + 2, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUICK_KINDS)
def test_without_imagecodecs_what_is_read_is_right_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list(variants(kind))  # tifffile needs it to write some of them
    take_away_imagecodecs(monkeypatch)
    right, reasons = 0, Counter[str]()
    for name, data, wanted in files:
        try:
            got = np.asarray(load_photo(data).image).astype(int)
        except PhotoError as error:
            reasons[str(error)] += 1
        else:
            assert np.abs(got - wanted).mean() <= (8 if "jpeg" in name else 3), name
            right += 1
    assert reasons.keys() <= {"a TIFF of a rare kind, which needs: pip install 'fc7[tiff]'"}
    assert right > 10 * reasons.total()


def take_away_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    from tifffile import _imagecodecs

    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", _imagecodecs)
    for table in (tifffile.TIFF.DECOMPRESSORS, tifffile.TIFF.UNPREDICTORS):
        monkeypatch.setattr(table, "_codecs", {1: lambda data: data})
    monkeypatch.setattr("retrieval.photos.tiff.find_spec", lambda _: None)


def test_what_needs_imagecodecs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = written(stored(scene(3), "f4"), photometric="rgb", predictor="floatingpoint", compression="zlib")
    bits = packed(np.round(scene(3) * 1023).astype(np.uint16), 10, photometric=2)
    take_away_imagecodecs(monkeypatch)
    for data in (predicted, bits):
        with pytest.raises(PhotoError, match=r"^a TIFF of a rare kind, which needs: pip install 'fc7\[tiff\]'$"):
            load_photo(data)


@pytest.mark.parametrize("predictor", ["horizontal", "floatingpoint"])
@pytest.mark.parametrize("colours", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate"])
def test_predictors(compression: str, colours: str, predictor: str) -> None:
    values = scene(COLOURS[colours])
    for kind, planes, order in itertools.product(
        ("u2", "u1") if predictor == "horizontal" else ("f4",), ("contig", "separate"), "<>"
    ):
        array = stored(values, kind)
        options = {} if array.shape[2] == 1 else {"planarconfig": planes}
        array = array[:, :, 0] if array.shape[2] == 1 else array.transpose(2, 0, 1) if planes == "separate" else array
        data = written(
            array, predictor=predictor, compression=compression, photometric=colours, byteorder=order, **options
        )
        got = np.asarray(load_photo(data).image).astype(int)
        assert np.abs(got - expected(values, colours)).max() <= 4, (kind, planes, order)


def packed(array: NDArray[np.uint16], bits: int, *, order: str = "<", photometric: int = 1) -> bytes:
    """A TIFF of samples (rows, columns, samples) of any number of bits, one after the other; rows begin at a byte."""
    height, width, samples = array.shape
    each = (array[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(each.astype(np.uint8).reshape(height, -1), axis=1).tobytes()
    data += bytes(len(data) % 2)
    start = 8 + len(data)
    words = struct.pack(f"{order}{samples}H", *[bits] * samples)
    entries: list[tuple[int, int, int, bytes]] = [
        (256, 4, 1, struct.pack(f"{order}I", width)),
        (257, 4, 1, struct.pack(f"{order}I", height)),
        (258, 3, samples, words.ljust(4, b"\0") if samples <= 2 else struct.pack(f"{order}I", start)),
        *(
            (tag, 4, 1, struct.pack(f"{order}I", value))
            for tag, value in ((259, 1), (262, photometric), (273, 8), (277, samples), (278, height), (279, len(data)))
        ),
    ]
    if samples > 2:
        data += words + bytes(len(words) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    table = b"".join(struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return head + data + struct.pack(f"{order}H", len(entries)) + table + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("photometric", "colours"), [(0, "miniswhite"), (1, "minisblack"), (2, "rgb")])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
def test_packed_bits(bits: int, photometric: int, colours: str, order: str) -> None:
    most = 2**bits - 1
    array = np.round(scene(COLOURS[colours]) * most).astype(np.uint16)
    if bits == 16 and order == "<":
        data = packed(array.byteswap(), bits, order=order, photometric=photometric)
    else:
        data = packed(array, bits, order=order, photometric=photometric)
    got = np.asarray(load_photo(data).image).astype(int)
    assert np.abs(got - expected(array / most, colours)).max() <= 2


@pytest.mark.parametrize("colours", ["minisblack", "rgb"])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_few_bits_in_16_are_no_night(bits: int, colours: str) -> None:
    values = scene(COLOURS[colours])
    array = np.round(values * (2**bits - 1)).astype(np.uint16)
    array = array[:, :, 0] if colours == "minisblack" else array
    for order, planes in itertools.product("<>", ("contig", "separate")):
        options = {"planarconfig": planes} if colours == "rgb" else {}
        stored_array = array.transpose(2, 0, 1) if colours == "rgb" and planes == "separate" else array
        got = np.asarray(load_photo(written(stored_array, photometric=colours, byteorder=order, **options)).image)
        assert np.abs(got.astype(int) - expected(values, colours)).max() <= 2


def test_a_dark_photo_of_16_bits_stays_dark() -> None:
    array = np.full((4, 6, 3), 0x0300, np.uint16)
    array[0, 0] = 0x2000
    got = np.asarray(load_photo(written(array.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")).image)
    assert (got[1:] == 3).all()


@pytest.mark.parametrize(
    ("extra", "mode"), [("assocalpha", "premultiplied"), ("unassalpha", "plain"), ("unspecified", "none")]
)
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_extra_samples(kind: str, planes: str, extra: str, mode: str) -> None:
    colours, alpha = scene(3), np.full((HEIGHT, WIDTH, 1), 0.5)
    values = np.concatenate([colours * alpha if mode == "premultiplied" else colours, alpha], axis=2)
    array = stored(values, kind)
    array = array.transpose(2, 0, 1) if planes == "separate" else array
    got = np.asarray(load_photo(written(array, photometric="rgb", planarconfig=planes, extrasamples=[extra])).image)
    wanted = 255 * (colours if mode == "none" else colours * 0.5 + 0.5)
    assert np.abs(got.astype(int) - wanted).max() <= 4


def test_profile_and_orientation_come_along() -> None:
    import icc_profiles

    array = np.broadcast_to(np.array([0x7878, 0xA0A0, 0x5A5A], np.uint16)[:, None, None], (3, 4, 6))
    profile = icc_profiles.profile("ProPhoto RGB")
    data = written(
        np.ascontiguousarray(array),
        photometric="rgb",
        planarconfig="separate",
        iccprofile=profile,
        extratags=[(274, 3, 1, 6, True)],
    )
    photo = load_photo(data)
    assert photo.image.size == (photo.width, photo.height) == (4, 6)
    wanted = icc_profiles.in_srgb(np.array([120, 160, 90], np.uint8), "ProPhoto RGB")
    np.testing.assert_allclose(np.asarray(photo.image)[3, 2], wanted, atol=2)


def test_a_tiled_tiff_beyond_the_limit_of_pillow_but_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(stored(scene(3), "u1"), photometric="rgb", tile=(48, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert load_photo(data).image.size == (WIDTH, HEIGHT)
    with pytest.raises(PhotoError, match=r"^52 × 37 pixels, more than 1,000$"):
        load_photo(data, max_pixels=1000)


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate"])
def test_a_tiff_without_its_last_rows(compression: str | None, planes: str, kind: str) -> None:
    array = stored(np.tile(scene(3), (4, 1, 1)), kind)
    array = array.transpose(2, 0, 1) if planes == "separate" else array
    data = written(array, photometric="rgb", planarconfig=planes, compression=compression, rowsperstrip=2)
    whole = np.asarray(load_photo(data).image)
    with tifffile.TiffFile(BytesIO(data)) as tiff:
        end = max(a + b for a, b in zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
    cut, half = data[: end - 200], data[: end // 2]
    assert end == len(data), "the pixels come last"
    photo = load_photo(cut)
    assert photo.missing is not None
    assert photo.missing.endswith("of its 148 rows are missing")
    assert 141 <= photo.height < 148
    np.testing.assert_array_equal(np.asarray(photo.image), whole[: photo.height])
    with pytest.raises(PhotoError, match="TIFF"):
        load_photo(half)


@pytest.mark.parametrize("array", [np.zeros((4, 6), np.complex64), np.zeros((4, 6, 3), np.complex64)])
def test_what_is_no_picture_is_refused(array: Array) -> None:
    with pytest.raises(PhotoError, match=r"^damaged TIFF, or of a kind that is not supported$"):
        load_photo(written(array, photometric="minisblack"))


def test_tifffile_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    data = written(
        stored(scene(3), "u2").transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression="lzw"
    )
    for length in range(8, len(data), 97):
        try:
            load_photo(data[:length])
        except PhotoError:
            continue
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_alpha_beside_grey(kind: str, planes: str, compression: str | None) -> None:
    grey = scene(1)
    for extra, alpha in (("unassalpha", 0.5), ("assocalpha", 0.5), ("unspecified", 1.0)):
        first = grey * 0.5 if extra == "assocalpha" else grey
        array = stored(np.concatenate([first, np.full_like(grey, 0.5)], axis=2), kind)
        array = array.transpose(2, 0, 1) if planes == "separate" else array
        options = {"planarconfig": planes, "extrasamples": [extra], "compression": compression}
        got = np.asarray(load_photo(written(array, photometric="minisblack", **options)).image).astype(int)
        assert np.abs(got - expected(grey * alpha + 1 - alpha, "minisblack")).max() <= 4, extra


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_luminance_and_colour_differences(planes: str, compression: str | None) -> None:
    rgb = stored(scene(3), "u1")
    array = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    array = array.transpose(2, 0, 1) if planes == "separate" else array
    options = {"planarconfig": planes, "compression": compression, "subsampling": (1, 1)}
    got = np.asarray(load_photo(written(array, photometric="ycbcr", **options)).image).astype(int)
    assert np.abs(got - rgb).max() <= 4


def test_subsampled_colours_without_compression_are_refused() -> None:
    array = np.asarray(Image.fromarray(stored(scene(3), "u1")).convert("YCbCr"))
    data = written(array, photometric="ycbcr", subsampling=(1, 1))
    whole, halved = (struct.pack("<HHIHH", 530, 3, 2, by, by) for by in (1, 2))
    assert whole in data
    with pytest.raises(PhotoError, match=r"^damaged TIFF, or of a kind that is not supported$"):
        load_photo(data.replace(whole, halved))


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_bits_in_the_other_order(kind: str) -> None:
    array = stored(scene(1), kind)[:, :, 0]
    reversed_bytes = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    bits = array.dtype.itemsize * 8
    for photometric, wanted in ((1, scene(1)), (0, 1 - scene(1))):
        data = packed(array.byteswap()[:, :, None] if bits == 16 else array[:, :, None].astype(np.uint16), bits)
        start, length = 8, array.nbytes
        turned = data[:start] + data[start : start + length].translate(reversed_bytes) + data[start + length :]
        place = turned.index(struct.pack("<HHII", 262, 4, 1, 1))
        fill = struct.pack("<HHII", 262, 4, 1, photometric)
        turned = turned[:place] + fill + turned[place + 12 :]
        rows = struct.pack("<HHII", 278, 4, 1, HEIGHT)  # as one strip is the default, the tag can be another
        turned = turned.replace(rows, struct.pack("<HHII", 266, 4, 1, 2))
        got = np.asarray(load_photo(turned).image).astype(int)
        assert np.abs(got - 255 * np.repeat(wanted, 3, axis=2)).max() <= 2


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_too_many_samples_are_no_photo(photometric: str) -> None:
    array = np.zeros((40, 4, 6), np.uint16)
    data = written(
        array,
        photometric=photometric,
        planarconfig="separate",
        extrasamples=["unspecified"] * (39 if photometric == "minisblack" else 37),
    )
    with pytest.raises(PhotoError, match=r"^damaged TIFF, or of a kind that is not supported$"):
        load_photo(data)


@settings(max_examples=150)
@given(data=st.data())
def test_damage_raises_nothing_but_photo_errors(data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from([None, "lzw", "adobe_deflate", "packbits", "zstd"]))
    tile = data.draw(st.sampled_from([None, (16, 16)]))
    array = stored(scene(3), data.draw(st.sampled_from(["u2", "f4"]))).transpose(2, 0, 1)
    options: dict[str, Any] = {
        "photometric": "rgb",
        "planarconfig": "separate",
        "compression": compression,
        "tile": tile,
    }
    photo = bytearray(written(array, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        photo[data.draw(st.integers(0, min(len(photo), 600) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PhotoError):
        assert load_photo(bytes(photo), max_pixels=100_000).image.mode == "RGB"
