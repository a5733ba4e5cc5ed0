"""Filter expressions, evaluated by a real Milvus Lite, against names that try to break out of them."""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_samples import lite, opened

from index.catalog.rows import pack_taken
from index.catalog.selection import Selection
from index.milvus.collection import MilvusCollection
from index.milvus.filters import PATH, at_or_below, at_path, decoded_path, encoded, selected
from index.milvus.ranking import most_probable
from index.milvus.rows import RemotePhoto
from index.records import FileStamp

DIM = 2
ATTACKS = [
    *(b'"', b"'", b"\\", b"\\\\", b'\\"', b"%", b"%2F", b"_", b"\n", b"\r\n", b"\t", b" ", b"\xff", b"\xc3", b"\x01"),
    *(b'" or id > 0 or path == "', b'x" or 1 == 1', b'"] or id in [1', b"%' or '1", b"{}", b"{path}", b"$", b"a", b"A"),
    *("ä".encode(), "a\u0308".encode(), "日本".encode(), b"0", b"-", b".", b"..", b"a0", b"a/", b"//", b"~", b"?#&="),
]
pieces = st.lists(st.sampled_from(ATTACKS) | st.binary(min_size=1, max_size=3), min_size=1, max_size=3).map(b"".join)
paths = st.lists(pieces.map(lambda name: name.replace(b"\0", b"")).filter(bool), min_size=1, max_size=3).map(
    lambda names: b"/" + b"/".join(names)
)
names = (pieces.map(lambda name: name.decode("utf-8", "surrogateescape")) | st.text(min_size=1, max_size=4)).map(str)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusCollection]:
    with opened(lite(tmp_path_factory.mktemp("milvus")), DIM) as collection:
        yield collection


def photo(id: int, path: bytes, classes: Mapping[str, float], time: int) -> RemotePhoto:
    taken = pack_taken(moment(time))
    return RemotePhoto(id, path, FileStamp(1, 1), b"\x01", 1, 1, classes, np.array([1, 0], np.float32), taken)


def moment(time: int | None) -> datetime | None:
    """Return a time, and for 0 none."""
    return datetime(2024, 1, time) if time else None


def is_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


@given(st.binary(max_size=50))
def test_encoded_bytes_come_back_and_can_end_no_string(name: bytes) -> None:
    stored = encoded(name)
    assert decoded_path(stored) == name
    assert set(stored) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/%")
    assert encoded(name + b"/x").startswith(stored + "/")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(paths, st.dictionaries(names, st.floats(0, 1), max_size=3), st.integers(0, 9)), max_size=8),
    st.lists(paths, max_size=2),
    st.lists(names, max_size=2),
    st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(1, 9)),
    st.data(),
)
def test_what_is_selected_is_what_python_selects(
    collection: MilvusCollection,
    rows: list[tuple[bytes, dict[str, float], int]],
    folders: list[bytes],
    classes: list[str],
    times: tuple[int | None, int | None],
    data: st.DataObject,
) -> None:
    collection.delete(range(1, 9))
    photos = [photo(number, *row) for number, row in enumerate(rows, start=1)]
    collection.upsert(photos)
    if photos:  # otherwise nearly nothing would be found
        known = data.draw(st.lists(st.sampled_from(photos), max_size=2))
        folders = folders + [os.path.dirname(one.path) for one in known]
        classes = classes + [name for one in known for name in list(one.classes)[:1]]
    selection = Selection(
        tuple(Path(os.fsdecode(folder)) for folder in folders),
        tuple(classes),
        since=moment(times[0]),
        before=moment(times[1]),
    )

    def is_selected(one: RemotePhoto) -> bool:
        # A Path drops what says nothing, as a second slash.
        inside = not folders or any(is_below(one.path, os.fsencode(folder)) for folder in selection.folders)
        named = not classes or bool({encoded(name) for name in classes} & {encoded(name) for name in one.classes})
        day = int(one.taken[8:10] or 0)
        known = day > 0 or times == (None, None)
        return inside and named and known and (times[0] or 0) <= day < (times[1] or 32)

    expected = [one.id for one in photos if is_selected(one)]
    condition = selected(selection)
    found = [row for batch in collection.rows(condition, [PATH]) for row in batch]
    assert [row["id"] for row in found] == expected
    assert [decoded_path(row[PATH]) for row in found] == [one.path for one in photos if one.id in expected]
    assert collection.count(condition) == len(expected)
    hits = collection.search(np.array([[1, 0]], np.float32), 10, condition=condition)[0]
    assert sorted(row["id"] for _, row in hits if row["id"]) == expected
    if classes:
        assert len(most_probable(collection, selection, 10)) == len(expected)
    for one in photos:
        same = [other.id for other in photos if other.path == one.path]
        assert [row["id"] for batch in collection.rows(at_path(one.path), []) for row in batch] == same
        below = [other.id for other in photos if is_below(other.path, one.path)]
        assert [row["id"] for batch in collection.rows(at_or_below(one.path), []) for row in batch] == below
