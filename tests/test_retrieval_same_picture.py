"""Two photos are one picture if one is an altered copy of the other, and not if they are of the same kind of thing."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from retrieval.duplicates.likeness import SAME_PICTURE, fine_likeness, is_flat, locate, small_pictures
from retrieval.duplicates.windows import ORIENTATIONS, PHOTOS, oriented, oriented_spectra, spectra
from retrieval.photos.thumbnail import SIDE, thumbnail

NAMES = ("astronaut", "chelsea", "coffee", "rocket")
WORDS = ["quick", "brown", "fox", "jumps", "over", "lazy", "dog", "while", "seven", "pale", "wizards", "odd", "jars"]
Alteration = Callable[[Image.Image], Image.Image]


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def letter(number: int) -> Image.Image:
    """A letter of one layout, with words of its own."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (420, 594), "white")
    draw = ImageDraw.Draw(image)
    draw.text((40, 30), "Acme Insurance", fill=(0, 60, 140), font_size=20)
    for line in range(30):
        draw.text((40, 80 + 16 * line), " ".join(random.choice(WORDS, 9)), fill="black", font_size=11)
    return image


def chat(number: int) -> Image.Image:
    """A chat of bubbles that are always in the same places."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (360, 640), (236, 229, 221))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 360, 50), fill=(7, 94, 84))
    for bubble in range(8):
        left, top = (120 if bubble % 2 else 10), 62 + 70 * bubble
        draw.rounded_rectangle((left, top, left + 230, top + 58), 8, fill=(220, 248, 198) if bubble % 2 else "white")
        for line in range(3):
            draw.text((left + 8, top + 5 + 16 * line), " ".join(random.choice(WORDS, 6))[:34], "black", font_size=13)
    return image


def resaved(image: Image.Image, quality: int = 30) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image, share: float = 0.8) -> Image.Image:
    """Keep a share of each side."""
    width, height = image.size
    left, top = 0.3 * (1 - share), 0.7 * (1 - share)
    return image.crop(
        (round(left * width), round(top * height), round((left + share) * width), round((top + share) * height))
    )


def screenshot(image: Image.Image) -> Image.Image:
    shot = Image.new("RGB", (image.width + 40, image.height * 2), (18, 18, 18))
    shot.paste(image, (20, image.height // 2))
    return shot


ALTERATIONS: dict[str, Alteration] = {
    "resaved": resaved,
    "resized": lambda image: image.resize((90, 70)),
    "cropped": cropped,
    "cropped by 15 % a side": lambda image: ImageOps.crop(image, round(0.15 * min(image.size))),
    "framed": lambda image: ImageOps.expand(image, image.height // 20, "white"),
    "framed twice": lambda image: ImageOps.expand(ImageOps.expand(image, 9, "white"), 30, "black"),
    "a screenshot": screenshot,
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "tilted": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 160)),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "all of it": lambda image: resaved(ImageOps.mirror(cropped(ImageEnhance.Brightness(image).enhance(0.8)))),
}
DOCUMENTS: dict[str, Callable[[int], Image.Image]] = {"letter": letter, "chat": chat}


def alike(one: Image.Image, other: Image.Image) -> float:
    return float(compared(np.stack([thumbnail(one), thumbnail(other)]), [(0, 1)])[0])


def compared(pictures: NDArray[np.uint8], pairs: list[tuple[int, int]]) -> NDArray[np.float32]:
    numbers = np.array(pairs)
    return fine_likeness(pictures, numbers, locate(small_pictures(pictures), numbers, PHOTOS), is_flat(pictures))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_copy_is_the_same_picture(name: str, alteration: str) -> None:
    image = photo(name)
    assert alike(image, ALTERATIONS[alteration](image)) >= SAME_PICTURE
    assert alike(ALTERATIONS[alteration](image), image) >= SAME_PICTURE


def test_other_pictures_are_not() -> None:
    pictures = np.stack([thumbnail(photo(name)) for name in NAMES])
    assert compared(pictures, [(one, other) for other in range(4) for one in range(other)]).max() < 0.5


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_of_one_layout_are_different_pictures(kind: str) -> None:
    pictures = np.stack([thumbnail(resaved(DOCUMENTS[kind](number), 90)) for number in range(6)])
    assert is_flat(pictures).all()
    assert compared(pictures, [(one, other) for other in range(6) for one in range(other)]).max() < SAME_PICTURE


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("alteration", ["resaved", "half", "framed", "turned", "cropped by 10 %", "cropped"])
def test_an_altered_document_is_the_same_picture(kind: str, alteration: str) -> None:
    alter = ALTERATIONS | {
        "half": lambda image: image.resize((image.width // 2, image.height // 2)),
        "cropped by 10 %": lambda image: cropped(image, 0.9),
    }
    image = DOCUMENTS[kind](0)
    assert alike(image, resaved(alter[alteration](image), 85)) >= SAME_PICTURE


def test_a_picture_is_as_like_itself_as_can_be() -> None:
    assert alike(photo("coffee"), photo("coffee")) == pytest.approx(1, abs=0.01)
    # Fine print loses something when it is laid over itself: one of the two is blurred.
    assert alike(letter(0), letter(0)) > 0.9


def test_each_orientation_is_found() -> None:
    picture = thumbnail(photo("chelsea"))
    turned = np.stack([oriented(picture.astype(np.float32), number) for number in range(ORIENTATIONS)])
    assert len(np.unique(turned, axis=0)) == ORIENTATIONS
    found = compared(
        np.concatenate([picture[None], turned.astype(np.uint8)]), [(0, number + 1) for number in range(ORIENTATIONS)]
    )
    assert found == pytest.approx(np.ones(ORIENTATIONS), abs=0.01)
    floats = picture[None].astype(np.float32)
    expected = np.stack([spectra(oriented(floats, number), 8) for number in range(ORIENTATIONS)])
    assert oriented_spectra(spectra(floats, 8)) == pytest.approx(expected, abs=0.01)


def test_nothing_can_be_said_of_pictures_with_nothing_in_them() -> None:
    noise = np.random.default_rng(0).integers(127, 129, (2, SIDE, SIDE), np.uint8)
    plain = [np.full((SIDE, SIDE), grey, np.uint8) for grey in (0, 128, 255)]
    pictures = np.stack([*plain, *noise])
    pairs = [(one, other) for other in range(5) for one in range(other)]
    assert compared(pictures, pairs).max() < SAME_PICTURE
    assert compared(pictures, [(0, 0), (1, 1)]).max() < SAME_PICTURE


def test_a_logo_on_black_is_not_all_of_a_picture() -> None:
    one, other = (Image.new("RGB", (300, 300), "black") for _ in range(2))
    for image, word in ((one, "a summer night"), (other, "winter in town")):
        ImageDraw.Draw(image).text((20, 270), "Studio 54", fill="white", font_size=20)
        ImageDraw.Draw(image).text((40, 90), word, fill=(90, 90, 90), font_size=34)
    assert alike(one, other) < SAME_PICTURE
