"""Text of pictures fits, can be drawn whatever a file is called, and is legible on light and on dark."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, features

from retrieval.figures import style
from retrieval.figures.style import DARK, LIGHT, drawable, shortened, text_width, write_text

NAMES = ("Kätzchen.jpg", "שלום.jpg", "مرحبا.png", "日本.jpg", "😀👩‍👩‍👧.jpg", "\u202egpj.exe", "a\nb", "\udcff.jpg", "")


@given(st.text(max_size=60), st.integers(20, 300))
def test_shortened_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    short = shortened(text, width)
    assert text_width(short) <= max(width, text_width("…"))
    if "…" in short and "…" not in text and len(short) > 2:
        head, tail = short.split("…")
        safe = drawable(text)[0]
        assert (drawable(head)[0] or safe)[0] == safe[0] or not head.strip()
        assert not tail or drawable(tail)[0][-1:] == safe[-1:]


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name: str, other: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not other:
        monkeypatch.setattr(style, "_other_font", lambda size: None)
    safe, _ = drawable(name)
    assert not set(safe) & {"\n", "\u202e", "\udcff"}
    picture = Image.new("RGB", (300, 30), LIGHT.paper)
    write_text(ImageDraw.Draw(picture), (4, 4), name, LIGHT.ink)
    assert (picture.getextrema() == ((255, 255),) * 3) == (not name)


def test_without_another_font_accents_go_and_the_letter_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "_other_font", lambda size: None)
    assert drawable("Kätzchen 3×4")[0] == "Katzchen 3x4"


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("on", ["paper", "bar", "accent_bar"])
def test_text_stands_out_from_what_is_behind_it(theme: style.Theme, on: str) -> None:
    """By the contrast ratio of WCAG 2.1: 4.5 for text."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for text in [theme.ink] if on != "paper" else [theme.ink, theme.grey, theme.accent]:
        low, high = sorted([luminance(text), luminance(getattr(theme, on))])
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_very_long_name_is_shortened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    real = style.text_width

    def counted(text: str, size: int = style.TEXT) -> int:
        measured.append(text)
        return real(text, size)

    monkeypatch.setattr(style, "text_width", counted)
    assert shortened("x" * 20_000, 200).startswith("xx")
    assert 2 < len(measured) < 20


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow cannot lay out Hebrew")
@pytest.mark.skipif(style._other_font(16) is None, reason="no font here has Hebrew letters")
def test_the_suffix_of_a_hebrew_name_stays_at_the_right() -> None:
    def drawn(text: str) -> NDArray[np.uint8]:
        picture = Image.new("L", (200, 30), "white")
        write_text(ImageDraw.Draw(picture), (0, 4), text, "black")
        return np.asarray(picture)

    start = text_width("שלום")
    whole, letters = drawn("שלום.jpg"), drawn("שלום")
    np.testing.assert_array_equal(whole[:, : start - 2], letters[:, : start - 2])
    assert (whole[:, start:] < 128).any()


def test_the_number_of_a_name_stays_in_sight() -> None:
    short = shortened("a photo with a very long name, of the summer holiday, 0042.jpg", 160)
    assert short.startswith("a photo")
    assert short.endswith("0042.jpg")
