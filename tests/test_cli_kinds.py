"""`fc7 index --kind` and `fc7 search --recall`, on pictures, by their real models."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def place(tmp_path: Path, make_photo: Callable[..., Path], tiny_model: Path) -> Path:
    """An index of 60 pictures, IVF4,SQ8."""
    for number in range(60):
        make_photo(f"photos/{number:02}.png", ("red", "green", "blue")[number % 3], seed=number)
    place = tmp_path / "index"
    done = run("index", tmp_path / "photos", "-m", tiny_model, "--index", place, "--kind", "IVF4,SQ8")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return place


def facts(place: Path) -> dict[str, Any]:
    done = run("info", place, "--format", "json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_a_kind_is_shown_searched_and_given_back(place: Path) -> None:
    said = facts(place)
    assert (said["kind"], said["chosen_kind"], said["dim"]) == ("IVF4,SQ8", "IVF4,SQ8", 16)
    assert said["recall_at_10"] > 0.9
    assert 1 <= said["nprobe"] <= 4
    table = run("info", place).stdout
    assert re.search(
        r"^vectors +IVF4,SQ8, 16 values each\nkind +chosen with --kind\nrecall@10 +[01]\.\d+ at", table, re.M
    )
    assert "measured on 60 photos" in table
    photo = place.parent / "photos" / "07.png"
    every = ("search", photo, "--index", place, "--all-copies")
    answers = [run(*every, *more) for more in ([], ["--recall", "1"], ["--recall", "0.99"])]
    assert [(answer.exit_code, answer.stderr) for answer in answers] == [(0, "")] * 3
    assert {answer.stdout.splitlines()[1].split()[0] for answer in answers} == {"1.000"}
    assert answers[1].stdout == answers[2].stdout

    assert run("index", "--index", place).exit_code == 0
    assert facts(place)["kind"] == "IVF4,SQ8"
    assert run("index", "--index", place, "--kind", "auto").exit_code == 0
    said = facts(place)
    assert (said["kind"], said["chosen_kind"], said["recall_at_10"], said["nprobe"]) == ("Flat", "auto", 1.0, None)
    table = run("info", place).stdout
    assert re.search(r"^kind +chosen by the number of photos\nrecall@10 +1, all photos are compared$", table, re.M)


@pytest.mark.parametrize("rebuild", [[], ["--rebuild"]])
def test_a_kind_that_faiss_has_not_is_an_error_and_changes_nothing(
    place: Path, tiny_model: Path, rebuild: list[str]
) -> None:
    done = run("index", "--index", place, "-m", tiny_model, "--kind", "Nonsense", *rebuild)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: there is no kind of index 'Nonsense'; name auto, Flat, SQ8, IVF,SQ8 or HNSW; lists and links can have "
        "a number, as in IVF4096,SQ8 and HNSW16\n"
    )
    assert facts(place)["kind"] == "IVF4,SQ8"


def test_a_rebuild_keeps_the_kind_or_takes_another(place: Path, tiny_model: Path, other_model: Path) -> None:
    assert run("index", "--index", place, "--rebuild", "-m", other_model).exit_code == 0
    assert facts(place)["kind"] == "IVF4,SQ8"
    assert run("index", "--index", place, "--rebuild", "-m", tiny_model, "--kind", "IVF2,SQ8").exit_code == 0
    assert facts(place)["kind"] == facts(place)["chosen_kind"] == "IVF2,SQ8"


def test_a_kind_for_more_photos_than_there_are_is_told(place: Path, tmp_path: Path) -> None:
    assert run("index", "--index", place, "--kind", "IVF100,SQ8").exit_code == 0
    said = facts(place)
    assert (said["kind"], said["chosen_kind"]) == ("Flat", "IVF100,SQ8")
    told = "IVF100,SQ8 was chosen; the next fc7 index makes it, if there are enough photos"
    assert told in run("info", place).stdout


@pytest.mark.parametrize("recall", ["0", "1.5", "most"])
def test_no_recall_is_no_recall(place: Path, recall: str) -> None:
    done = run("search", place.parent / "photos" / "07.png", "--index", place, "--recall", recall)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--recall" in done.stderr
