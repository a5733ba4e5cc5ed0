"""What is where in a photo: boxes in heat maps, the same thing once, localisation, and the command."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from index.errors import UserError
from retrieval.detection.attention import occlusion
from retrieval.detection.boxes import WHOLE, Region, around, best_box, covered, overlap, stretched
from retrieval.detection.convolutional import ScoreMaps
from retrieval.detection.detect import Found, Part, best_of, joined, look, main_thing, say_the_same
from retrieval.detection.localisation import localise, read_boxes
from retrieval.detection.pyramid import LONGEST, sizes
from retrieval.models.model import Model

HEADER = "file,x_min,y_min,x_max,y_max"


def regions() -> st.SearchStrategy[Region]:
    side = st.tuples(st.integers(0, 31), st.integers(1, 32)).map(
        lambda ends: (min(ends), max(max(ends), min(ends) + 1))
    )
    return st.tuples(side, side).map(lambda s: Region(s[0][0] / 32, s[1][0] / 32, s[0][1] / 32, s[1][1] / 32))


@given(regions())
def test_a_warm_rectangle_is_its_own_best_box(region: Region) -> None:
    heat = np.zeros((32, 32), np.float32)
    x, y, width, height = region.pixels(32, 32)
    heat[y : y + height, x : x + width] = 1
    assert best_box(heat, 0.25) == region


@given(regions(), regions())
def test_overlap_is_symmetric_and_one_for_the_same(one: Region, other: Region) -> None:
    assert overlap(one, other) == pytest.approx(overlap(other, one))
    assert 0 <= overlap(one, other) <= covered(one, other) + 1e-9 <= 1 + 2e-9
    assert overlap(one, one) == pytest.approx(1)


@given(regions(), st.integers(1, 300), st.integers(1, 300))
def test_pixels_lie_in_the_photo(region: Region, width: int, height: int) -> None:
    x, y, across, down = region.pixels(width, height)
    assert 0 <= x < x + across <= width
    assert 0 <= y < y + down <= height


def test_a_region_in_a_frame() -> None:
    assert Region(0.5, 0, 1, 0.5).within(Region(0.2, 0.4, 0.6, 0.8)) == Region(0.4, 0.4, 0.6, 0.6000000000000001)


def test_a_map_without_differences_is_all_warm() -> None:
    assert (stretched(np.full((3, 3), 7, np.float32)) == 1).all()


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_no_photo_becomes_smaller_than_the_network_takes_nor_endless(width: int, height: int) -> None:
    assert all(64 <= side <= 64 * LONGEST for side in sizes((width, height), 64, 1.2))


def test_labels_at_two_depths_of_wordnet_are_one() -> None:
    dog, beagle, cat = (("dog", "n02084071"), ("beagle", "n02088364"), ("tabby", "n02123045"))
    here = Region(0, 0, 0.4, 0.4)
    part = Region(0.0, 0.0, 0.2, 0.3)
    assert say_the_same(Found(*dog, 0.5, here), Found(*beagle, 0.5, part))
    assert not say_the_same(Found(*beagle, 0.5, here), Found(*cat, 0.5, part))
    kept = best_of([Found(*beagle, 0.4, part), Found(*dog, 0.6, here), Found(*cat, 0.3, part)])
    assert [one.label for one in kept] == ["dog", "tabby"]


def test_of_boxes_in_one_place_the_most_probable_stays() -> None:
    near = Region(0.01, 0, 0.4, 0.4)
    kept = best_of([Found("a", None, 0.3, Region(0, 0, 0.4, 0.4)), Found("b", None, 0.6, near)])
    assert [one.label for one in kept] == ["b"]


def test_parts_of_one_thing_are_joined_and_two_things_are_two() -> None:
    left, right, far = Region(0, 0.25, 0.55, 0.75), Region(0.45, 0.25, 1, 0.75), Region(0.6, 0.8, 1, 1)
    parts = [Part(0.5, left), Part(0.8, right), Part(0.3, far)]
    one = np.zeros((16, 16), np.float32)
    one[4:12] = 1
    assert joined(parts, one) == [Part(0.8, around([left, right])), Part(0.3, far)]
    two = one.copy()
    two[:, 7:9] = 0
    assert joined(parts, two) == parts


@given(st.lists(regions(), min_size=1))
def test_a_thing_has_all_of_its_parts(boxes: list[Region]) -> None:
    things = joined([Part(0.5, box) for box in boxes], np.ones((8, 8), np.float32))
    assert all(any(covered(box, thing.box) == pytest.approx(1) for thing in things) for box in boxes)
    assert len(things) <= len(boxes)


def patch(
    place: tuple[int, int], size: tuple[int, int] = (160, 120), colour: tuple[int, int, int] = (0, 0, 250)
) -> Image.Image:
    """A grey-red picture with a patch of 40 pixels of another colour."""
    picture = Image.new("RGB", size, (90, 60, 60))
    picture.paste(colour, (*place, place[0] + 40, place[1] + 40))
    return picture


@pytest.fixture(scope="module")
def tiny_maps(tiny_model: Path) -> ScoreMaps:
    return ScoreMaps.of(tiny_model, Model.load(tiny_model, device="cpu").spec)


def test_a_patch_is_found_where_it_is(tiny_maps: ScoreMaps) -> None:
    for place in ((10, 10), (100, 60)):
        scene = look(tiny_maps, patch(place), min_probability=0.05, top=20)
        blue = next(one.region for one in scene.found if one.label == "blue")
        x, y = (place[0] + 20) / 160, (place[1] + 20) / 120
        assert blue.left < x < blue.right
        assert blue.top < y < blue.bottom
        assert blue.area < 0.6


def test_the_main_thing_is_in_the_photo(tiny_maps: ScoreMaps) -> None:
    region = main_thing(tiny_maps, patch((10, 10)))
    assert 0 < region.area <= 1


def test_hiding_the_patch_lowers_its_label(tiny_model: Path) -> None:
    model = Model.load(tiny_model, device="cpu")
    heat = occlusion(model, model.prepare(patch((20, 70), (120, 120))), [2])
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    assert row > 6 > column


def test_localisation_with_known_answers(tiny_maps: ScoreMaps, tmp_path: Path) -> None:
    paths = [tmp_path / "one.png", tmp_path / "two.png", tmp_path / "unboxed.png", tmp_path / "broken.png"]
    for path in paths[:3]:
        patch((0, 0), (64, 64)).save(path)
    paths[3].write_bytes(b"no photo")
    table = tmp_path / "boxes.csv"
    table.write_text(f"{HEADER},extra\none.png,0,0,63,63,x\ntwo.png,0,0,5,5,x\nbroken.png,0,0,9,9,x\n")
    found = localise(tiny_maps, paths, [2, 2, 2, 2], read_boxes(table))
    assert found.pictures == 2
    assert found.whole == 0.5
    assert [photo.path.name for photo in found.skipped] == ["broken.png"]
    assert 0 <= found.localised <= found.located <= 1
    with pytest.raises(UserError, match="none of the pictures has a box"):
        localise(tiny_maps, paths, [2, 2, 2, 2], {"other.png": (0, 0, 1, 1)})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,x_min\na,1\n", "no column y_min"),
        (f"{HEADER}\na,1,2,x,4\n", "line 2"),
        (f"{HEADER}\na,9,2,3,4\n", "line 2"),
        (f"{HEADER}\na,1\n", "line 2"),
        ("", "no column"),
    ],
)
def test_a_table_of_boxes_that_is_none(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=why):
        read_boxes(tmp_path / "boxes.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_boxes(tmp_path / "none.csv")


def test_detect_prints_boxes_in_pixels_of_the_upright_photo(fc7: Callable[..., Result], tmp_path: Path) -> None:
    photo = patch((0, 0), (160, 120))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    photo.save(tmp_path / "turned.jpg", exif=exif)
    result = fc7("detect", tmp_path / "turned.jpg", "--format", "jsonl", "--min-probability", 0)
    assert result.exit_code == 0, result.output
    [record] = map(json.loads, result.stdout.splitlines())
    assert record["path"].endswith("turned.jpg")
    for detection in record["detections"]:
        assert set(detection) == {"label", "id", "probability", "box"}
        x, y, width, height = detection["box"]
        assert 0 <= x < x + width <= 120
        assert 0 <= y < y + height <= 160
    assert "%" in fc7("detect", tmp_path / "turned.jpg").stdout
    assert fc7("detect", tmp_path / "turned.jpg", "--format", "csv").stdout.startswith("path,rank,label,id,")


def test_detect_draws(fc7: Callable[..., Result], tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        patch((10, 10)).save(tmp_path / name)
    assert fc7("detect", tmp_path / "a.png", "--picture", tmp_path / "out.png").exit_code == 0
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.width > 2 * 720
        assert len(drawn.convert("RGB").getcolors(1 << 24) or ()) > 50
    again = (tmp_path / "out.png").read_bytes()
    fc7("detect", tmp_path / "a.png", "--picture", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == again
    result = fc7("detect", tmp_path / "a.png", tmp_path / "b.png", "--picture", tmp_path / "drawn")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"a-detected.png", "b-detected.png"}


def test_detect_with_what_cannot_be(fc7: Callable[..., Result], tmp_path: Path) -> None:
    patch((10, 10)).save(tmp_path / "a.png")
    cases = {
        ("--picture", tmp_path / "a.gif"): "no suffix of a picture",
        ("--picture", tmp_path / "none" / "a.png"): "cannot be written",
        ("-m", tmp_path / "none.onnx"): "there is no model file",
    }
    for options, why in cases.items():
        result = fc7("detect", tmp_path / "a.png", *options)
        assert result.exit_code
        assert why in result.stderr
        assert "Traceback" not in result.stderr
    result = fc7("detect", tmp_path / "a.png", tmp_path / "a.png", "--picture", tmp_path / "x.png")
    assert "name a folder" in result.stderr
    result = fc7("detect", tmp_path / "none.png")
    assert result.exit_code == 1
    assert "no such file" in result.stderr


def test_search_for_the_main_thing(fc7: Callable[..., Result], tmp_path: Path, make_photo: Callable[..., Path]) -> None:
    make_photo("photos/red.png", "red")
    make_photo("photos/blue.png", "blue")
    fc7("index", tmp_path / "photos")
    query = tmp_path / "query.png"
    patch((60, 40)).save(query)
    plain = json.loads(fc7("search", query, "--format", "jsonl").stdout)
    found = json.loads(fc7("search", query, "--detect", "--format", "jsonl").stdout)
    assert {result["path"] for result in found["results"]} == {result["path"] for result in plain["results"]}
    assert found["results"] != plain["results"]
    wrong = fc7("search", query, "--detect", "--box", "0,0,10,10")
    assert wrong.exit_code == 1
    assert "leave out one of --box and --detect" in wrong.stderr
    assert "without a PHOTO" in fc7("search", "--label", "red", "--detect").stderr


def test_evaluate_boxes(fc7: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "data" / "blue").mkdir(parents=True)
    (tmp_path / "data" / "red").mkdir()
    for name in ("blue/one.png", "red/two.png"):
        patch((0, 0), (64, 64)).save(tmp_path / "data" / name)
    (tmp_path / "boxes.csv").write_text(f"{HEADER}\none.png,0,0,39,39\ntwo.png,0,0,63,63\n")
    result = fc7("evaluate", tmp_path / "data", "--boxes", tmp_path / "boxes.csv", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pictures"] == 2
    assert json.loads(result.stdout)["whole"] == 0.5
    result = fc7("evaluate", tmp_path / "data", "--boxes", tmp_path / "none.csv")
    assert result.exit_code == 1
    assert "none.csv cannot be read (no such file or directory)" in result.stderr
    assert fc7("evaluate", tmp_path / "data", "--boxes", tmp_path / "boxes.csv", "--crops", 10).exit_code == 2


def test_the_whole_region() -> None:
    assert WHOLE.pixels(7, 5) == (0, 0, 7, 5)
