import csv
import io
import itertools
import json
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from commands.index_tables import format_changes, format_skipped
from commands.model_tables import format_facts
from commands.photo_tables import format_predictions, format_results
from commands.streams import report_skipped, warn
from index.records import OWN_GROUP, Prediction, SearchResult, SkippedPhoto, SyncCounts
from retrieval.answers import Classification
from retrieval.indexing.index_folders import FolderReport
from retrieval.info import Facts
from retrieval.searching.search import Answer
from retrieval.text import printable

CAT = (Prediction("Egyptian cat", "n02124075", 0.75), Prediction("tabby, tabby cat", None, 0.125))
PHOTOS = [
    Classification(Path("cat.jpg"), CAT),
    Classification(Path("größe, 2.jpg"), (Prediction("rule", "n04118776", 1.0),)),
]
FOUND = [
    Answer("query.jpg", [SearchResult(Path("/photos/a.jpg"), 0.9876543), SearchResult(Path("/photos/b c.jpg"), -0.25)])
]
NO_TEXT = os.fsdecode(b"/photos/\xff\xfe.jpg")


def records(format: str) -> str:
    return "".join(format_predictions(PHOTOS, format))


def test_json_lines_are_one_record_a_photo() -> None:
    lines = records("jsonl").splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["cat.jpg", "größe, 2.jpg"]
    assert json.loads(lines[0]) == {
        "path": "cat.jpg",
        "predictions": [
            {"label": "Egyptian cat", "id": "n02124075", "probability": 0.75},
            {"label": "tabby, tabby cat", "id": None, "probability": 0.125},
        ],
    }


def test_json_is_the_list_of_the_same_records() -> None:
    assert json.loads(records("json")) == [json.loads(line) for line in records("jsonl").splitlines()]
    assert json.loads("".join(format_predictions([], "json"))) == []


def test_csv_has_a_row_for_each_prediction() -> None:
    rows = list(csv.reader(io.StringIO(records("csv"))))
    assert rows[0] == ["path", "rank", "label", "id", "probability", "group"]
    assert rows[2] == ["cat.jpg", "2", "tabby, tabby cat", "", "0.125", ""]
    assert len(rows) == 4


def test_search_results_best_first() -> None:
    assert json.loads("".join(format_results(FOUND, "jsonl"))) == {
        "query": "query.jpg",
        "results": [
            {"path": "/photos/a.jpg", "score": 0.987654, "copy_of": None, "is_query": False},
            {"path": "/photos/b c.jpg", "score": -0.25, "copy_of": None, "is_query": False},
        ],
    }
    assert "".join(format_results(FOUND, "csv")).splitlines()[1] == "query.jpg,1,/photos/a.jpg,0.987654,,false"


def test_labels_have_probabilities_and_say_what_they_mean() -> None:
    results = [SearchResult(Path("/photos/a.jpg"), 0.5)]
    dog = Answer("dog", results, ("pug", "boxer", "collie", "borzoi"))
    for answer, heading in (
        (dog, "dog: pug, boxer, collie and 1 more"),
        (Answer("dog", results, ("pug", "boxer")), "dog: pug, boxer"),
        (Answer("pug", results, ("pug",)), "pug"),
    ):
        table = "".join(format_results([answer], "table", labelled=True))
        assert table == f"{heading}\n   50.0%  /photos/a.jpg\n"
    assert json.loads("".join(format_results([dog], "jsonl", labelled=True))) == {
        "query": "dog",
        "results": [{"path": "/photos/a.jpg", "probability": 0.5, "copy_of": None, "is_query": False}],
    }
    assert "".join(format_results([dog], "csv", labelled=True)) == (
        "query,rank,path,probability,copy_of,is_query\ndog,1,/photos/a.jpg,0.5,,false\n"
    )


def test_paths_end_as_asked() -> None:
    assert "".join(format_results(FOUND, "paths")) == "/photos/a.jpg\n/photos/b c.jpg\n"
    assert "".join(format_results(FOUND, "paths", end="\0")).split("\0") == ["/photos/a.jpg", "/photos/b c.jpg", ""]


def test_a_name_that_is_no_text_survives_every_format() -> None:
    found = [Answer(NO_TEXT, [SearchResult(Path(NO_TEXT), 1.0)])]
    for format in ("json", "jsonl"):
        text = "".join(format_results(found, format))
        text.encode("utf-8")  # no lone surrogate is left
        record = json.loads(text)
        assert (record[0] if format == "json" else record)["query"] == NO_TEXT
    for format in ("csv", "paths"):
        assert b"\xff\xfe" in "".join(format_results(found, format)).encode("utf-8", "surrogateescape")
    assert "\\xff\\xfe.jpg" in "".join(format_results(found, "table"))


def test_names_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2J\nb\u2028.jpg") == "a\\x1b[2J\\nb\\u2028.jpg"
    assert printable("photo_\u202egpj.exe\u2066\u200f") == "photo_\\u202egpj.exe\\u2066\\u200f"
    assert printable("Foto 2026\u202f–\u00a0Zoë 👩‍🚀.jpg") == "Foto 2026\u202f–\u00a0Zoë 👩‍🚀.jpg"


def test_reasons_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    photo = SkippedPhoto(Path("/photos/\x1b[2J"), "empty, until `fc7 forget '/photos/\x1b[2J'`")
    shown = "/photos/\\x1b[2J: empty, until `fc7 forget '/photos/\\x1b[2J'`\n"
    assert "".join(format_skipped([photo], "table")) == shown
    report_skipped([photo])
    warn("/index\x1b[2J is missing")
    assert capsys.readouterr().err == f"Skipped {shown}/index\\x1b[2J is missing\n"


def test_a_path_is_never_cut() -> None:
    path = Path("/home/someone/Pictures/2026/summer holidays/IMG_20260714_123456.jpg")
    table = "".join(format_results([Answer("/" + "x" * 300, [SearchResult(path, 0.5)])], "table"))
    assert table == f"/{'x' * 300}\n   0.500  {path}\n"


def test_tables_are_separated_by_an_empty_line() -> None:
    assert records("table") == (
        "cat.jpg\n   75.0%  Egyptian cat\n   12.5%  tabby, tabby cat\n\ngröße, 2.jpg\n  100.0%  rule\n"
    )


def test_a_term_comes_before_the_classes_that_are_unsure() -> None:
    classes = (
        Prediction("tabby", "n02123045", 0.22, "objects"),
        Prediction("kitchen", None, 0.21, "scenes"),
        Prediction("lynx", "n02127052", 0.2, "objects"),
    )
    cat, kitchen = Prediction("cat", "n02121620", 0.61, "objects"), replace(classes[1], probability=0.75)

    def table(predictions: tuple[Prediction, ...], terms: tuple[Prediction, ...] | None) -> list[str]:
        photo = Classification(Path("a.jpg"), predictions, terms)
        return "".join(format_predictions([photo], "table")).splitlines()[1:]

    unsure = ["   22.0%  tabby? (objects)", "   21.0%  kitchen? (scenes)", "   20.0%  lynx? (objects)"]
    assert table(classes, (cat,)) == ["   61.0%  cat (objects)", *unsure]
    assert table(classes, ()) == ["       -  unsure", *unsure]
    assert table(classes, None) == [line.replace("?", "") for line in unsure]
    # A crane is a bird, or a machine.
    cranes = (Prediction("crane", "n02012849", 0.6), Prediction("crane", "n03126707", 0.3))
    assert table(cranes, cranes[:1]) == ["   60.0%  crane", "   30.0%  crane"]
    # What is sure is told once, and what comes after it is no doubt about it.
    assert table((kitchen, *classes[::2]), (kitchen,)) == ["   75.0%  kitchen (scenes)", unsure[0], unsure[2]]
    assert table((kitchen, *classes[::2]), (kitchen, cat))[:2] == [
        "   75.0%  kitchen (scenes)",
        "   61.0%  cat (objects)",
    ]
    assert table(classes[:1], (kitchen, replace(classes[0], probability=0.7))) == [
        "   75.0%  kitchen (scenes)",
        "   70.0%  tabby (objects)",
    ]
    own = Prediction("Rex", None, 0.9, OWN_GROUP)
    assert table((own, *classes), ()) == ["   90.0%  Rex (own)", *unsure]


def test_json_has_terms_beside_the_predictions() -> None:
    cat = Prediction("cat", "n02121620", 0.61)
    [record] = json.loads("".join(format_predictions([Classification(Path("a.jpg"), CAT, (cat,))], "json")))
    assert record["terms"] == [{"label": "cat", "id": "n02121620", "probability": 0.61}]
    assert record["predictions"] == json.loads(records("json"))[0]["predictions"]
    [unsure] = json.loads("".join(format_predictions([Classification(Path("a.jpg"), CAT, ())], "json")))
    assert unsure["terms"] == []


def test_answers_are_written_as_they_come() -> None:
    for format in ("table", "json", "jsonl", "csv"):
        pieces = format_predictions(itertools.cycle(PHOTOS), format)
        assert len([next(pieces) for _ in range(20)]) == 20


def test_facts_are_aligned() -> None:
    values = {"model": "tiny", "bytes": 5}
    facts = Facts(values, {"model": "tiny", "runs on": ["CUDA", "CPU"], "accuracy": {"top1": 0.5}})
    assert "".join(format_facts(facts, "table")) == (
        "model     tiny\nruns on   CUDA\n          CPU\naccuracy  top1: 0.5\n"
    )
    assert json.loads("".join(format_facts(facts, "json"))) == values


@pytest.mark.parametrize("name", ["a\rb.jpg", "a\nb.jpg", "a\r\nb.jpg", 'a",b.jpg', "a.jpg\r"])
def test_csv_gives_back_any_name(name: str) -> None:
    [head, *rows] = csv.reader(
        io.StringIO("".join(format_predictions([Classification(Path(name), CAT)], "csv")), newline="")
    )
    assert head[0] == "path"
    assert [row[0] for row in rows] == [name, name]


def test_facts_fit_a_narrow_terminal_and_keep_their_paths_whole() -> None:
    path = "/home/someone/.local/share/fc7/index-of-all-my-photos"
    rows = {
        "built-in model": f"photos ({path})",
        "embedding: training": "the mean of many pictures, some of them from-far away",
        "index": path,
    }
    for width in (40, 60, 100):
        lines = "".join(format_facts(Facts({}, rows), "table", width=width)).splitlines()
        assert all(len(line) <= width or path in line for line in lines)
        assert " ".join(" ".join(lines).split()) == " ".join(f"{name} {value}" for name, value in rows.items())


def test_what_changes_while_folders_are_watched_has_time_and_name() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5)
    folder = Path("/photos")
    report = FolderReport(
        folder,
        SyncCounts(new=1, removed=1, unchanged=7),
        (),
        changes=(("new", folder / "a.jpg"), ("removed", folder / "b\x1b.jpg")),
    )
    assert "".join(format_changes([report], at)) == (
        "03:04:05  new       /photos/a.jpg\n03:04:05  removed   /photos/b\\x1b.jpg\n"
    )
    many = FolderReport(
        folder, SyncCounts(new=1234), (), changes=tuple(("new", folder / f"{n}.jpg") for n in range(1000))
    )
    lines = "".join(format_changes([many], at)).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "03:04:05  and 1,214 more in /photos"
    gone = "".join(format_changes([FolderReport(folder, None, ())], at))
    assert gone == "03:04:05  -         /photos: cannot be seen now; what the index holds of it is kept\n"
