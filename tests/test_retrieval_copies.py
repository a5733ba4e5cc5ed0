"""Copies among results: marked for programs, taken together for people."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fc7
from index.records import SearchResult
from index.stored_photos import StoredPhotos
from retrieval.searching.copies import best_contents, collapsed, marked

CONTENTS = st.lists(st.sampled_from([b"a", b"b", b"c", None]), max_size=12)


def results_of(contents: list[bytes | None]) -> list[SearchResult]:
    paths = (Path(f"/photos/{number}.jpg") for number in range(len(contents)))
    return [SearchResult(path, 1.0, content_hash=content) for path, content in zip(paths, contents, strict=True)]


@given(CONTENTS, st.sets(st.integers(0, 11), max_size=2))
def test_what_is_left_has_each_content_once_and_in_order(contents: list[bytes | None], asked: set[int]) -> None:
    results = results_of(contents)
    files = {Path(f"/photos/{number}.jpg") for number in asked}
    kept = collapsed(results, files)
    assert kept == [result for result in results if result in kept]
    assert not files & {result.path for result in kept}
    known = [result.content_hash for result in kept if result.content_hash]
    assert len(known) == len(set(known))
    others = [result for result in results if result.path not in files]
    assert set(known) == {result.content_hash for result in others if result.content_hash}
    assert [r for r in kept if not r.content_hash] == [r for r in others if not r.content_hash]


@given(CONTENTS, st.sets(st.integers(0, 11), max_size=2))
def test_marks_name_an_original_that_is_none_itself(contents: list[bytes | None], asked: set[int]) -> None:
    results = results_of(contents)
    files = {Path(f"/photos/{number}.jpg") for number in asked}
    found = marked(results, files)
    assert found == results
    by_path = {result.path: result for result in found}
    for result in found:
        assert result.is_query == (result.path in files)
        if result.copy_of is not None:
            original = by_path[result.copy_of]
            assert original.copy_of is None
            assert original.content_hash == result.content_hash
    originals = [result.content_hash for result in found if result.content_hash and result.copy_of is None]
    assert len(originals) == len({result.content_hash for result in found if result.content_hash})


@pytest.mark.parametrize("top", [1, 3, 8, 40])
def test_more_is_asked_for_until_there_is_enough(top: int) -> None:
    everything = results_of([bytes([number // 50]) for number in range(1000)])
    asked: list[int] = []

    class Counts(StoredPhotos):
        def __init__(self) -> None:
            pass

        def count_contents(self, hashes: object) -> dict[bytes, int]:
            return {bytes([number]): 50 for number in range(20)}

    def find(k: int) -> list[list[SearchResult]]:
        asked.append(k)
        return [everything[:k]]

    [found] = best_contents(Counts(), find, [set()], top)
    assert [result.content_hash for result in found] == [bytes([number]) for number in range(min(top, 20))]
    assert {result.copies for result in found} == {49}
    assert len(asked) <= 5


def test_python_has_the_marks_as_fields(tmp_path: Path, tiny_model: Path, make_photo: object) -> None:
    assert callable(make_photo)
    photo = make_photo("photos/b.png")
    (tmp_path / "photos" / "a.png").write_bytes(photo.read_bytes())
    make_photo("photos/c.png", seed=1)
    with fc7.open_index(tmp_path / "index", model=tiny_model) as index:
        index.add(tmp_path / "photos")
        assert [(result.path.name, result.copy_of, result.is_query) for result in index.search(photo)] == [
            ("a.png", photo, False),
            ("b.png", None, True),
            ("c.png", None, False),
        ]
        assert index.search(photo)[0].to_dict()["copy_of"] == str(photo)
        assert [result.path.name for result in index.search(photo, collapse=True)] == ["a.png", "c.png"]
