"""The resize and crop against Pillow, step by step."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from retrieval.photos.decode import open_photo
from retrieval.photos.preprocess import prepare, resize_and_crop, resize_only, squash, ten_crops


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def in_two_steps(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Shrink the shorter side to `size`, then cut out the middle."""
    width, height = (round(side * size / min(image.size)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(small.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 64), (64, 96), (128, 256)])
def test_resizing_is_pillows_where_the_steps_are_exact(width: int, height: int) -> None:
    difference = resize_only(noise(width, height), size=64).astype(int) - in_two_steps(noise(width, height), 64)
    assert np.abs(difference).max() <= 3  # Pillow may take rows and columns in another order, and round in between


def test_large_pictures_are_reduced_in_two_steps_without_harm(data_dir: Path) -> None:
    for path in sorted((data_dir / "photos").glob("*.JPEG"))[:20]:
        image = open_photo(path)
        side = min(image.size) // 64 * 64
        image = image.crop((0, 0, side, side))
        difference = resize_only(image, size=64).astype(int) - in_two_steps(image, 64)
        assert np.abs(difference).mean() < 0.5
        assert np.abs(difference).max() <= 16


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (64, 67)])
def test_a_picture_of_the_right_size_is_untouched(size: tuple[int, int]) -> None:
    image = noise(*size)
    left, top = (size[0] - 64) // 2, (size[1] - 64) // 2
    np.testing.assert_array_equal(resize_only(image, size=64), np.asarray(image.crop((left, top, left + 64, top + 64))))


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize_only(Image.fromarray(stripes), size=50).astype(int) - 127.5).max() < 8


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (1, 1), (3, 20_000)])
def test_thin_pictures_stay_small(size: tuple[int, int]) -> None:
    image = noise(*size)
    tracemalloc.start()
    pixels = resize_only(image, size=64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (64, 64, 3)
    assert peak < 10_000_000


def test_any_mode_becomes_rgb() -> None:
    grey = noise(80, 70).convert("L")
    np.testing.assert_array_equal(resize_only(grey, size=64), resize_only(grey.convert("RGB"), size=64))


def test_pixels_may_be_written_to() -> None:
    for pixels in (
        resize_only(noise(64, 64), size=64),
        resize_and_crop(noise(64, 64), resize=64, crop=56),
        ten_crops(noise(64, 64), resize=64, crop=56),
    ):
        assert pixels.dtype == np.uint8
        pixels += 1


@pytest.mark.parametrize(("resize", "crop"), [(64, 56), (256, 224), (256, 227), (64, 64)])
def test_the_crop_is_the_middle(resize: int, crop: int) -> None:
    image = noise(300, 270)
    whole, margin = resize_only(image, size=resize), (resize - crop) // 2
    middle = resize_and_crop(image, resize=resize, crop=crop)
    np.testing.assert_array_equal(middle, whole[margin : margin + crop, margin : margin + crop])
    np.testing.assert_array_equal(ten_crops(image, resize=resize, crop=crop)[4], middle)


def test_ten_crops_are_four_corners_the_middle_and_their_mirror_images() -> None:
    image = noise(100, 90)
    whole, crops = resize_only(image, size=64), ten_crops(image, resize=64, crop=56)
    assert crops.shape == (10, 56, 56, 3)
    for crop, part in zip(crops[:4], (whole[:56, :56], whole[:56, 8:], whole[8:, :56], whole[8:, 8:]), strict=True):
        np.testing.assert_array_equal(crop, part)
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])


@pytest.mark.parametrize("size", [(250, 100), (100, 250), (126, 100), (125, 100), (110, 100), (100, 100)])
def test_trimmed_pictures_are_the_middle_at_most_5_to_4_squashed(size: tuple[int, int]) -> None:
    image = noise(*size)
    width, height = (min(side, 125) for side in size)
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    box = (left, top, left + width, top + height)
    expected = np.asarray(image.resize((56, 56), Image.Resampling.BICUBIC, box=box))
    found = prepare(image, resize=56, crop=56, mode="trim")
    assert np.abs(found.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("size", [(20_000, 1), (1, 1), (90, 30)])
def test_squashed_pictures_are_whole(size: tuple[int, int]) -> None:
    image = noise(*size)
    np.testing.assert_array_equal(
        prepare(image, resize=16, crop=16, mode="squash"),
        np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC, reducing_gap=3.0)),
    )
    np.testing.assert_array_equal(squash(image, size=16, ratio=1), resize_only(image, size=16))


@pytest.mark.parametrize("crop", [0, 65])
def test_an_impossible_crop_is_refused(crop: int) -> None:
    with pytest.raises(ValueError, match="crop must lie between 1 and resize"):
        resize_and_crop(noise(64, 64), resize=64, crop=crop)
    with pytest.raises(ValueError, match="crop must lie between 1 and resize"):
        ten_crops(noise(64, 64), resize=64, crop=crop)
