"""GIF and WebP files that were cut off after their first picture, which is shown."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from retrieval.photos.decode import load_photo, open_photo


def picture() -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (200, 40, 3), np.uint8)).resize((160, 800), Image.Resampling.BICUBIC)


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
