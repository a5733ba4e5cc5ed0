"""When photos were taken: read from their files, kept by the index, and searched by."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from older_catalog import make_older
from PIL import Image
from PIL.ExifTags import IFD, Base
from told import told

from index.catalog.schema import MIGRATIONS, VERSION_10
from index.errors import OptionError, PhotoError
from index.photo_index import PhotoIndex
from retrieval.indexing.dates import taken
from retrieval.photos.camera_facts import camera_facts
from retrieval.photos.decode import load_photo
from retrieval.searching.dates import first_moment, moment_after

MOMENT = datetime(2019, 7, 14, 12, 33, 1)


def exif_of(text: str) -> bytes:
    exif = Image.Exif()
    exif[Base.Make] = "Maker"
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = text
    return exif.tobytes()


def photo(path: Path, text: str | None = "2019:07:14 12:33:01", colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), colour).save(path, exif=b"" if text is None else exif_of(text))
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic"])
def test_the_date_is_read_with_the_picture_and_without(tmp_path: Path, suffix: str) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif", reason="HEIC needs the extra heif").register_heif_opener()
    path = photo(tmp_path / f"a.{suffix}")
    assert load_photo(path).taken == taken(path) == MOMENT
    assert camera_facts(path.read_bytes())["Taken"] == "2019-07-14 12:33:01"


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "2019:13:01 00:00:00", "2019:07:14", "yesterday", ""]
)
def test_what_is_no_date_is_none(tmp_path: Path, text: str) -> None:
    path = photo(tmp_path / "a.jpg", text)
    assert load_photo(path).taken is None
    assert taken(path) is None


def test_a_date_is_looked_for_in_files_only(tmp_path: Path) -> None:
    assert taken(photo(tmp_path / "plain.png", None)) is None
    (tmp_path / "text.jpg").write_text("no photo")
    assert taken(tmp_path / "text.jpg") is None
    os.mkfifo(tmp_path / "fifo.jpg")
    for name in ("fifo.jpg", "missing.jpg", "."):
        with pytest.raises(PhotoError):
            taken(tmp_path / name)


@given(moment=st.datetimes(datetime(1, 1, 1), datetime(9998, 12, 31)).map(lambda moment: moment.replace(microsecond=0)))
def test_each_part_of_a_date_holds_its_moments_and_no_others(moment: datetime) -> None:
    text = moment.isoformat()
    for letters in (4, 7, 10, 16, 19):
        part = text[:letters]
        first, after = first_moment(part), moment_after(part)
        assert first <= moment < after
        assert (after - timedelta(seconds=1)).isoformat()[:letters] == part == first.isoformat()[:letters]


@pytest.mark.parametrize("text", ["", "x", "2019-02-30", "2019-13", "0000", "19", "2019-07-14T", "2019-07-14T25:00"])
def test_what_people_write_that_is_no_date(text: str) -> None:
    for read in (first_moment, moment_after):
        with told(OptionError, match="is no date; write 2019"):
            read(text)


@pytest.fixture
def dated(fc7: Callable[..., Result], tmp_path: Path) -> Callable[..., list[str]]:
    """Index five photos, and return a function that searches for red ones."""
    folder = tmp_path / "photos"
    for number, moment in enumerate(("2018:12:31 23:59:59", "2019:07:01 00:00:00", "2019:07:31 23:59:59", "bad", None)):
        photo(folder / f"{number}.jpg", moment, ("red", "#fe0000", "#fd0000", "#fc0000", "#fb0000")[number])
    assert fc7("index", folder).exit_code == 0

    def search(*options: object) -> list[str]:
        said = fc7("search", folder / "0.jpg", "--format", "json", *options)
        assert said.exit_code == 0, said.output
        return sorted(Path(found["path"]).stem for found in json.loads(said.stdout)[0]["results"])

    return search


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "01234"),
        (("--since", "2019-07"), "12"),
        (("--until", "2018"), "0"),
        (("--until", "2019-07-31T23:59"), "012"),
        (("--since", "2019-07", "--until", "2019-07"), "12"),
        (("--since", "2019-07-02", "--until", "2019-07-30"), ""),
        (("--since", "2019-08", "--until", "2019-08"), ""),
        (("--since", "2019", "--label", "red"), "12"),
    ],
)
def test_a_search_is_narrowed_to_a_time(
    dated: Callable[..., list[str]], options: tuple[str, ...], expected: str
) -> None:
    assert dated(*options) == list(expected)


def test_labels_alone_are_narrowed_too_and_no_date_is_one_clear_line(
    dated: Callable[..., list[str]], fc7: Callable[..., Result]
) -> None:
    said = fc7("search", "--label", "red", "--until", "2018", "--format", "paths")
    assert [Path(line).stem for line in said.stdout.splitlines()] == ["0"]
    wrong = fc7("search", "--label", "red", "--since", "July")
    assert wrong.exit_code == 2
    assert "July is no date; write 2019, 2019-07 or 2019-07-14" in wrong.stderr
    swapped = fc7("search", "--label", "red", "--since", "2020", "--until", "2019")
    assert (swapped.exit_code, swapped.stdout) == (2, "")
    assert "--since is later than --until" in swapped.stderr


def test_an_older_index_gets_its_dates_at_the_next_run_without_reading_photos_again(
    dated: Callable[..., list[str]], fc7: Callable[..., Result], tmp_path: Path
) -> None:
    place, folder = tmp_path / "index", tmp_path / "photos"
    make_older(place / "catalog.db", MIGRATIONS.index(VERSION_10))
    (folder / "2.jpg").rename(tmp_path / "away.jpg")  # as on a drive that is not there
    said = fc7("search", folder / "0.jpg", "--since", "2019", "--format", "json")
    assert "5 photos were indexed by an older fc7, without their dates" in said.stderr
    with PhotoIndex.open(place) as index:
        before = {file.id: file.content_hash for file in index.photos.files_after(0, 10)}
        generation = index.summary().generation
        assert index.photos.count_undated() == 5
    shutil.move(tmp_path / "away.jpg", folder / "2.jpg")
    said = fc7("index", folder)
    assert "5  unchanged" in said.stdout
    assert dated("--since", "2019-07") == ["1", "2"]
    with PhotoIndex.open(place) as index:
        assert {file.id: file.content_hash for file in index.photos.files_after(0, 10)} == before
        assert index.summary().generation == generation
        assert index.photos.count_undated() == 0


def test_a_photo_that_changed_or_was_copied_has_the_date_of_its_content(
    dated: Callable[..., list[str]], fc7: Callable[..., Result], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copy(folder / "1.jpg", folder / "copy.jpg")
    photo(folder / "4.jpg", "2019:07:05 10:00:00", "red")
    assert fc7("index", folder).exit_code == 0
    assert dated("--since", "2019-07", "--until", "2019-07") == ["1", "2", "4", "copy"]
