"""The page as people use it, in a real Chromium: with a pointer, a keyboard and a phone, forwards and back."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("fastapi", reason="the page needs the extra web")
pytest.importorskip("playwright", reason="the page is tested through Playwright")
from playwright.sync_api import Browser, Page, expect
from web_browser import PHONE, assert_fits, browsing, drop, first_name, loaded, tiles, visiting
from web_photos import make_photos
from web_server import Served, serving

from cli import main
from web.settings import Settings

pytestmark = pytest.mark.slow
MANY = 700


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("browser") / "photos")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def served(photos: Path, tiny_model: Path) -> Iterator[Served]:
    with serving(Settings(indexed(photos, tiny_model), decode_seconds=120)) as server:
        yield server


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with visiting(browser, served) as opened:
        yield opened


def indexed(photos: Path, model: Path) -> Path:
    index = photos.parent / "index"
    assert CliRunner().invoke(main, ["index", str(photos), "--index", str(index), "-m", str(model)]).exit_code == 0
    return index


@pytest.fixture(scope="module")
def both(photos: Path) -> Path:
    """A photo that is not in the collection: red-2 on the left, blue-2 on the right."""
    with Image.open(photos / "red-2.png") as left, Image.open(photos / "blue-2.png") as right:
        image = Image.new("RGB", (400, 200))
        image.paste(left.resize((200, 200), Image.Resampling.NEAREST), (0, 0))
        image.paste(right.resize((200, 200), Image.Resampling.NEAREST), (200, 0))
    path = photos.parent / "both.png"
    image.save(path)
    return path


def open_photo(page: Page, name: str) -> None:
    page.goto("/")
    page.locator(f"#grid a[title='{name}']").first.click()
    expect(page.locator("h1")).to_have_text(name)
    loaded(page)  # its script too


def test_a_dropped_photo_is_named_and_its_first_neighbour_is_the_right_one(page: Page, photos: Path) -> None:
    page.goto("/")
    expect(tiles(page)).to_have_count(11)
    drop(page, photos / "green-1.png")
    expect(page.locator("#upload")).to_be_visible()
    expect(page.locator("#status")).to_contain_text("The most alike first")
    assert first_name(page) == "green-1.png"
    expect(page.locator("#names a").first).to_have_text("green")
    meter = page.locator("#names meter").first
    assert float(meter.get_attribute("value") or 0) > 0.4
    loaded(page)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#upload")).to_be_hidden()
    expect(tiles(page)).to_have_count(11)


def test_guesses_are_marked(page: Page, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")  # no colour is the strongest
    page.goto("/")
    drop(page, tmp_path / "black.png")
    expect(page.locator("#names li").first).to_have_text("unsure")
    expect(page.locator("#names a")).to_have_text(["red?", "green?", "blue?"])
    page.get_by_role("button", name="Close").click()
    page.locator("#file").set_input_files([tmp_path / "black.png", photos / "green-1.png"])
    expect(page.locator("#several span")).to_have_text(["red?", "green"])


@pytest.mark.parametrize("way", ["chosen", "pasted"])
def test_a_photo_can_be_chosen_or_pasted_too(page: Page, photos: Path, way: str) -> None:
    page.goto("/")
    expect(tiles(page)).to_have_count(11)
    if way == "chosen":
        page.locator("#file").set_input_files(photos / "blue-0.png")
    else:
        page.evaluate(
            """(bytes) => {
              const data = new DataTransfer();
              data.items.add(new File([Uint8Array.from(bytes)], "image.png", { type: "image/png" }));
              document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
            }""",
            list((photos / "blue-0.png").read_bytes()),
        )
    expect(page.locator("#names a").first).to_have_text("blue")
    expect(page.locator("#status")).to_contain_text("The most alike first")
    assert first_name(page) == "blue-0.png"


def test_what_is_no_picture_is_told(browser: Browser, served: Served, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    with visiting(browser, served, faults=True) as page:
        page.goto("/")
        page.locator("#file").set_input_files(tmp_path / "notes.png")
        expect(page.locator("#status")).to_have_class(re.compile("wrong"))
        expect(page.locator("#names .wrong")).to_be_visible()
        expect(tiles(page)).to_have_count(0)


def test_clicks_lead_from_photo_to_photo_and_the_back_button_back(page: Page) -> None:
    open_photo(page, "red-1.png")
    first = page.url
    expect(tiles(page).first).to_be_visible()
    assert first_name(page).startswith(("red", "copy"))  # the nearest has its colour
    assert "red-1.png" not in [tile.get_attribute("title") for tile in tiles(page).locator("a").all()]
    second = first_name(page)
    tiles(page).first.locator("a").click()
    expect(page.locator("h1")).to_have_text(second)
    page.get_by_role("link", name="More like this").click()
    expect(page.locator("#status")).to_contain_text("The most alike first")
    assert "like=" in page.url
    page.go_back()
    expect(page.locator("h1")).to_have_text(second)
    page.go_back()
    expect(page.locator("h1")).to_have_text("red-1.png")
    assert page.url == first
    page.go_back()
    expect(tiles(page)).to_have_count(11)
    page.go_forward()
    expect(page.locator("h1")).to_have_text("red-1.png")


def test_more_and_less_like_a_photo_make_one_query(page: Page) -> None:
    page.goto("/")
    for name, words in (("red-0.png", "More like this"), ("green-0.png", "Not like this")):
        tile = tiles(page).filter(has=page.locator(f"a[title='{name}']"))
        tile.hover()
        tile.get_by_role("button", name=words).click()
        expect(page.locator("#status")).to_contain_text("The most alike first")
        page.wait_for_url(re.compile("unlike=" if words.startswith("Not") else "[?&]like="))
        if words.startswith("More"):
            expect(page.locator("#chips li")).to_have_count(1)
    expect(page.locator("#chips li")).to_have_count(2)
    assert "green" not in first_name(page)
    page.locator("#chips li.unlike button").click()
    expect(page.locator("#chips li")).to_have_count(1)
    page.go_back()
    expect(page.locator("#chips li")).to_have_count(2)


def test_a_region_is_drawn_in_a_photo_of_the_collection(page: Page, served: Served) -> None:
    open_photo(page, "blue-1.png")
    page.get_by_role("button", name="Part of it").click()
    expect(page.locator("#region")).to_be_visible()
    draw_box(page, "#canvas", (0.0, 0.0), (1.0, 1.0))
    page.wait_for_url(re.compile("region="))
    expect(page.locator("#status")).to_contain_text("by the part that was drawn")
    # Of copies and what was asked with one is left out, so that the others of its colour are first.
    assert first_name(page).startswith(("blue", "turned"))
    page.go_back()
    page.get_by_role("button", name="Part of it").click()
    for name, value in (("Left", "0"), ("Top", "0"), ("Width", "32"), ("Height", "64")):
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_label("Height", exact=True).press("Enter")
    page.wait_for_url(re.compile("region=0(,|%2C)0(,|%2C)32(,|%2C)64"))
    expect(page.locator("#status")).to_contain_text("by the part that was drawn")


def test_a_small_box_is_reached_over_a_large_one(page: Page) -> None:
    found = [
        {"label": name, "id": None, "probability": 0.5, "box": box}
        for name, box in (("small", [24, 24, 16, 16]), ("large", [0, 0, 64, 64]))
    ]
    page.route("**/detections", lambda route: route.fulfill(json={"id": 1, "path": "", "detections": found}))
    page.goto("/")
    open_photo(page, "red-2.png")
    page.get_by_role("button", name="What is where").click()
    page.get_by_role("link", name="small").click()
    page.wait_for_url("**region=24,24,16,16")


def test_a_year_and_a_month_of_an_address_are_days_in_the_fields(page: Page) -> None:
    page.goto("/?since=2019&until=2020-02")
    expect(page.locator("#status")).to_have_text("No photo here is known to be of that time.")
    expect(page.locator("#since")).to_have_value("2019-01-01")
    expect(page.locator("#until")).to_have_value("2020-02-29")
    page.locator("#label").fill("green")
    page.keyboard.press("Enter")
    page.wait_for_url("**since=2019-01-01&until=2020-02-29")


@pytest.mark.parametrize(("left", "name"), [(0.0, "red-2.png"), (0.5, "blue-2.png")])
def test_a_region_is_drawn_in_an_upload(page: Page, both: Path, left: float, name: str) -> None:
    page.goto("/")
    drop(page, both)
    expect(page.locator("#status")).to_contain_text("The most alike first")
    loaded(page)
    page.locator("#draw").click()
    draw_box(page, "#canvas", (left, 0.0), (left + 0.5, 1.0))
    expect(page.locator("#status")).to_contain_text("by the part that was drawn")
    assert first_name(page) == name


def draw_box(page: Page, canvas: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one corner to the other, in shares of the picture."""
    page.locator(f"{canvas} img").first.scroll_into_view_if_needed()
    frame = page.locator(f"{canvas} img").first.bounding_box()
    assert frame is not None

    def at(place: tuple[float, float]) -> tuple[float, float]:
        inside = [min(max(share, 0.002), 0.998) for share in place]
        return frame["x"] + inside[0] * frame["width"], frame["y"] + inside[1] * frame["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)))
    page.mouse.move(*at(end))
    page.mouse.up()


def test_a_label_is_completed_and_looked_for(page: Page) -> None:
    page.goto("/")
    page.locator("#label").click()
    expect(page.locator("#labels option")).to_have_count(3)
    assert [option.get_attribute("value") for option in page.locator("#labels option").all()] == [
        "red",
        "green",
        "blue",
    ]
    page.locator("#label").fill("green")
    page.locator("#label").press("Enter")
    expect(page.locator("#status")).to_contain_text("Photos of green")
    expect(page).to_have_title(re.compile("green"))
    assert first_name(page).startswith("green")
    page.go_back()
    expect(tiles(page)).to_have_count(11)
    expect(page.locator("#label")).to_have_value("")


def test_a_label_that_there_is_not_is_told(browser: Browser, served: Served) -> None:
    with visiting(browser, served, faults=True) as page:
        page.goto("/?label=zebra")
        expect(page.locator("#status")).to_have_class(re.compile("wrong"))
        expect(page.locator("#status")).to_contain_text("zebra")
        page.goto("/?since=2020&until=2019")
        expect(page.locator("#status")).to_have_class(re.compile("wrong"))
        expect(page.locator("#status")).to_contain_text("2020-01-01 is later than 2019-12-31")
        page.goto("/photos/999999")
        expect(page.locator("h1")).to_have_text("This cannot be shown")


def test_a_folder_is_looked_in(page: Page, photos: Path) -> None:
    open_photo(page, "copy.png")
    page.get_by_role("link", name="This folder").click()
    expect(tiles(page)).to_have_count(1)
    assert first_name(page) == "copy.png"


def test_a_copied_address_shows_the_same(browser: Browser, served: Served) -> None:
    with visiting(browser, served) as page:
        page.goto("/?label=blue")
        expect(page.locator("#status")).to_contain_text("Photos of blue")
        tiles(page).first.hover()
        tiles(page).first.get_by_role("button", name="More like this").click()
        expect(page.locator("#chips li")).to_have_count(1)
        expect(page.locator("#status")).to_contain_text("photos of blue")
        address, shown = page.url, [tile.get_attribute("title") for tile in tiles(page).locator("a").all()]
    assert shown
    with visiting(browser, served) as page:
        page.goto(address)
        expect(page.locator("#status")).to_contain_text("photos of blue")
        expect(page.locator("#label")).to_have_value("blue")
        assert [tile.get_attribute("title") for tile in tiles(page).locator("a").all()] == shown


def test_a_link_within_the_page_shows_nothing_else(page: Page, photos: Path) -> None:
    page.goto("/")
    expect(tiles(page)).to_have_count(11)
    drop(page, photos / "green-1.png")
    expect(page.locator("#status")).to_contain_text("The most alike first")
    loaded(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/#main")
    expect(page.locator("main")).to_be_focused()
    page.go_back()
    page.wait_for_url("**/")
    page.evaluate("fetch('/api/health')")
    expect(page.locator("#upload")).to_be_visible()
    assert [url.rpartition("/")[2] for url in asked if "/api/" in url] == ["health"]


def test_the_focus_is_not_lost_where_other_photos_are_shown(page: Page) -> None:
    page.goto("/?label=green")
    expect(page.locator("#status")).to_contain_text("Photos of green")
    # What was asked with is not among the answers: the first of them has the focus.
    tiles(page).first.locator("button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("The most alike first, photos of green")
    expect(tiles(page).first.locator("a")).to_be_focused()
    second = tiles(page).nth(1).locator("a")
    name = second.get_attribute("title")
    second.focus()
    page.go_back()
    expect(page.locator("#status")).to_have_text("Photos of green, the most probable first")
    expect(page.locator(f"#grid a[title='{name}']")).to_be_focused()
    page.go_forward()
    expect(page.locator("#status")).to_contain_text("The most alike first, photos of green")
    expect(page.locator(f"#grid a[title='{name}']")).to_be_focused()
    tiles(page).first.locator("button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chips li")).to_have_count(2)
    for left in (1, 0):
        page.locator("#chips button").last.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#chips li")).to_have_count(left)
        expect(page.locator("#chips button" if left else "main")).to_be_focused()


def test_all_is_reached_by_keyboard(page: Page) -> None:
    page.goto("/")
    expect(tiles(page)).to_have_count(11)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.closest('li')?.dataset.number"))
        if seen[-1] == "0":
            break
    assert seen[-1] == "0"
    assert {"file", "label", "folder"} <= set(seen)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    third = page.evaluate("document.activeElement.title")
    assert page.evaluate("document.activeElement.closest('li').dataset.number") == "2"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(third)
    loaded(page)
    # A region by numbers, without a pointer.
    page.locator("#draw").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#region")).to_be_visible()
    page.get_by_label("Width", exact=True).focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("32")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("region="))
    expect(page.locator("#status")).to_contain_text("by the part that was drawn")


def test_copies_are_compared_listed_and_told_apart_by_keyboard_and_pointer(
    page: Page, served: Served, photos: Path, tmp_path: Path
) -> None:
    page.goto("/duplicates")
    expect(page.locator(".group")).to_have_count(1)
    group = page.locator(".group")
    names = [Path(path).name for path in group.locator(".path").all_inner_texts()]
    assert sorted(names) == ["copy.png", "red-0.png"]

    # Side by side, zoomed and moved together, and as their difference.
    group.get_by_role("button", name="Compare").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    loaded(page)
    page.locator("#zoom").fill("60")
    page.locator("#pair .pane").first.evaluate("pane => pane.scrollTo(pane.scrollWidth, pane.scrollHeight / 3)")
    page.wait_for_function("() => document.querySelectorAll('#pair .pane')[1].scrollLeft > 0")
    moved = page.locator("#pair .pane").evaluate_all("panes => panes.map((pane) => [pane.scrollLeft, pane.scrollTop])")
    assert moved[0][0] > 0
    assert moved[0] == pytest.approx(moved[1], abs=2)
    page.locator("#over").check()
    expect(page.locator("#pair")).to_have_class(re.compile("over"))
    assert page.locator("#pair .pane").last.evaluate("pane => getComputedStyle(pane).mixBlendMode") == "difference"
    page.locator("#zoom").fill("0")
    shot = tmp_path / "difference.png"
    page.locator("#pair").screenshot(path=shot)
    with Image.open(shot) as image:
        middle = np.asarray(image.convert("RGB"))[image.height // 3, image.width // 2]
    assert middle.max() <= 3  # the same picture differs nowhere
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(group.get_by_role("button", name="Compare")).to_be_focused()

    # The list is of what is not kept.
    group.get_by_label("Keep this one").nth(1).check()
    kept, other = str(photos / names[1]), next(photos.rglob(names[0]))
    kept = str(next(photos.rglob(names[1])))
    lists = {}
    for button, name in (("List of paths", "copies.txt"), ("JSON", "copies.json"), ("Script", "copies.sh")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        assert download.value.suggested_filename == name
        lists[name] = download.value.path().read_text()
    assert lists["copies.txt"].split() == [str(other)]
    assert json.loads(lists["copies.json"]) == [{"keep": kept, "others": [str(other)]}]
    # What the script does, on other files of the same names: this collection stays as it is.
    (tmp_path / "copies.sh").write_text(lists["copies.sh"].replace(str(photos), str(tmp_path / "photos")))
    moved_from = tmp_path / "photos" / other.relative_to(photos)
    moved_from.parent.mkdir(parents=True)
    moved_from.write_bytes(b"1")
    subprocess.run(["sh", tmp_path / "copies.sh", tmp_path / "away"], check=True)
    assert not moved_from.exists()
    assert Path(f"{tmp_path}/away{moved_from}").read_bytes() == b"1"

    # Told apart, which is remembered.
    group.get_by_role("button", name="Not copies of each other").click()
    expect(page.get_by_text("are no copies of each other")).to_be_visible()
    page.reload()
    expect(page.locator("#status")).to_contain_text("No copies were found")
    ids = [photo["id"] for photo in served.get("/api/photos").json["photos"] if Path(photo["path"]).name in names]
    body = json.dumps({"ids": ids, "different": False}).encode()
    told = served.request("POST", "/api/duplicates/different", body, {"content-type": "application/json"})
    assert told.status == 200
    assert other.exists()


def test_the_map_always_shows_photos_however_near_one_looks(page: Page) -> None:
    page.goto("/map")
    status = page.locator("#status")
    expect(status).to_contain_text("of 11 photos")
    for way in ("button", "wheel"):
        page.get_by_role("button", name="All", exact=True).click()
        for _ in range(25):
            if way == "button":
                page.get_by_role("button", name="Zoom in").click()
            else:
                page.mouse.move(300, 400)
                page.mouse.wheel(0, -400)
            # What is in sight was drawn once the next frame is there.
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            in_sight = int(re.findall(r"\d+", status.inner_text())[0])
            assert in_sight > 0, (way, status.inner_text())
    # Two of the photos are the same file, at one place: the list has both.
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="As a list").click()
    expect(page.locator("#photos li")).to_have_count(11)
    expect(status).to_have_text("11 of 11 photos were in sight.")
    loaded(page)
    page.get_by_role("link", name="copy.png").click()
    expect(page.locator("h1")).to_have_text("copy.png")


def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, served: Served, photos: Path) -> None:
    for size in (PHONE, (320, 640)):
        with visiting(browser, served, size=size) as page:
            page.goto("/")
            expect(tiles(page)).to_have_count(11)
            assert_fits(page)
            page.locator("#file").set_input_files(photos / "red-0.png")
            expect(page.locator("#names a").first).to_be_visible()
            expect(page.locator("#status")).to_contain_text("The most alike first")
            assert_fits(page)
            first = tiles(page).first
            if size == PHONE:  # which has no pointer to hover with
                expect(first.get_by_role("button", name="More like this")).to_have_css("opacity", "1")
                first.locator("a").tap()
            else:
                first.locator("a").click()
            expect(page.locator("h1")).to_be_visible()
            loaded(page)
            page.locator("#draw").click()
            expect(page.locator("#region")).to_be_visible()
            assert_fits(page)
            for address in ("/duplicates?like=alike", "/docs"):
                page.goto(address)
                loaded(page)
                assert_fits(page)


def test_dark_and_light_follow_the_system(browser: Browser, served: Served) -> None:
    shades = []
    for dark in (False, True):
        with visiting(browser, served, dark=dark) as page:
            page.goto("/")
            colours = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            shades.append([sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours])
    (light, on_light), (dark_back, on_dark) = shades
    assert light > 600 > on_light
    assert dark_back < 150 < on_dark


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Served]:
    photos = tmp_path_factory.mktemp("many") / "photos"
    photos.mkdir()
    draw = np.random.default_rng(3)
    for number in range(MANY):
        pixels = draw.integers(0, 256, (2, 2, 3), np.uint8)
        size = (48, int(draw.integers(30, 90)))
        Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(photos / f"{number:04}.png")
    with serving(Settings(indexed(photos, tiny_model), decode_seconds=120)) as server:
        yield server


def test_of_many_photos_only_those_near_the_window_are_in_the_page(browser: Browser, many: Served) -> None:
    with visiting(browser, many) as page:
        page.goto("/")
        expect(tiles(page).first).to_be_visible()
        seen: set[str] = set()
        most = 0
        for _ in range(200):
            numbers = page.locator("#grid > li").evaluate_all("tiles => tiles.map((tile) => tile.dataset.number)")
            assert numbers == sorted(numbers, key=int)  # the order of the keyboard
            seen |= set(numbers)
            most = max(most, len(numbers))
            bottom = page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 1")
            if bottom and len(seen) == MANY:
                break
            page.mouse.wheel(0, 900)
            page.wait_for_timeout(60)
        assert seen == {str(number) for number in range(MANY)}
        assert most < 200
        expect(page.locator("#status")).to_contain_text(f"{MANY} photos")
        loaded(page)


def test_nothing_overlaps_and_rows_fill_the_width(browser: Browser, many: Served) -> None:
    with visiting(browser, many) as page:
        page.goto("/")
        expect(tiles(page).first).to_be_visible()
        for width in (1280, 700, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(300)
            places = tiles(page).evaluate_all(
                "tiles => tiles.map((tile) => { const { x, y, width, height } = tile.getBoundingClientRect();"
                " return [x, y, x + width, y + height]; })"
            )
            grid = page.locator("#grid").bounding_box()
            assert grid is not None
            rows: dict[int, list[list[float]]] = {}
            for place in places:
                rows.setdefault(round(place[1]), []).append(place)
            for row in list(rows.values())[:-1]:
                assert all(left[2] <= right[0] for left, right in pairwise(row))
                assert row[-1][2] == pytest.approx(grid["x"] + grid["width"], abs=1.5)
            assert_fits(page)
