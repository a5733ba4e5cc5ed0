"""An index that is rebuilt stays the old one until the new one is finished."""

from pathlib import Path

import pytest
from photo_samples import DIM, SampleFile, bring_up_to_date, contents_of, embed, open_for_writing

from index.errors import IndexLockedError, ModelMismatchError
from index.photo_index import PhotoIndex
from index.sync.replace import UNFINISHED, rebuilding

ROOT = Path("/photos")
FILES = {b"%d.jpg" % name: SampleFile(b"%d" % name) for name in range(9)}
OTHERS = {b"new.jpg": SampleFile(b"new")}
QUERY = embed(b"query")[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of nine photos."""
    with open_for_writing(tmp_path / "index") as index:
        bring_up_to_date(index, ROOT, FILES)
    return tmp_path / "index"


def names(folder: Path) -> set[str]:
    with PhotoIndex.open(folder) as index:
        found = {path.name for path in contents_of(index)}
        assert {result.path.name for result in index.search(QUERY, 99)[0]} == found
        return found


def test_the_old_index_is_searched_until_the_new_one_is_finished(folder: Path) -> None:
    with PhotoIndex.open(folder, fingerprint="abc") as reader:
        with rebuilding(folder, fingerprint="other", model_name="other", dim=DIM, model_path=Path("/m.onnx")) as index:
            assert index.roots() == []
            bring_up_to_date(index, ROOT, OTHERS)
            assert len(reader.search(QUERY, 99)[0]) == len(names(folder)) == 9
            with pytest.raises(IndexLockedError):
                open_for_writing(folder)
        with pytest.raises(ModelMismatchError):
            reader.search(QUERY, 99)
    assert names(folder) == {"new.jpg"}
    assert not (folder / UNFINISHED).exists()
    with PhotoIndex.open(folder, fingerprint="other") as index:
        assert (index.model_path, index.roots(), index.problems()) == (Path("/m.onnx"), [ROOT], [])


def test_a_reader_with_the_same_model_goes_on_with_the_new_one(folder: Path) -> None:
    with PhotoIndex.open(folder, fingerprint="abc") as reader:
        assert len(reader.search(QUERY, 99)[0]) == 9
        with rebuilding(folder, fingerprint="abc", model_name="sample", dim=DIM) as index:
            bring_up_to_date(index, ROOT, OTHERS)
        assert [result.path.name for result in reader.search(QUERY, 99)[0]] == ["new.jpg"]


@pytest.mark.parametrize("model", ["other", "another"])
def test_one_that_is_broken_off_loses_nothing_and_is_gone_on_with(folder: Path, model: str) -> None:
    run = rebuilding(folder, fingerprint="other", model_name="other", dim=DIM)
    bring_up_to_date(run.__enter__(), ROOT, FILES, stop_after=2)
    assert not run.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(names(folder)) == 9
    with open_for_writing(folder) as index:
        assert bring_up_to_date(index, ROOT, FILES)[1] == []
    with rebuilding(folder, fingerprint=model, model_name=model, dim=DIM) as index:
        _, embedded = bring_up_to_date(index, ROOT, FILES)
    assert len(embedded) == (3 if model == "other" else 9)
    assert len(names(folder)) == 9


def test_a_damaged_beginning_is_thrown_away(folder: Path) -> None:
    (folder / UNFINISHED).mkdir()
    (folder / UNFINISHED / "catalog.db").write_bytes(b"nonsense" * 100)
    with rebuilding(folder, fingerprint="abc", model_name="sample", dim=DIM) as index:
        bring_up_to_date(index, ROOT, OTHERS)
    assert names(folder) == {"new.jpg"}


def test_one_that_is_killed_when_it_has_taken_the_place_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("index.sync.replace._remove", killed)
        run = rebuilding(folder, fingerprint="abc", model_name="sample", dim=DIM, kind="SQ8")
        bring_up_to_date(run.__enter__(), ROOT, OTHERS)
        with pytest.raises(KeyboardInterrupt):
            run.__exit__(None, None, None)
    assert names(folder) == {"new.jpg"}
    with PhotoIndex.open(folder) as index:
        assert index.summary().chosen_kind == "SQ8", "and not the kind that it had until it was finished"
    with rebuilding(folder, fingerprint="abc", model_name="sample", dim=DIM) as index:
        assert index.roots() == [], "what is finished is not resumed"
        bring_up_to_date(index, ROOT, FILES)
    assert len(names(folder)) == 9
