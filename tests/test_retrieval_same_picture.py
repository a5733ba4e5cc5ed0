"""Two photos are one picture if one is an altered copy of the other, and not if they are of the same kind of thing."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from retrieval.duplicates.compare import SIDE, likeness, thumbnail
from retrieval.duplicates.find import SAME_PICTURE

NAMES = ("astronaut", "chelsea", "coffee", "rocket")
Alteration = Callable[[Image.Image], Image.Image]


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def resaved(image: Image.Image) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(0.15 * width), round(0.04 * height), round(0.96 * width), round(0.88 * height)))


ALTERATIONS: dict[str, Alteration] = {
    "resaved": resaved,
    "resized": lambda image: image.resize((90, 70)),
    "cropped": cropped,
    "framed": lambda image: ImageOps.expand(image, image.height // 20, "white"),
    "mirrored": ImageOps.mirror,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "all of it": lambda image: resaved(ImageOps.mirror(cropped(ImageEnhance.Brightness(image).enhance(0.8)))),
}


def both_ways(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(max(likeness(one, other[None])[0], likeness(other, one[None])[0]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_copy_is_the_same_picture(name: str, alteration: str) -> None:
    image = photo(name)
    assert both_ways(thumbnail(image), thumbnail(ALTERATIONS[alteration](image))) >= SAME_PICTURE


def test_other_pictures_are_not() -> None:
    thumbnails = [thumbnail(photo(name)) for name in NAMES]
    for number, one in enumerate(thumbnails):
        assert max(both_ways(one, other) for place, other in enumerate(thumbnails) if place != number) < 0.7


def test_a_picture_is_as_like_itself_as_can_be() -> None:
    picture = thumbnail(photo("coffee"))
    assert likeness(picture, np.stack([picture, picture[:, ::-1]])) == pytest.approx([1, 1], abs=1e-5)


def test_a_picture_finds_what_was_cut_out_of_it() -> None:
    image = photo("chelsea")
    whole, part = thumbnail(image), thumbnail(cropped(image))
    assert likeness(whole, part[None])[0] > SAME_PICTURE > likeness(part, whole[None])[0]


def test_others_are_compared_one_by_one() -> None:
    thumbnails = np.stack([thumbnail(photo(name)) for name in NAMES])
    alone = [likeness(thumbnails[0], other[None])[0] for other in thumbnails]
    assert likeness(thumbnails[0], thumbnails) == pytest.approx(alone, abs=1e-6)
    assert likeness(thumbnails[0], thumbnails[:0]).shape == (0,)


def test_nothing_can_be_said_of_pictures_with_nothing_in_them() -> None:
    noise = np.random.default_rng(0).integers(127, 129, (SIDE, SIDE), np.uint8)
    plain = [np.full((SIDE, SIDE), grey, np.uint8) for grey in (0, 128, 255)]
    for picture in [*plain, noise]:
        assert likeness(picture, np.stack([*plain, noise])).max() < SAME_PICTURE
