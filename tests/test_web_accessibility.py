"""Every page, wide and on a phone, light and dark: axe-core finds nothing, and what it looks like is kept as a picture.

The pictures are in build/screenshots: of real photos where these are, with the built-in model.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image, ImageEnhance

pytest.importorskip("fastapi", reason="the page needs the extra web")
pytest.importorskip("playwright", reason="the page is tested through Playwright")
from playwright.sync_api import Browser, Page, expect
from web_browser import (
    PHONE,
    WIDE,
    assert_accessible,
    assert_fits,
    browsing,
    drop,
    keep_screenshot,
    loaded,
    tiles,
    visiting,
)
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from web.settings import Settings

pytestmark = pytest.mark.slow
MOST = 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def photos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accessible") / "photos"
    with suppress(pytest.skip.Exception):
        real = sorted((request.getfixturevalue("data_dir") / "photos").glob("*.JPEG"))[:MOST]
        folder.mkdir()
        for path in real:
            shutil.copy(path, folder / f"{path.stem.partition('_')[2]}.jpg")
        first = folder / f"{real[0].stem.partition('_')[2]}.jpg"
        shutil.copy(first, folder / "the same again.jpg")
        with Image.open(first) as image:
            ImageEnhance.Color(image).enhance(0.4).save(folder / "paler.jpg", quality=70)
        return folder
    return make_photos(folder)


@pytest.fixture(scope="module")
def served(photos: Path, tiny_model: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    model = str(tiny_model) if (photos / "red-0.png").exists() else "builtin"
    index = photos.parent / "index"
    assert CliRunner().invoke(main, ["index", str(photos), "--index", str(index), "-m", model]).exit_code == 0
    with serving(Settings(index, decode_seconds=120)) as server:
        yield server


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_on_any_page(
    browser: Browser, served: Served, photos: Path, size: tuple[int, int], dark: bool
) -> None:
    kind = f"{size[0]}-{'dark' if dark else 'light'}"
    upload = next(path for path in sorted(photos.iterdir()) if path.is_file())
    ids = [photo["id"] for photo in served.get("/api/photos").json["photos"]]
    with visiting(browser, served, size=size, dark=dark, faults=True) as page:

        def check(name: str) -> None:
            loaded(page)
            keep_screenshot(page, f"{name}-{kind}")
            assert_accessible(page)
            assert_fits(page)

        page.goto("/")
        expect(tiles(page).first).to_be_visible()
        check("collection")
        others = page.locator("header nav a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")

        drop(page, upload)
        expect(page.locator("#names a").first).to_be_visible()
        expect(page.locator("#status")).to_contain_text("The most alike first")
        check("upload")
        page.locator("#draw").click()
        check("upload-part")

        page.goto(f"/?like={ids[0]}&like={ids[1]}&unlike={ids[2]}")
        expect(page.locator("#chips li")).to_have_count(3)
        expect(page.locator("#status")).to_contain_text("The most alike first")
        check("several")

        label = served.get(f"/api/photos/{ids[1]}").json["predictions"][0]["label"]
        page.goto(f"/?label={label}")
        expect(page.locator("#status")).to_contain_text("Photos of")
        check("label")
        tiles(page).first.locator("a").focus()
        assert_accessible(page)

        page.goto(f"/photos/{ids[0]}")
        expect(tiles(page).first).to_be_visible()
        check("photo")
        page.locator("#draw").click()
        check("photo-part")

        for like in ("exact", "altered", "alike"):
            page.goto(f"/duplicates?like={like}")
            expect(page.locator("#status")).to_contain_text(re.compile("group|No copies"))
            check(f"copies-{like}")
        page.goto("/duplicates")
        page.get_by_role("button", name="Compare").first.click()
        check("compare")
        page.locator("#over").check()
        check("difference")

        page.goto("/login")
        check("login")
        page.goto("/photos/999999")
        check("error")
        page.goto("/?label=nothing+of+the+kind")
        expect(page.locator("#status.wrong")).to_be_visible()
        check("nothing-found")
        for address in others:
            if address not in ("/", "/duplicates"):
                page.goto(address)
                check(address.strip("/"))


def test_axe_finds_what_is_wrong(browser: Browser, served: Served) -> None:
    with visiting(browser, served) as page:
        page.goto("/")
        expect(tiles(page).first).to_be_visible()
        page.evaluate("document.querySelector('#label').labels[0].remove(); document.body.style.color = '#ddd'")
        with pytest.raises(AssertionError):
            assert_accessible(page)


def test_larger_letters_and_more_space_hide_nothing(browser: Browser, served: Served) -> None:
    """Text spacing (WCAG 1.4.12) and half the width, as at 200 % (1.4.4)."""
    with visiting(browser, served, size=(640, 400)) as page:
        for address in ("/", "/duplicates", "/docs", "/login"):
            page.goto(address)
            loaded(page)
            widen(page)
            assert_fits(page)


def widen(page: Page) -> None:
    """Set the spacing that WCAG 2.2 names in 1.4.12, past what the policy of the page allows to itself."""
    page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          const spacing = { "line-height": 1.5, "letter-spacing": ".12em", "word-spacing": ".16em" };
          const rules = Object.entries(spacing).map(([name, value]) => `${name}: ${value} !important;`);
          sheet.replaceSync(`* { ${rules.join(" ")} }`);
          document.adoptedStyleSheets.push(sheet);
        }"""
    )
