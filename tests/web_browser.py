"""Chromium, for the tests of the pages: what each page asks for and complains about is looked at when it is left."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from web_server import Served

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, PHONE = (1280, 800), (390, 844)
SECONDS = 120  # on a busy machine
SCREENSHOTS = Path(__file__).parent.parent / "build" / "screenshots"
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start the Chromium of this machine; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(
    browser: Browser, served: Served, *, size: tuple[int, int] = WIDE, dark: bool = False, faults: bool = False
) -> Iterator[Page]:
    """Open a window. Afterwards no request may have gone to another host, and nothing may have been complained about.

    `faults` says that the test provokes errors of the server, which a browser complains about.
    """
    host = f"127.0.0.1:{served.port}"
    context = browser.new_context(
        base_url=f"http://{host}",
        viewport={"width": size[0], "height": size[1]},
        has_touch=size == PHONE,
        is_mobile=size == PHONE,
        color_scheme="dark" if dark else "light",
        locale="en-US",
        reduced_motion="reduce",
    )
    context.set_default_timeout(SECONDS * 1000)
    asked: list[str] = []
    complaints: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    try:
        yield context.new_page()
    finally:
        context.close()
    assert asked
    assert {
        url for url in asked if urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != host
    } == set()
    assert faults or complaints == []


def drop(page: Page, *files: Path) -> None:
    """Drop files onto the page as a file manager does, which tells again and again where it is."""
    page.evaluate("() => { window.dropped = false; addEventListener('drop', () => { window.dropped = true; }); }")
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for _ in range(50):
        for kind in ("dragEnter", "dragOver", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
            page.wait_for_timeout(100)  # until the page has said that it takes them
        if page.evaluate("window.dropped"):
            break
    assert page.evaluate("window.dropped")
    session.detach()


def tiles(page: Page) -> Locator:
    """Return the photos of the grid that are in the page."""
    return page.locator("#grid > li")


def first_name(page: Page) -> str:
    """Return the name of the first photo of the grid, once there is one."""
    return tiles(page).first.locator("a").get_attribute("title") or ""


def loaded(page: Page) -> None:
    """Wait until the page has said what it found, and every picture in it is there, and was one."""
    page.wait_for_load_state("load")
    page.wait_for_function(
        "() => !/^(Loading|Looking|Comparing|Laying)/.test(document.querySelector('#status')?.textContent ?? '')"
        " && [...document.images].filter((image) => image.checkVisibility() && image.loading !== 'lazy')"
        ".every((image) => image.complete && image.naturalWidth > 0)"
    )


def assert_accessible(page: Page) -> None:
    """Fail with what axe-core finds on a page."""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": STANDARDS}, "resultTypes": ["violations"]})
    told = [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
    assert not told, "\n".join(told)


def assert_fits(page: Page) -> None:
    """Fail where a page has to be scrolled sideways."""
    wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1]


def keep_screenshot(page: Page, name: str) -> None:
    """Write what the window shows to build/screenshots, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
