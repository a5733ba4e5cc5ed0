"""The script that makes folders of training photos from clones, on small repositories made here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCRIPT = DOCS / "make_training_photos.py"
sys.path.append(str(DOCS))

from make_training_photos import main, safe_name  # noqa: E402
from training_photo_sets import PhotoSet, Rule  # noqa: E402

JPEG, PNG = b"\xff\xd8\xff\xe0 photo ", b"\x89PNG\r\n\x1a\n photo "
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
WRITER = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
SCENES = {
    "train/b/beach/1.jpg": JPEG + b"1",
    "train/c/church/outdoor/1.jpg": JPEG + b"2",
    "train/c/church/outdoor/2.png": PNG,
    "train/c/church/outdoor/copy.jpg": JPEG + b"1",
    "train/c/church/outdoor/large.jpg": POINTER,
    "train/c/church/outdoor/page.jpg": b"<html>",
    "train/c/church/outdoor/notes.txt": b"no photo",
    "train.txt": b"train/b/beach/1.jpg 0\ntrain/c/church/outdoor/1.jpg 1\n",
    "val.txt": b"val/7.jpg 1\nval/8.jpg 0\n",
    "val/7.jpg": JPEG + b"7",
    "val/8.jpg": JPEG + b"8",
    "test/9.jpg": JPEG + b"9",
}
SCENE_RULES = (
    Rule("train/./(?P<label>.+)/[^/]+", "train"),
    Rule("val/[^/]+", "val", labels="val.txt", names=("train.txt", "train/./(?P<label>.+)/[^/]+ (?P<number>[0-9]+)")),
    Rule("test/[^/]+"),
)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, env={**os.environ, **WRITER}, capture_output=True, check=True)
    return done.stdout.decode().strip()


def make_repository(folder: Path, files: dict[str, bytes]) -> str:
    """A repository with one commit of these files; the commit's id."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Photos")
    return git(folder, "rev-parse", "HEAD")


def made(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scenes(tmp_path: Path) -> PhotoSet:
    commit = make_repository(tmp_path / "clones" / "ann+scenes" / "repo", SCENES)
    return PhotoSet("scenes", "ann/scenes", commit, 8, "free", SCENE_RULES)


def run(tmp_path: Path, *table: PhotoSet, only: str | None = None) -> int:
    words = [str(tmp_path / "clones"), str(tmp_path / "photos")]
    return main([*words, *(["--only", only] if only else [])], table)


def test_photos_go_to_folders_by_part_and_class(
    tmp_path: Path, scenes: PhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, scenes) == 0
    assert made(tmp_path / "photos") == {
        "scenes/train/beach/1.jpg": JPEG + b"1",
        "scenes/train/church_outdoor/1.jpg": JPEG + b"2",
        "scenes/train/church_outdoor/2.png": PNG,
        "scenes/val/church_outdoor/7.jpg": JPEG + b"7",
        "scenes/val/beach/8.jpg": JPEG + b"8",
        "scenes-unlabelled/9.jpg": JPEG + b"9",
    }
    told = "scenes: 6 photos of 8 (6 new), 0 missing, 1 Git LFS pointers, 1 no JPEG or PNG, 1 copies left out\n"
    assert capsys.readouterr().out == told


def test_what_is_there_is_left_as_it_is(tmp_path: Path, scenes: PhotoSet, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, scenes)
    photo, cut = (tmp_path / "photos" / "scenes" / "train" / name for name in ("beach/1.jpg", "church_outdoor/1.jpg"))
    cut.write_bytes(b"cut")
    before = photo.stat().st_mtime_ns
    capsys.readouterr()
    assert run(tmp_path, scenes) == 0
    assert capsys.readouterr().out.startswith("scenes: 6 photos of 8 (1 new)")
    assert photo.stat().st_mtime_ns == before
    assert cut.read_bytes() == JPEG + b"2"


def test_a_missing_clone_is_told_and_the_others_are_made(
    tmp_path: Path, scenes: PhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = PhotoSet("gone", "bob/gone", "0" * 40, 1, "free", SCENE_RULES)
    other = PhotoSet("other", "ann/scenes", "0" * 40, 1, "free", SCENE_RULES)
    assert run(tmp_path, gone, other, scenes) == 1
    told = capsys.readouterr()
    assert f"gone: no clone of bob/gone in {tmp_path / 'clones'}\n" in told.err
    assert "has no whole commit 0000" in told.err
    assert told.out.startswith("scenes: 6 photos")
    assert run(tmp_path, gone, scenes, only="scenes") == 0


def test_photos_to_judge_on_go_to_no_other_set(tmp_path: Path, scenes: PhotoSet) -> None:
    files = {"a/1.jpg": JPEG + b"1", "b/1.jpg": JPEG + b"1"}
    commit = make_repository(tmp_path / "clones" / "judged", files)
    judged = PhotoSet("judge-it", "ann/judged", commit, 2, "free", (Rule("(?P<label>[^/]+)/[^/]+"),))
    assert run(tmp_path, scenes, judged) == 0
    photos = made(tmp_path / "photos")
    assert {name for name, content in photos.items() if content == JPEG + b"1"} == {
        "judge-it/a/1.jpg",
        "judge-it/b/1.jpg",
    }


def test_photos_to_judge_on_are_known_by_their_names_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = make_repository(tmp_path / "clones" / "large", {"1.jpg": JPEG + b"large", "2.jpg": JPEG + b"2"})
    small = make_repository(tmp_path / "clones" / "small", {"a/1.jpg": JPEG + b"small"})
    training = PhotoSet("large", "ann/large", large, 1, "free", (Rule("[^/]+"),), apart_from="judge-small")
    judged = PhotoSet("judge-small", "ann/small", small, 1, "free", (Rule("(?P<label>[^/]+)/[^/]+"),))
    assert run(tmp_path, training, judged, only="large") == 0
    assert made(tmp_path / "photos") == {"large-unlabelled/2.jpg": JPEG + b"2"}
    assert "1 copies left out" in capsys.readouterr().out
    (tmp_path / "clones" / "small").rename(tmp_path / "elsewhere")
    assert run(tmp_path, training, judged, only="large") == 1
    assert "large: not without judge-small" in capsys.readouterr().err


def test_an_earlier_set_keeps_its_photos_whatever_is_asked_for(tmp_path: Path, scenes: PhotoSet) -> None:
    commit = make_repository(tmp_path / "clones" / "ann" / "more", {"7.jpg": JPEG + b"7", "70.jpg": JPEG + b"70"})
    more = PhotoSet("more", "ann/more", commit, 2, "free", (Rule("[^/]+"),))
    assert run(tmp_path, scenes, more, only="more") == 0
    assert made(tmp_path / "photos") == {"more-unlabelled/70.jpg": JPEG + b"70"}


def test_files_of_one_name_get_two_places(tmp_path: Path) -> None:
    files = {"train/Coast/1.jpg": JPEG + b"1", "test/coast/1.jpg": JPEG + b"2", "test/my coast/1.jpg": JPEG + b"3"}
    commit = make_repository(tmp_path / "clones" / "ann" / "coasts", files)
    rules = (Rule("(train|test)/(?P<label>[^/]+)/[^/]+"),)
    assert run(tmp_path, PhotoSet("coasts", "ann/coasts", commit, 3, "free", rules, {"my_coast": "shore"})) == 0
    photos = made(tmp_path / "photos")
    assert sorted(photos.values()) == sorted(files.values())
    assert {Path(name).parent.as_posix() for name in photos} == {"coasts/coast", "coasts/shore"}


def test_a_photo_that_the_clone_lacks_is_counted(
    tmp_path: Path, scenes: PhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = tmp_path / "clones" / "ann+scenes" / "repo"
    blob = git(clone, "rev-parse", "HEAD:val/7.jpg")
    (clone / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert run(tmp_path, scenes) == 0
    assert "5 photos of 8 (5 new), 1 missing" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["..", "../../etc", "/etc", "", ".git", "a\\b", "a\nb", "\udcff", "x" * 1000])
def test_a_name_from_a_repository_is_one_part_of_a_path(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= 120
    assert safe[0] != "."
    assert not set(safe) & set("/\\\n\0")


def test_a_label_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    files = {"1.jpg": JPEG + b"1", "2.jpg": JPEG + b"2", "labels.csv": b"name,label\n1.jpg,../../out\n2.jpg,..\n"}
    commit = make_repository(tmp_path / "clones" / "ann" / "bad", files)
    bad = PhotoSet("bad", "ann/bad", commit, 2, "free", (Rule("[^/]+", labels="labels.csv"),))
    assert run(tmp_path, bad) == 0
    assert made(tmp_path / "photos").keys() == {"bad/_.._out/1.jpg", "bad/_/2.jpg"}


def test_the_table_is_listed_with_whole_commits() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len({row[0] for row in rows}) == len(rows) > 0
    assert all(len(row) == 5 and len(row[2]) == 40 for row in rows)
