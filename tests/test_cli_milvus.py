"""The commands with an index in Milvus: copied there, it answers as the one in the folder does."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from milvus_samples import lite

import fc7 as fc7_module
from index.errors import IndexLockedError
from index.milvus import calls, milvus_index, milvus_writer
from index.milvus import push as push_module
from index.milvus.collection import MilvusCollection
from index.milvus.milvus_index import MilvusIndex
from index.milvus.milvus_writer import MilvusWriter
from index.milvus.place import MilvusPlace
from index.milvus.push import push
from index.records import FileStamp, NewPhoto
from retrieval.indexing.index_folders import index_folders
from retrieval.indexing.update import open_to_fill, update_index
from retrieval.models.model import Model
from retrieval.pipeline.executor import Concurrency
from retrieval.shards.engine import ShardEngine
from retrieval.shards.part import embed_here
from retrieval.shards.place import ShardPlace

Fc7 = Callable[..., Result]
MakePhoto = Callable[..., Path]
NASTY = ["it's.png", 'a "quote".png', "100%.png", "back\\slash.png", "new\nline.png", "under_score.png"]


@pytest.fixture
def photos(make_photo: MakePhoto, folder_of_no_text: Path, tmp_path: Path) -> Path:
    """A folder of photos, with copies, and with names that are hard to quote."""
    for number, name in enumerate(NASTY):
        make_photo(f"photos/{name}", ("red", "green", "blue")[number % 3], seed=number)
    shutil.copy(tmp_path / "photos" / NASTY[0], tmp_path / "photos" / "copy.png")
    shutil.move(folder_of_no_text, tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / NASTY[1], tmp_path / "photos" / folder_of_no_text.name / "photo.png")
    return tmp_path / "photos"


def succeeded(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_copied_index_answers_as_the_one_in_the_folder(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    assert succeeded(fc7("push", "--to", url)).startswith(
        "8 photos sent, 0 unchanged, 0 removed: there are 8 in milvus+"
    )
    assert succeeded(fc7("push", "--to", url)).startswith("0 photos sent, 8 unchanged, 0 removed")
    asked = photos / NASTY[0]
    for words in (
        [asked],
        [asked, "--format", "json"],
        [asked, "--label", "red", "--min-score", "0.5", "--format", "json"],
        ["--label", "green", "--format", "json"],
        [asked, "--within", photos / os.fsdecode(b"r\xff"), "-0"],
        [asked, "--average", photos / NASTY[1], "--not", photos / NASTY[2], "-k", "3", "--format", "csv"],
    ):
        here, there = fc7("search", *words), fc7("search", *words, "--index", url)
        assert succeeded(here) == succeeded(there)
        assert here.stdout.count("photos") > 0
    assert succeeded(fc7("search", asked, "--index", url, "--consistency", "strong", "-k", "1"))
    facts = json.loads(succeeded(fc7("info", url, "--format", "json")))
    assert (facts["photos"], facts["complete"], facts["folders"]) == (8, True, [str(photos)])
    assert "HNSW in Milvus, 16 values each" in succeeded(fc7("info", url))
    assert "nothing is wrong" in succeeded(fc7("check", "--index", url))


def test_what_is_forgotten_comes_back_with_the_next_push(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    succeeded(fc7("push", "--to", url))
    gone = photos / os.fsdecode(b"r\xff")
    assert ": 1 forgotten" in succeeded(fc7("forget", gone, photos / NASTY[2], "--index", url))
    assert "6 photos, " in succeeded(fc7("check", "--index", url))
    refused = fc7("forget", photos / "none.png", "--index", url)
    assert (refused.exit_code, "is not in the index in milvus+" in refused.stderr) == (1, True)
    assert succeeded(fc7("push", "--to", url)).startswith("2 photos sent, 6 unchanged, 0 removed")
    shutil.rmtree(gone)
    succeeded(fc7("index", photos))
    assert succeeded(fc7("push", "--to", url)).startswith("0 photos sent, 7 unchanged, 1 removed")
    assert "nothing is wrong" in succeeded(fc7("check", "--index", url))


def test_labels_of_ones_own_are_copied(fc7: Fc7, photos: Path, tmp_path: Path) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    succeeded(fc7("label", "add", 'It\'s "mine"', photos / NASTY[0]))
    succeeded(fc7("push", "--to", url))
    asked = ("search", "--label", 'it\'s "mine"', "--format", "json")
    assert str(photos / "copy.png") in succeeded(fc7(*asked))
    assert succeeded(fc7(*asked)) == succeeded(fc7(*asked, "--index", url))


def test_an_interrupted_push_goes_on_where_it_was(
    fc7: Fc7, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lite(tmp_path)
    succeeded(fc7("index", photos))
    monkeypatch.setattr(push_module, "PAGE", 2)

    def interrupt(done: int, total: int) -> None:
        assert total == 8
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(tmp_path / "index", place, progress=interrupt)
    searched = fc7("search", photos / NASTY[0], "--index", place)
    assert "has not finished filling milvus+" in searched.stderr
    assert "filling it is not finished" in succeeded(fc7("info", place))
    checked = fc7("check", "--index", place)
    assert (checked.exit_code, "filling it was interrupted" in checked.stdout) == (1, True)
    report = push(tmp_path / "index", place)
    assert (report.photos, report.sent, report.unchanged) == (8, 4, 4)
    with MilvusIndex.open(place) as index:
        assert index.problems() == []


def test_a_copy_of_another_index_is_not_overwritten(
    fc7: Fc7, photos: Path, tmp_path: Path, other_model: Path, make_photo: MakePhoto
) -> None:
    url = str(lite(tmp_path))
    succeeded(fc7("index", photos))
    succeeded(fc7("push", "--to", url))
    make_photo("others/red.png")
    succeeded(fc7("index", tmp_path / "others", "--index", tmp_path / "second"))
    succeeded(fc7("index", tmp_path / "others", "--index", tmp_path / "third", "-m", other_model))
    for other, told in (("second", "is the copy of another index"), ("third", "was made with another model, tiny")):
        refused = fc7("push", "--to", url, "--index", tmp_path / other)
        assert (refused.exit_code, told in refused.stderr, "--replace" in refused.stderr) == (1, True, True)
    assert "8 photos, " in succeeded(fc7("check", "--index", url))
    kind = fc7("push", "--to", url, "--kind", "Flat")
    assert (kind.exit_code, "is of the kind HNSW, not Flat" in kind.stderr) == (1, True)
    assert "--kind Flat --replace`" in kind.stderr
    replaced = succeeded(fc7("push", "--to", url, "--index", tmp_path / "third", "--replace", "--kind", "Flat"))
    assert replaced.startswith("1 photos sent, 0 unchanged, 0 removed")
    searched = fc7("search", photos / NASTY[0], "--index", url)
    assert (searched.exit_code, "was made with another model, other" in searched.stderr) == (1, True)
    assert "other_model" not in succeeded(fc7("search", tmp_path / "others/red.png", "--index", url, "-m", other_model))


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["index", "photos"], 1, "is not a folder"),
        (["index", "--rebuild", "photos"], 2, "cannot be rebuilt in its place"),
        (["index", ".", "--kind", "SQ8"], 2, "there is no kind of index 'SQ8' in Milvus"),
        (["duplicates"], 1, "There is no index in "),
        (["duplicates", "--not-duplicates", "a.jpg", "b.jpg"], 2, "does not keep what people say"),
        (["serve"], 1, "There is no index in "),
        (["classify", "x.jpg"], 2, "needs an index in a folder"),
        (["label", "list"], 2, "needs an index in a folder"),
        (["moved", "a", "b"], 2, "needs an index in a folder"),
        (["check", "--repair"], 2, "`fc7 forget` what is wrong, and run again what fills the index"),
        (["search", "--label", "red", "--recall", "0.9"], 1, "There is no index in "),
        (["forget", "x"], 1, "There is no index in "),
        (["push", "--to", "folder"], 2, "folder is no URL of an index in Milvus"),
        (["push", "--to", "milvus+http://server"], 2, "names no index in Milvus"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    fc7: Fc7, tmp_path: Path, words: list[str], status: int, told: str
) -> None:
    place = [] if words[0] == "push" else ["--index", str(lite(tmp_path))]
    result = fc7(*words, *place)
    assert (result.exit_code, told in result.stderr) == (status, True), result.output
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")


def test_python_opens_folders(tmp_path: Path) -> None:
    with pytest.raises(fc7_module.Error, match="is in Milvus, and open_index opens a folder"):
        fc7_module.open_index(str(lite(tmp_path)))
    with pytest.raises(fc7_module.Error, match="is in object storage, where no index can be"):
        fc7_module.open_index("s3://bucket/index")


def test_consistency_is_for_milvus_alone(fc7: Fc7, photos: Path) -> None:
    succeeded(fc7("index", photos))
    refused = fc7("search", photos / NASTY[0], "--consistency", "strong")
    assert (refused.exit_code, "can be chosen for an index in Milvus" in refused.stderr) == (2, True)


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.slow
def test_folders_are_indexed_into_milvus(fc7: Fc7, photos: Path, tmp_path: Path, make_photo: MakePhoto) -> None:
    url = str(lite(tmp_path))
    bad = tmp_path / "photos" / "bad.png"
    bad.write_bytes(b"no photo")
    succeeded(fc7("index", photos))
    assert lines_of(succeeded(fc7("index", photos, "--index", url)))[1:] == ["8 new", "1 skipped"]
    assert lines_of(succeeded(fc7("index", photos, "--index", url)))[1:] == ["8 unchanged", "1 still skipped"]
    asked = photos / NASTY[0]
    for words in ([asked, "--format", "json"], ["--label", "green", "--format", "json"]):
        assert succeeded(fc7("search", *words)) == succeeded(fc7("search", *words, "--index", url))
    facts = json.loads(succeeded(fc7("info", url, "--format", "json")))
    assert (facts["photos"], facts["skipped"], facts["complete"]) == (8, 1, True)
    assert str(bad) in succeeded(fc7("info", url, "--skipped"))

    (photos / NASTY[1]).rename(photos / "moved.png")
    (photos / NASTY[2]).unlink()
    shutil.copy(photos / NASTY[3], photos / "copy of 3.png")
    make_photo("photos/bad.png", "green", seed=40)
    make_photo(f"photos/{NASTY[4]}", "red", seed=41)
    told = ["2 changed", "1 moved", "1 copied", "1 removed", "5 unchanged"]
    for place in ([], ["--index", url]):
        assert lines_of(succeeded(fc7("index", photos, *place)))[1:] == told
    assert succeeded(fc7("search", asked, "--format", "json")) == succeeded(
        fc7("search", asked, "--format", "json", "--index", url)
    )
    assert "nothing is wrong" in succeeded(fc7("check", "--index", url))

    copies = [fc7("duplicates", "--format", "json", *place) for place in ([], ["--index", url])]
    assert succeeded(copies[0]) == succeeded(copies[1])
    assert "copy of 3.png" in copies[0].stdout
    moved = fc7("duplicates", "--index", url, "--move-to", tmp_path / "copies", "--yes")
    assert "Moved 3 photos" in succeeded(moved)
    assert lines_of(succeeded(fc7("index", photos, "--index", url)))[1:] == ["6 unchanged"]


def test_an_interrupted_index_goes_on_where_it_was(
    fc7: Fc7, photos: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, model = lite(tmp_path), Model.load(tiny_model)

    def interrupt(done: int, total: int) -> None:
        assert total == 8
        if done >= 4:
            raise KeyboardInterrupt

    slowly = Concurrency.chosen(model, workers=1, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        list(update_index(place, model, [photos], concurrency=slowly, progress=interrupt))
    assert "has not finished filling milvus+" in fc7("search", photos / NASTY[0], "--index", place).stderr
    [[report]] = update_index(place, model, [photos])
    assert report.counts is not None
    assert report.counts.unchanged >= 4
    assert report.counts.unchanged + report.counts.new + report.counts.copied == 8
    with MilvusIndex.open(place) as index:
        assert (index.problems(), index.summary().photos, index.complete) == ([], 8, True)


def test_the_run_that_began_last_goes_on(photos: Path, tmp_path: Path, tiny_model: Path) -> None:
    place, model = lite(tmp_path), Model.load(tiny_model)
    with open_to_fill(place, model) as first:
        with open_to_fill(place, model) as second:
            index_folders(second, model, [photos])
        with pytest.raises(IndexLockedError, match="another fc7 index or forget has begun to change milvus"):
            index_folders(first, model, [photos / os.fsdecode(b"r\xff")])
    with MilvusIndex.open(place) as index:
        assert (index.problems(), index.summary().photos) == ([], 8)


def test_rows_of_a_run_that_was_overtaken_are_removed(photos: Path, tmp_path: Path, tiny_model: Path) -> None:
    place, model = lite(tmp_path), Model.load(tiny_model)
    list(update_index(place, model, [photos]))
    collection = MilvusCollection.open(place, consistency="strong")
    try:
        [photo] = collection.get([1])
        collection.upsert([replace(photo, id=collection.state.last_id + 1)])
        collection.put_state(replace(collection.state, photos=9))
    finally:
        collection.close()
        collection.close()  # as after an error
    [[report]] = update_index(place, model, [photos])
    assert report.counts is not None
    assert report.counts.unchanged == 8
    with MilvusIndex.open(place) as index:
        assert (index.problems(), index.summary().photos) == ([], 8)
    assert not calls._opened[place.uri]


FILES = {b"%d.jpg" % number: FileStamp(number, number) for number in range(1, 7)}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MilvusWriter, Callable[[int], None]]]:
    """A writer that has stored the first two of FILES, and a function that stores the one of a number."""
    for module in (milvus_index, milvus_writer):
        monkeypatch.setattr(module, "LOOKED_EVERY", 0.01)
    with writer(lite(tmp_path)) as first:
        sync = first.begin_sync(Path("/photos"), FILES)

        def store(number: int) -> None:
            sync.add([new_photo(b"%d.jpg" % number)])

        store(1)
        store(2)
        yield first, store


def writer(place: MilvusPlace) -> MilvusWriter:
    return MilvusWriter.open_for_writing(place, fingerprint="abc", model_name="sample", dim=4)


def new_photo(name: bytes) -> NewPhoto:
    stamp = FILES[name]
    return NewPhoto(name, stamp, name, 4, 3, np.eye(4, dtype=np.float32)[stamp.size % 4], labels=())


def test_photos_of_a_run_that_was_overtaken_are_there_once(
    running: tuple[MilvusWriter, Callable[[int], None]], tmp_path: Path
) -> None:
    first, store = running
    with writer(lite(tmp_path)) as second:
        first._looked = math.inf  # it does not find out yet
        store(3)
        sync = second.begin_sync(Path("/photos"), FILES)
        assert len(sync.to_read) == len(FILES) - 2
        sync.add([new_photo(name) for name in sync.to_read])
        store(4)
        sync.finish()
        assert [file.path.name for file in second.photos.files(second.photos.ids())] == [
            f"{n}.jpg" for n in range(1, 7)
        ]
        assert (second.problems(), second.complete) == ([], True)


def test_an_index_that_goes_on_stops_when_photos_are_forgotten(
    running: tuple[MilvusWriter, Callable[[int], None]], tmp_path: Path
) -> None:
    first, store = running
    with MilvusIndex.open_to_edit(lite(tmp_path)) as editor:
        assert editor.forget([Path("/photos/1.jpg")]) == [1]
        first._looked = -math.inf
        with pytest.raises(IndexLockedError, match="another fc7 index or forget has begun to change"):
            store(3)
        assert not editor.complete
    with writer(lite(tmp_path)) as again:
        sync = again.begin_sync(Path("/photos"), FILES)
        sync.add([new_photo(name) for name in sync.to_read])
        assert sync.finish().new == len(FILES) - 1
        assert again.problems() == []


def test_shards_fill_milvus_with_what_one_process_does(photos: Path, tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    model, shards = Model.load(tiny_model, threads=1), ShardPlace(str(tmp_path / "shards"))
    for name, engine in (("usual", None), ("filled", ShardEngine(shards, embed_here, kept=True))):
        list(update_index(lite(tmp_path, name), model, [photos], engine=engine))
    assert len(shards.names()) > 0
    with MilvusIndex.open(lite(tmp_path, "usual")) as here, MilvusIndex.open(lite(tmp_path, "filled")) as there:
        assert there.problems() == []
        files = [{file.path: file for file in index.photos.files(index.photos.ids())} for index in (here, there)]
        assert files[0].keys() == files[1].keys()
        for path, file in files[0].items():
            assert replace(files[1][path], id=file.id) == file
        queries = here.photos.vectors(here.photos.ids())
        assert there.search(queries, 8) == here.search(queries, 8)


def test_what_push_fills_index_does_not(fc7: Fc7, photos: Path, tmp_path: Path, other_model: Path) -> None:
    pushed, filled = str(lite(tmp_path, "pushed")), str(lite(tmp_path, "filled"))
    succeeded(fc7("index", photos))
    succeeded(fc7("push", "--to", pushed))
    succeeded(fc7("index", photos, "--index", filled))
    for words, told in (
        (["index", photos, "--index", pushed], "is the copy of an index in a folder"),
        (["push", "--to", filled], "was filled by fc7 index"),
        (["index", photos, "--index", filled, "-m", other_model], "was made with another model, tiny"),
        (["index", photos, "--index", filled, "--kind", "Flat"], "is of the kind HNSW, not Flat"),
    ):
        refused = fc7(*words)
        assert (refused.exit_code != 0, told in refused.stderr) == (True, True), refused.output
    for place in (pushed, filled):
        assert "8 photos, " in succeeded(fc7("check", "--index", place))
