"""The pictures of docs/gallery.md: what the page shows is what its commands draw."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))  # where the scripts lie that make the pages

import make_gallery as gallery  # noqa: E402


def size_and_spread(picture: Path) -> tuple[tuple[int, int], float]:
    with Image.open(picture) as image:
        return image.size, float(np.asarray(image.convert("L")).std())


def test_the_page_is_what_the_script_writes() -> None:
    assert (DOCS / "gallery.md").read_text("utf-8") == "\n".join(gallery.page())


def test_each_picture_of_the_page_is_there_and_not_blank() -> None:
    assert {path.name for path in (DOCS / "gallery").iterdir()} == {figure.words[-1] for figure in gallery.FIGURES}
    for figure in gallery.FIGURES:
        (width, height), spread = size_and_spread(DOCS / "gallery" / figure.words[-1])
        assert min(width, height) >= 100, figure.name
        assert spread > 5, figure.name


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("gallery")
    gallery.prepare(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("figure", gallery.FIGURES, ids=lambda figure: figure.name)
def test_its_command_draws_a_picture_of_that_size_each_time_the_same(figure: gallery.Figure, prepared: Path) -> None:
    first = gallery.draw(figure, prepared)
    size, spread = size_and_spread(first)
    drawn = first.read_bytes()
    assert size == size_and_spread(DOCS / "gallery" / first.name)[0]
    assert spread > 5
    assert gallery.draw(figure, prepared).read_bytes() == drawn
