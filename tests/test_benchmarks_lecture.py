"""What lecture.py computes by itself: verdicts, the reading of curves, what it keeps, shifts of maps; one whole run."""

import itertools
import json
import math
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_samples import write_shapes

from training.loop.checkpoint import EpochMetrics

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from lecture import TABLES
from lecture_geometry import relative_difference, seen
from lecture_handmade import descriptor
from lecture_part import StoredPictures, middles
from lecture_results import Results, same
from lecture_tables import verdict
from lecture_training import BASE, FIRST_RATE, NETWORK, RECIPE, epochs_to, fastest_rate
from report import filled, spread

REPOSITORY = Path(__file__).resolve().parent.parent
ROW = EpochMetrics(1, 32, 0.1, 1.0, 0.5, 1.0, 0.5, 0.9, 100.0, 0.0, 1.0)


def test_the_error_is_reached_between_two_epochs() -> None:
    errors = (0.6, 0.4, 0.2)
    history = [replace(ROW, epoch=epoch, train_top1=1 - error) for epoch, error in enumerate(errors, 1)]
    assert epochs_to(history, 0.4) == pytest.approx(1.5)
    assert epochs_to(history, 0.3) == pytest.approx(2.0)
    assert epochs_to(history, 0.8) == pytest.approx(0.25)
    assert epochs_to(history, 0.1) == math.inf
    assert epochs_to([], 0.5) == math.inf


@pytest.mark.parametrize("best", [FIRST_RATE / 4, FIRST_RATE, FIRST_RATE * 8])
def test_the_fastest_rate_is_found_on_either_side(best: float) -> None:
    assert fastest_rate(lambda rate: 10 + abs(math.log2(rate / best))) == best
    assert fastest_rate(lambda _: math.inf) == FIRST_RATE


def test_a_verdict_needs_more_than_one_training() -> None:
    assert verdict([3.0]).startswith("not known")
    assert verdict([3.0, 3.1, 2.9]) == "helps"
    assert verdict([-3.0, -3.1, -2.9]) == "harms"
    assert verdict([3.0, -1.0, 1.0]) == "no significant difference"
    assert spread([1.0, 3.0], ".1f") == "2.0 ± 1.4"


@pytest.mark.parametrize(
    ("tanh", "said"), [(8.0, "0.8 times"), (20.0, "reproduced here in part"), (60.0, "is reproduced here.")]
)
def test_the_page_says_whether_relu_was_faster_and_on_what(tmp_path: Path, tanh: float, said: str) -> None:
    settings = {
        "pictures": [4000, 1500],
        "classes": ["a", "b"],
        "network": asdict(NETWORK),
        "recipe": RECIPE.to_dict(),
    }
    results = Results(tmp_path)
    assert TABLES["relu"](results) == TABLES["setting"](results) == "Not measured yet."
    for seed in range(3):
        results.measure(f"relu/relu/0.01/{seed}", settings, lambda: {"epochs": 10.0})
        results.measure(f"relu/tanh/0.01/{seed}", settings, lambda: {"epochs": tanh})
    results.measure(f"parts/{BASE}/0", settings, lambda: {"top1": 0.5, "train_top1": 0.6})
    text = TABLES["relu"](results)
    assert said in text
    assert ("not reproduced here" in text) == (tanh < 10)
    assert ("not reproduced here" in TABLES["summary"](results)) == (tanh < 10)
    for told in (text, TABLES["setting"](results)):
        assert re.search("4,000 (training )?pictures", told)
        assert "two hidden layers of 512, no normalisation, He initialisation, crops of 32" in told


def test_what_is_measured_is_kept_for_its_settings(tmp_path: Path) -> None:
    counter = itertools.count(1)

    def measure(settings: dict[str, object]) -> object:
        return Results(tmp_path).measure("one", settings, lambda: {"runs": next(counter)})["runs"]

    assert [measure({"seed": 0}), measure({"seed": 0}), measure({"seed": 1}), measure({"seed": 1})] == [1, 1, 2, 2]
    assert measure({"seed": 1, "later": 0}) == 2, "a setting that there was not before"
    assert Results(tmp_path).named("on") == {"e": {"runs": 2}}
    assert not same({"a": {"b": 1}}, {"a": {"b": 2}})


def test_what_left_a_file_is_measured_again_without_it(tmp_path: Path) -> None:
    file = tmp_path / "left"
    for _ in range(2):
        Results(tmp_path).measure("one", {}, lambda: {"size": file.write_text("made")}, file=file)
        assert file.read_text() == "made"
        Results(tmp_path).measure("one", {}, lambda: pytest.fail("it is there"), file=file)
        file.unlink()


def test_pages_are_filled_between_their_marks() -> None:
    page = "before\n<!-- one -->\nold\n<!-- end of one -->\nafter\n"
    new = filled(page, "one", "| 1 |")
    assert new == "before\n<!-- one -->\n| 1 |\n<!-- end of one -->\nafter\n"
    assert filled(new, "one", "| 1 |") == new
    with pytest.raises(ValueError, match="no place for two"):
        filled(page, "two", "")


def test_the_page_has_a_place_for_each_table() -> None:
    page = (REPOSITORY / "docs" / "lecture.md").read_text("utf-8")
    for name in TABLES:
        assert filled(page, name, "") != page


@pytest.mark.parametrize("shift", [1, 3, 4])
def test_shifted_maps_are_told_from_others(shift: int) -> None:
    wide = torch.rand(2, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    still, shifted, other = wide[..., :20], wide[..., shift : shift + 20], wide[..., 8:28]
    assert relative_difference(still, shifted, shift, edge=0) == 0
    assert relative_difference(still, shifted, shift, edge=2) == 0
    assert relative_difference(still, other, shift, edge=0) > 0.3


def test_what_is_seen_of_a_photo() -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[190:210, 240:260] = 255  # a spot to the right of the middle, a quarter of the view away
    photo = Image.fromarray(pixels)

    def spot(**change: float) -> tuple[float, float]:
        found = np.asarray(seen(photo, **change).convert("L"), np.float64)
        rows, columns = np.indices(found.shape)
        return float((columns * found).sum() / found.sum()), float((rows * found).sum() / found.sum())

    assert seen(photo).size == (200, 200)
    assert spot() == pytest.approx((149.5, 99.5), abs=1)
    assert spot(shift=0.25) == pytest.approx((99.5, 99.5), abs=1)
    assert spot(scale=0.5) == pytest.approx((124.5, 99.5), abs=1)
    assert spot(scale=1.5) == pytest.approx((174.5, 99.5), abs=1)
    assert spot(angle=90)[0] == pytest.approx(99.5, abs=1)
    assert abs(spot(angle=90)[1] - 99.5) == pytest.approx(50, abs=1)


@pytest.mark.parametrize(
    ("known", "said"),
    [(40, "classes it learned"), (3, "classes of which it learned 3"), (0, "classes of which it learned 0")],
)
def test_on_other_data_nothing_wrong_is_said_of_what_was_learned(tmp_path: Path, known: int, said: str) -> None:
    results = Results(tmp_path)
    scores = {name: [0.5, 0.4, 0.3] for name in ("HOG", "fc7", "embedding")}
    values = {"pictures": 80, "classes": 40, "known": known, "scores": scores}
    results.measure("neighbours/all", {}, lambda: values)
    assert f"mAP of HOG, {said} |" in TABLES["summary"](results)
    assert ("which it learned |" in TABLES["neighbours"](results)) == (known == 40)


def test_colours_and_edges_describe_a_picture() -> None:
    red, blue = (descriptor(Image.new("RGB", (64, 64), colour)) for colour in ("red", "blue"))
    assert red.shape == (1828,)
    assert (red[:1764] == blue[:1764]).all(), "without edges"
    assert red[1764:] @ blue[1764:] == 0
    assert red[1764:] @ red[1764:] == pytest.approx(1)


def test_middles_are_what_is_checked() -> None:
    pixels = torch.arange(36, dtype=torch.uint8).reshape(1, 36, 1, 1).expand(2, 36, 36, 3)
    [[cut, labels]] = middles(StoredPictures(pixels, torch.tensor([0, 1])), 32).batches(torch.arange(2), 2)
    assert cut.shape == (2, 32, 32, 3)
    assert cut[0, :, 0, 0].tolist() == list(range(2, 34))
    assert labels.tolist() == [0, 1]


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped_and_writes_its_tables(tmp_path: Path) -> None:
    data, page = write_shapes(tmp_path / "data", each=80), tmp_path / "page.md"
    page.write_text((REPOSITORY / "docs" / "lecture.md").read_text("utf-8"), "utf-8")
    small = ("--classes", "2", "--pictures", "64", "--epochs", "1", "--seeds", "2", "--threads", "1")

    def lecture(claim: str, *more: object) -> str:
        words = [
            sys.executable,
            REPOSITORY / "benchmarks" / "lecture" / "lecture.py",
            claim,
            data,
            "-o",
            tmp_path / "out",
            *small,
            *more,
        ]
        subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, timeout=600, cwd=REPOSITORY)
        return (tmp_path / "out" / "results.json").read_text()

    lecture("parts")
    before = page.read_text("utf-8")
    first = lecture("averaged")
    assert page.read_text("utf-8") == before
    lecture("averaged", "--write", page)
    assert lecture("parts") == first
    assert {name.split("/")[0] for name in json.loads(first)} == {"parts", "averaged"}
    text = page.read_text("utf-8")
    assert "| random crops |" in text
    assert "| ten |" in text
    assert "Not measured yet." in text
