"""The commands index, search and info on small real photos."""

import csv
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest
from click.testing import Result

from commands.search import search_command
from index.errors import PhotoError
from index.records import FileStamp
from index.vectors.kinds import RECALL
from retrieval.photos.files import read_stamped

MakePhoto = Callable[..., Path]
Fc7 = Callable[..., Result]


@pytest.fixture
def photos(make_photo: MakePhoto, tmp_path: Path) -> Path:
    """A folder of six photos, two of each colour."""
    for number, colour in enumerate(["red", "green", "blue"] * 2):
        make_photo(f"photos/{colour}{number}.png", colour, seed=number)
    return tmp_path / "photos"


def counts(done: Result) -> list[str]:
    assert done.exit_code == 0, done.output
    return [" ".join(line.split()) for line in done.stdout.splitlines()[1:]]


def test_a_second_run_finds_nothing_to_do(fc7: Fc7, photos: Path) -> None:
    first = fc7("index", photos)
    assert first.stdout.splitlines()[0] == str(photos)
    assert counts(first) == ["6 new"]
    assert counts(fc7("index", photos)) == ["6 unchanged"]


def test_new_moved_and_removed_photos_are_told_apart(fc7: Fc7, photos: Path, make_photo: MakePhoto) -> None:
    fc7("index", photos)
    make_photo("photos/new.png", "red", seed=99)
    (photos / "red0.png").rename(photos / "moved.png")
    (photos / "blue5.png").unlink()
    assert counts(fc7("index", photos)) == ["1 new", "1 moved", "1 removed", "4 unchanged"]


def test_photos_of_a_folder_that_was_renamed_are_moved_and_not_copied(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    photos.rename(photos.with_name("renamed"))
    assert counts(fc7("index", photos.with_name("renamed"))) == ["6 moved"]
    shutil.copytree(photos.with_name("renamed"), photos.with_name("again"))
    assert counts(fc7("index", photos.with_name("again"))) == ["6 copied"]


def test_a_photo_finds_itself_first(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    for photo in photos.iterdir():
        [record] = json.loads(fc7("search", photo, "--format", "json", "-k", 3).stdout)
        assert record["query"] == str(photo)
        first = {"path": str(photo), "score": pytest.approx(1.0, abs=1e-3), "copy_of": None, "is_query": True}
        assert record["results"][0] == first
        assert [result["is_query"] for result in record["results"][1:]] == [False, False]
        scores = [result["score"] for result in record["results"]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3


def test_a_folder_asks_once_for_each_of_its_photos(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    records = [json.loads(line) for line in fc7("search", photos, "--format", "jsonl", "-k", 1).stdout.splitlines()]
    assert [record["query"] for record in records] == sorted(map(str, photos.iterdir()))
    assert all(record["results"][0]["path"] == record["query"] for record in records)


def test_results_below_the_least_score_are_left_out(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    rows = csv.DictReader(
        fc7("search", photos / "red0.png", "--format", "csv", "--min-score", 0.99).stdout.splitlines()
    )
    assert [row["path"] for row in rows] == [str(photos / "red0.png")]


def test_paths_for_other_programs(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    query = photos / "green1.png"
    lines = fc7("search", query, "--format", "paths").stdout.splitlines()
    assert lines[0] == str(query)
    assert set(lines) == set(map(str, photos.iterdir()))
    assert fc7("search", query, "-0").stdout == "".join(f"{line}\0" for line in lines)


def test_names_with_what_a_terminal_obeys_come_out_as_they_are(fc7: Fc7, photos: Path) -> None:
    odd = photos / "red\x1b[1m0.png"
    shutil.copy(photos / "red0.png", odd)
    fc7("index", photos)
    assert fc7("search", odd, "-0").stdout.split("\0")[:2] == [str(odd), str(photos / "red0.png")]
    assert fc7("duplicates", "-0").stdout == f"{odd}\0"
    rows = csv.DictReader(io.StringIO(fc7("classify", odd, "-k", 1, "--format", "csv").stdout))
    assert [row["path"] for row in rows] == [str(odd)]
    assert "\x1b" not in fc7("search", odd).stdout


def test_photos_are_listed_by_label(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    table = fc7("search", "--label", "green", "-k", 2).stdout.splitlines()
    assert table[0] == "green"
    assert [Path(line.split("%  ")[1]).name[:5] for line in table[1:]] == ["green", "green"]
    [record] = json.loads(fc7("search", "--label", "n00000001", "--format", "json", "--min-score", 0.5).stdout)
    assert record["query"] == "n00000001"
    assert {Path(result["path"]).name for result in record["results"]} == {"green1.png", "green4.png"}
    assert all(0.5 <= result["probability"] <= 1 for result in record["results"])
    rows = list(csv.DictReader(fc7("search", "--label", "red", "--format", "csv", "-k", 1).stdout.splitlines()))
    assert list(rows[0]) == ["query", "rank", "path", "probability", "copy_of", "is_query"]
    assert fc7("search", "--label", "red", "--label", "blue", "-0", "-k", 99).stdout.count("\0") == 6
    wrong = fc7("search", "--label", "gren")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "did you mean green" in wrong.stderr


def test_people_see_a_copy_once_and_not_the_query_and_programs_see_all_marked(fc7: Fc7, photos: Path) -> None:
    query, copy = photos / "red0.png", photos / "a-copy.png"
    twin, third = photos / "twin.png", photos / "x" / "third.png"
    (photos / "x").mkdir()
    for source, target in ((query, copy), (photos / "red3.png", twin), (photos / "red3.png", third)):
        shutil.copy(source, target)
    fc7("index", photos)
    table = [line.split("  ", 2)[2] for line in fc7("search", query, "-k", 3).stdout.splitlines()[1:]]
    assert table[:2] == [str(copy), f"{photos / 'red3.png'}  and 2 copies"], "the query is no copy that is left out"
    assert len(table) == 3, "as many as were asked for, copies not counted"
    everything = fc7("search", query, "-k", 5, "--all-copies").stdout.splitlines()[1:]
    assert [line.split("  ", 2)[2] for line in everything] == [
        f"{copy}  a copy",
        f"{query}  the query",
        str(photos / "red3.png"),
        f"{twin}  a copy",
        f"{third}  a copy",
    ]

    def found(*options: object) -> list[tuple[str, str | None, bool]]:
        [record] = json.loads(fc7("search", query, "-k", 5, "--format", "json", *options).stdout)
        return [(Path(r["path"]).name, r["copy_of"], r["is_query"]) for r in record["results"]]

    red = str(photos / "red3.png")
    assert found() == [
        ("a-copy.png", str(query), False),
        ("red0.png", None, True),
        ("red3.png", None, False),
        ("twin.png", red, False),
        ("third.png", red, False),
    ]
    assert found("--collapse")[:2] == [("a-copy.png", None, False), ("red3.png", None, False)]
    assert len(found("--collapse")) == 5
    assert len(fc7("search", query, "-0", "-k", 99).stdout.split("\0")) == 10
    assert len(fc7("search", query, "-0", "-k", 99, "--collapse").stdout.split("\0")) == 7
    rows = list(csv.DictReader(fc7("search", query, "--format", "csv", "-k", 2).stdout.splitlines()))
    assert [(row["copy_of"], row["is_query"]) for row in rows] == [(str(query), "false"), ("", "true")]


def test_copies_are_one_line_among_labels_too(fc7: Fc7, photos: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(photos / "green1.png", photos / name)
    fc7("index", photos)
    table = fc7("search", "--label", "green", "-k", 2).stdout
    assert table.count("and 2 copies") == 1
    assert "green4.png" in table
    assert fc7("search", "--label", "green", "-0", "-k", 4).stdout.count("\0") == 4


def test_where_only_the_query_is_found_the_table_says_so(fc7: Fc7, make_photo: MakePhoto) -> None:
    photo = make_photo("one/a.png")
    fc7("index", photo.parent)
    assert fc7("search", photo).stdout == f"{photo}\n  -  nothing found\n"
    assert fc7("search", photo, "--all-copies").stdout == f"{photo}\n   1.000  {photo}  the query\n"


def test_a_query_can_be_made_of_many_things(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    red, other = photos / "red0.png", photos / "red3.png"

    def found(*arguments: object) -> list[dict[str, object]]:
        done = fc7("search", *arguments, "--format", "json", "-k", 99)
        assert done.exit_code == 0, done.output
        records: list[dict[str, object]] = json.loads(done.stdout)
        return records

    plain = found(red)
    assert len(found(red, other)) == 2
    assert [record["query"] for record in found(red, other, "--average")] == [f"{red} + {other}"]
    for option in (("--not", photos / "blue2.png"), ("--mirror",), ("--box", "0,0,32,64")):
        assert [record["query"] for record in found(red, *option)] == [str(red)]
        assert found(red, *option) != plain
    assert found(red, "--box", "0,0,64,64") == [
        {"query": str(red), "results": [{**result, "score": pytest.approx(result["score"], abs=1e-3)} for result in r]}
        for record in plain
        if isinstance(r := record["results"], list)
    ]
    assert found(red, "--within", photos) == plain
    (photos.parent / "index2").mkdir()
    assert "is not in the index" in fc7("search", red, "--within", photos.parent / "index2").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a PHOTO, or what to look for with --label"),
        (["--within", "/"], "name a PHOTO, or what to look for with --label"),
        (["--label", "red", "--average", "--not", "x.png"], "--average and --not without a PHOTO"),
        (["--label", "red", "--box", "0,0,1,1"], "--box without a PHOTO"),
        (["x.png", "--box", "1,2,3"], "1,2,3 is not x,y,w,h"),
        (["x.png", "--box", "1,2,0,3"], "1,2,0,3 is not x,y,w,h"),
    ],
)
def test_questions_that_make_no_sense_are_wrong_usage(fc7: Fc7, arguments: list[str], said: str) -> None:
    done = fc7("search", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_photos_that_are_gone_can_still_be_asked_for(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    before = fc7("search", photos / "red0.png").stdout
    photos.rename(photos.with_name("unplugged"))
    assert fc7("search", photos / "red0.png").stdout.replace("  (not there)", "") == before
    assert "cannot read" in fc7("search", photos / "red0.png", "--mirror").stderr
    assert fc7("search", photos / "red9.png").exit_code == 1


def test_an_empty_index_says_that_it_is(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    fc7("index", tmp_path / "nothing")
    for arguments in ((photos / "red0.png",), ("--label", "red")):
        done = fc7("search", *arguments, "--format", "json")
        assert (done.exit_code, [record["results"] for record in json.loads(done.stdout)]) == (0, [[]])
        assert "is empty: no photo in it can be found; add some with `fc7 index FOLDER`" in done.stderr
    fc7("index", photos)
    done = fc7("search", photos / "red0.png", "--min-score", 1, "--within", photos)
    assert done.stderr == ""
    assert fc7("search", "--label", "blue", "--min-score", 1).stderr == ""


def test_paths_ended_by_nul_have_no_other_format(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    assert fc7("search", photos / "red0.png", "-0", "--format", "paths").exit_code == 0
    done = fc7("search", photos / "red0.png", "-0", "--format", "json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "leave out one of -0 and --format" in done.stderr


def test_an_error_sends_nothing_of_a_name_to_the_terminal(fc7: Fc7, tmp_path: Path) -> None:
    done = fc7("index", tmp_path / "\x1b[31m\n")
    assert done.exit_code == 1
    assert f"{tmp_path}/\\x1b[31m\\n is not a folder" in done.stderr


def test_a_warning_sends_nothing_of_a_name_to_the_terminal(fc7: Fc7, photos: Path) -> None:
    odd = photos / "\x1b]0;drive\x07"
    odd.mkdir()
    inside = Path(shutil.copy(photos / "red0.png", odd))
    assert fc7("index", photos).exit_code == 0
    inside.unlink()
    done = fc7("index", photos)
    shown = str(odd).encode("unicode_escape").decode()
    assert f"Skipped {shown}: empty, " in done.stderr
    assert f"until `fc7 forget '{shown}' " in done.stderr


def test_names_that_are_no_text_are_found_again(fc7: Fc7, photos: Path) -> None:
    odd = os.path.join(os.fsencode(photos), b"\xff\n.png")
    try:
        os.rename(photos / "red0.png", odd)
    except OSError:
        pytest.skip("the file system takes only names that are text")
    fc7("index", photos)
    assert fc7("search", os.fsdecode(odd), "-0", "-k", 1).stdout_bytes == odd + b"\0"


def test_searching_without_an_index_names_the_command_that_makes_one(fc7: Fc7, photos: Path) -> None:
    done = fc7("search", photos / "red0.png")
    assert done.exit_code == 1
    assert "fc7 index FOLDER" in done.stderr


def test_another_model_is_refused_until_the_index_is_rebuilt(fc7: Fc7, photos: Path, other_model: Path) -> None:
    fc7("index", photos)
    for refused in (fc7("search", photos / "red0.png", "-m", other_model), fc7("index", photos, "-m", other_model)):
        assert refused.exit_code == 1
        assert "--rebuild" in refused.stderr
    rebuilt = fc7("index", photos, "-m", other_model, "--rebuild")
    assert counts(rebuilt) == ["6 new"]
    assert rebuilt.stderr.startswith("The index was made with the model tiny, and is rebuilt with other.\n")
    assert fc7("search", photos / "red0.png", "-m", other_model).exit_code == 0


def test_a_rebuild_takes_in_all_known_folders(fc7: Fc7, photos: Path, make_photo: MakePhoto, tmp_path: Path) -> None:
    more, new = make_photo("more/a.png", seed=7).parent, make_photo("new/a.png", seed=8).parent
    fc7("index", photos, more)
    assert counts(fc7("index", "--rebuild", photos)) == ["1 new", "", str(photos), "6 new"]
    done = fc7("index", "--rebuild", new)
    assert [line for line in done.stdout.splitlines() if line.startswith("/")] == [str(more), str(photos), str(new)]


def test_a_rebuild_is_refused_while_photos_cannot_be_seen(fc7: Fc7, photos: Path, make_photo: MakePhoto) -> None:
    more = make_photo("more/a.png", seed=7).parent
    fc7("index", photos, more)
    (more / "a.png").unlink()
    for gone in ("a folder without photos", "no folder"):
        if gone == "no folder":
            more.rmdir()
        for arguments in ((), (photos,), (more,)):
            done = fc7("index", "--rebuild", *arguments)
            assert done.exit_code == 1
            assert f"fc7 forget {more}" in done.stderr
    assert fc7("index", "--rebuild", photos.with_name("typo")).exit_code == 1
    assert fc7("index", "--rebuild", "--watch").exit_code == 2
    assert counts(fc7("index", photos)) == ["6 unchanged"]
    fc7("forget", more)
    make_photo("photos/usb/a.png", seed=60)
    fc7("index", photos)
    (photos / "usb/a.png").unlink()
    assert f"fc7 forget {photos / 'usb'}`" in fc7("index", "--rebuild").stderr
    (photos / "usb").rmdir()
    fc7("index")
    assert counts(fc7("index", "--rebuild")) == ["6 new"]


def test_bad_photos_are_skipped_once_and_never_fatal(fc7: Fc7, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    done = fc7("index", photos)
    assert counts(done) == ["6 new", "1 skipped"]
    assert done.stderr.startswith(f"Skipped {photos / 'bad.jpg'}: ")
    again = fc7("index", photos)
    assert counts(again) == ["6 unchanged", "1 still skipped"]
    assert again.stderr == ""
    assert fc7("index", photos, "--retry-skipped", "--strict").exit_code == 1
    strict = fc7("index", photos, "--strict")
    assert strict.exit_code == 1
    assert f"`fc7 info {photos.with_name('index')} --skipped`" in strict.stderr


def test_a_folder_that_is_gone_keeps_its_photos(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    photos.rename(photos.with_name("unplugged"))
    done = fc7("index", photos)
    assert done.exit_code == 0
    assert "what the index holds of it is kept" in done.stdout
    assert json.loads(fc7("info", photos.with_name("index"), "--format", "json").stdout)["photos"] == 6


def test_without_a_folder_all_known_ones_are_brought_up_to_date(
    fc7: Fc7, photos: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    make_photo("more/a.png")
    fc7("index", photos, tmp_path / "more")
    make_photo("photos/new.png", seed=50)
    (tmp_path / "more").rename(tmp_path / "unplugged")
    done = fc7("index")
    assert done.exit_code == 0
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        str(tmp_path / "more"),
        "- cannot be seen now; what the index holds of it is kept",
        "",
        str(photos),
        "1 new",
        "6 unchanged",
    ]
    facts = json.loads(fc7("info", tmp_path / "index", "--format", "json").stdout)
    assert (facts["photos"], facts["folders"]) == (8, [str(tmp_path / "more"), str(photos)])
    assert facts["unseen_folders"] == [str(tmp_path / "more")]
    (tmp_path / "unplugged").rename(tmp_path / "more")
    assert counts(fc7("index")) == ["1 unchanged", "", str(photos), "7 unchanged"]
    assert "cannot be seen now" not in fc7("info", tmp_path / "index").stdout


def test_without_a_folder_there_must_be_an_index_that_knows_some(fc7: Fc7, tmp_path: Path) -> None:
    done = fc7("index")
    assert done.exit_code == 1
    assert "fc7 index ~/Pictures" in done.stderr


def test_nothing_is_written_into_the_photo_folder(fc7: Fc7, photos: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [photos, *photos.iterdir()]}
    fc7("index", photos)
    fc7("search", photos)
    assert {path: path.stat().st_mtime_ns for path in [photos, *photos.iterdir()]} == before


def test_what_was_never_a_folder_is_an_error(fc7: Fc7, tmp_path: Path) -> None:
    done = fc7("index", tmp_path / "none")
    assert done.exit_code == 1
    assert str(tmp_path / "none") in done.stderr
    assert not (tmp_path / "index").exists()


def test_what_is_named_below_a_known_folder_has_to_be_a_folder(fc7: Fc7, photos: Path) -> None:
    fc7("index", photos)
    for name in ("typo", "red0.png"):
        done = fc7("index", photos / name)
        assert done.exit_code == 1
        assert f"{photos / name} is not a folder" in done.stderr
    within = fc7("search", photos / "red0.png", "--within", photos / "red0.png")
    assert within.exit_code == 1
    assert f"red0.png is a photo; name the folder that it lies in, {photos}" in within.stderr


def test_a_link_to_a_folder_elsewhere_is_told_and_keeps_its_photos(
    fc7: Fc7, photos: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    make_photo("photos/2019/a.png", seed=50)
    assert counts(fc7("index", photos)) == ["7 new"]
    (photos / "2019").rename(tmp_path / "elsewhere")
    (photos / "2019").symlink_to(tmp_path / "elsewhere")
    done = fc7("index", photos)
    assert counts(done) == ["6 unchanged", "1 skipped"]
    assert fc7("search", photos / "2019/a.png", "-k", 1, "--format", "paths").stdout == f"{photos}/2019/a.png\n"
    assert done.stderr == f"Skipped {photos}/2019: a link to a folder, which is not followed; name that folder itself\n"


def test_the_environment_names_the_index_for_all_commands_and_labels_with_spaces(
    fc7: Fc7, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "bad.png").write_bytes(b"")
    fc7("index", photos)
    assert f"{tmp_path / 'index'}\n" in fc7("info").stdout
    assert "bad.png" in fc7("info", "--skipped").stdout
    monkeypatch.setenv("FC7_SEARCH_LABEL", "red thing, green")
    assert "no class called red thing" in fc7("search").stderr
    monkeypatch.setenv("FC7_SEARCH_LABEL", "red,green")
    assert (
        fc7("search", "--format", "paths").stdout
        == fc7("search", "--label", "green", "--label", "red", "--format", "paths").stdout
    )


def test_skipped_photos_are_listed_with_reasons(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"words")
    (photos / "empty\n.jpg").touch()
    fc7("index", photos)
    listed = fc7("info", tmp_path / "index", "--skipped").stdout
    assert listed == f"{photos}/bad.jpg: not a photo\n{photos}/empty\\n.jpg: empty file\n"
    records = json.loads(fc7("info", tmp_path / "index", "--skipped", "--format", "json").stdout)
    assert records[1] == {"path": f"{photos}/empty\n.jpg", "reason": "empty file"}
    assert fc7("info", tmp_path / "none", "--skipped").exit_code == 1


def test_photos_and_folders_are_forgotten_but_not_touched(
    fc7: Fc7, photos: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    make_photo("gone/a.png", seed=70)
    fc7("index", photos, tmp_path / "gone")
    (tmp_path / "gone/a.png").unlink()
    (tmp_path / "gone").rmdir()
    done = fc7("forget", photos / "red0.png", tmp_path / "gone")
    assert done.stdout == f"{photos / 'red0.png'}: 1 forgotten\n{tmp_path / 'gone'}: 1 forgotten\n"
    assert (photos / "red0.png").exists()
    facts = json.loads(fc7("info", tmp_path / "index", "--format", "json").stdout)
    assert (facts["photos"], facts["folders"]) == (5, [str(photos)])
    assert len(fc7("search", photos / "red0.png", "--format", "paths").stdout.splitlines()) == 5
    assert counts(fc7("index")) == ["1 new", "5 unchanged"]
    assert fc7("forget", photos).exit_code == 0
    assert fc7("search", photos / "red0.png", "--format", "paths").stdout == ""


def test_what_is_not_indexed_cannot_be_forgotten(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    assert "There is no index" in fc7("forget", photos).stderr
    assert not (tmp_path / "index").exists()
    fc7("index", photos)
    done = fc7("forget", photos / "red0.png", photos / "never.png")
    assert done.exit_code == 1
    assert f"{photos / 'never.png'} is not in the index" in done.stderr
    assert counts(fc7("index")) == ["6 unchanged"]


def test_info_of_an_index(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    fc7("index", photos)
    facts = json.loads(fc7("info", tmp_path / "index", "--format", "json").stdout)
    assert (facts["photos"], facts["skipped"], facts["folders"], facts["model"]) == (6, 0, [str(photos)], "tiny")
    assert "photos       6\n" in fc7("info", tmp_path / "index").stdout


def test_the_help_names_the_recall_that_is_the_default() -> None:
    (option,) = [option for option in search_command.params if option.name == "recall"]
    assert isinstance(option, click.Option)
    assert option.show_default == f"{RECALL:g}"


def test_a_rebuild_is_refused_while_a_photo_cannot_be_read(
    fc7: Fc7, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fc7("index", photos).exit_code == 0
    unreadable = sorted(photos.rglob("*.png"))[0]

    def no_permission(path: Path) -> tuple[bytes, FileStamp]:
        if path == unreadable:
            raise PhotoError("permission denied")
        return read_stamped(path)

    with monkeypatch.context() as patch:
        patch.setattr("retrieval.pipeline.stages.read_stamped", no_permission)
        done = fc7("index", "--rebuild")
        assert done.exit_code == 1
        assert f"{unreadable} is in the index and cannot be read now: permission denied" in done.stderr
        assert f"fc7 forget {unreadable}`" in done.stderr
        assert len(fc7("search", photos, "-k", 1, "--format", "paths").stdout.splitlines()) == 6
    assert counts(fc7("index", "--rebuild")) == ["1 new", "5 unchanged"]


def test_a_folder_that_never_held_a_photo_does_not_hinder_a_rebuild(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert fc7("index", photos, tmp_path / "none").exit_code == 0
    assert fc7("index", "--rebuild").exit_code == 0


@pytest.mark.parametrize(
    "stored",
    [
        *(pytest.param(short, marks=pytest.mark.slow) for short in (b"\x00\x3c", b"\x00\x3c" * 17, b"", b"odd")),
        *(7, bytes(32)),
    ],
)
def test_a_damaged_embedding_is_told_with_what_to_do(fc7: Fc7, photos: Path, stored: bytes | int) -> None:
    fc7("index", photos)
    damaged, other = photos / "blue2.png", photos / "red0.png"
    commands = [
        ("search", other, "--within", photos),
        ("search", damaged, "--within", photos),
        ("search", other, "--not", damaged, "--within", photos),
        ("duplicates",),
    ]
    expected = [fc7(*command).stdout for command in commands]
    with closing(sqlite3.connect(photos.parent / "index" / "catalog.db")) as connection, connection:
        connection.execute("UPDATE photos SET embedding = ? WHERE path = ?", (stored, b"blue2.png"))
    for command in commands:
        told = fc7(*command)
        assert (told.exit_code, told.stdout) == (1, "")
        assert "Error: an embedding in the index is damaged; repair it with `fc7 check --repair`" in told.stderr
    assert fc7("check", "--repair").exit_code == fc7("index").exit_code == 0
    assert [fc7(*command).stdout for command in commands] == expected


@pytest.mark.parametrize(
    "arguments", [("forget", ""), ("index", ""), ("search", ""), ("classify", ""), ("info", "", "--skipped")]
)
def test_an_empty_path_is_not_the_current_folder(
    fc7: Fc7, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    fc7("index", photos)
    monkeypatch.chdir(photos)
    done = fc7(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "a path is empty" in done.stderr
    assert counts(fc7("index")) == ["6 unchanged"]


def test_a_file_called_dash_is_not_standard_input(
    fc7: Fc7, photos: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    shutil.copy("red0.png", "-")
    done = fc7("classify", "./-", "-m", tiny_model, "--format", "csv", "-k", 1)
    assert done.stdout.splitlines()[1].startswith(f"{photos}/-,1,red,")


def test_a_folder_that_is_gone_with_all_its_photos_does_not_hinder_a_rebuild(
    fc7: Fc7, photos: Path, make_photo: MakePhoto
) -> None:
    gone = make_photo("gone/a.png", seed=7)
    fc7("index", photos, gone.parent)
    fc7("forget", gone)
    shutil.rmtree(gone.parent)
    done = fc7("index", "--rebuild")
    assert (done.exit_code, counts(done)) == (0, ["6 new"])


def test_a_kind_that_there_is_not_begins_no_index(fc7: Fc7, photos: Path) -> None:
    assert fc7("index", photos, "--kind", "Nonsense").exit_code == 2
    done = fc7("search", photos / "red0.png")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no index" in done.stderr


def test_the_effort_of_a_search_is_called_as_faiss_calls_it(fc7: Fc7, make_photo: MakePhoto) -> None:
    for number in range(40):
        photos = make_photo(f"photos/{number}.png", seed=number).parent
    for kind, name, other in (("HNSW4", "efSearch", "nprobe"), ("IVF2,SQ8", "nprobe", "efSearch")):
        fc7("index", photos, "--kind", kind)
        index = photos.parent / "index"
        facts = json.loads(fc7("info", index, "--format", "json").stdout)
        efforts = {"nprobe": facts["nprobe"], "efSearch": facts["ef_search"]}
        assert (facts["kind"], efforts[other]) == (kind, None)
        assert f" at {name} {efforts[name]}, " in fc7("info", index).stdout


def test_a_time_that_no_calendar_has_is_shown_as_the_last_that_can_be_stored(fc7: Fc7, make_photo: MakePhoto) -> None:
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        for name in ("a.png", "b.png"):
            path = Path(shutil.copy(make_photo("photo.png"), Path(folder) / name))
            os.utime(path, (4e11, 4e11))
        if path.stat().st_mtime < 3e11:
            pytest.skip("this file system has no times so late")
        fc7("index", folder)
        done = fc7("duplicates")
        assert (done.exit_code, done.stdout.count("2262-04-1")) == (0, 2), done.output
