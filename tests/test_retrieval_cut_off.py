"""WebP, HEIC and AVIF files that were cut off: their rows that are there are shown, and no others."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from index.errors import PhotoError
from retrieval.photos.decode import load_photo, open_photo

KINDS = ("WEBP", "WEBP lossless", "AVIF", "HEIF")
NEARLY = 8
"""Of 255: pixels beside the cut, which a filter has touched."""


def picture() -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (200, 40, 3), np.uint8)).resize((160, 800), Image.Resampling.BICUBIC)


def written(kind: str) -> bytes:
    format, _, lossless = kind.partition(" ")
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    file = BytesIO()
    picture().save(file, format, **({"lossless": True} if lossless else {}))
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_off_shows_the_rows_that_are_there(kind: str) -> None:
    data = written(kind)
    whole = np.asarray(open_photo(data)).astype(int)
    found = load_photo(data[: len(data) * 99 // 100])
    rows = found.image.height
    assert 0.95 * 800 <= rows < 800
    assert found.missing == f"the last {800 - rows} of its 800 rows are missing"
    assert np.abs(np.asarray(found.image) - whole[:rows]).max() <= NEARLY


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_which_too_much_is_missing_is_refused(kind: str) -> None:
    data = written(kind)
    for part in (data[: len(data) * 8 // 10], data[: len(data) // 3], data[:40]):
        with pytest.raises(PhotoError):
            load_photo(part)


def test_what_comes_after_a_picture_may_be_missing() -> None:
    file = BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "a maker of cameras" * 40
    picture().save(file, "WEBP", exif=exif)
    found = load_photo(file.getvalue()[:-100])
    assert (found.missing, found.image.size) == (None, (160, 800))


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_is_enough(format: str) -> None:
    frames = [picture(), picture().rotate(180)]
    file = BytesIO()
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    whole = np.asarray(open_photo(file.getvalue()))
    found = load_photo(file.getvalue()[: len(file.getvalue()) * 3 // 4])
    assert found.missing is None
    assert np.array_equal(np.asarray(found.image), whole)
