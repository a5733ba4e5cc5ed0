"""The plan of a sync, from what was found and what is known."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from photo_samples import open_for_writing

from index.files import folder_around, path_below
from index.records import FileStamp, NewPhoto
from index.sync.plan import KnownFile, plan_sync

paths = st.sampled_from([b"a.jpg", b"b.jpg", b"sub/a.jpg", b"sub/b.jpg", b"sub2/a.jpg", b"\xff.jpg"])
stamps = st.builds(FileStamp, size=st.integers(0, 2), mtime_ns=st.integers(0, 2))
known_files = st.builds(
    KnownFile, id=st.integers(1, 9), stamp=stamps, content_hash=st.none() | st.binary(max_size=1), skipped=st.booleans()
)


@given(st.dictionaries(paths, stamps), st.dictionaries(paths, known_files), st.booleans())
def test_every_file_is_planned_once(
    found: dict[bytes, FileStamp], known: dict[bytes, KnownFile], retry_skipped: bool
) -> None:
    plan = plan_sync(found, known, retry_skipped=retry_skipped)
    assert sorted(plan.unchanged + plan.to_read) == sorted(found)
    assert set(plan.missing) == set(known) - set(found)
    for path in plan.unchanged:
        assert known[path].stamp == found[path]
    for path in set(plan.to_read) & set(known):
        assert known[path].stamp != found[path] or (retry_skipped and known[path].skipped)
    assert [plan.unchanged, plan.to_read, plan.missing] == [
        sorted(plan.unchanged),
        sorted(plan.to_read),
        sorted(plan.missing),
    ]


def test_what_could_not_be_looked_at_is_not_missing() -> None:
    known = {
        path: KnownFile(id, FileStamp(1, 1), b"h", skipped=False)
        for id, path in enumerate([b"a.jpg", b"sub/a.jpg", b"sub/deep/a.jpg", b"sub2/a.jpg"])
    }
    assert plan_sync({}, known, unlisted=[b"sub"]).missing == [b"a.jpg", b"sub2/a.jpg"]
    assert plan_sync({}, known, unlisted=[b"a.jpg", b"sub2"]).missing == [b"sub/a.jpg", b"sub/deep/a.jpg"]
    assert plan_sync({}, known, unlisted=[b""]).missing == []
    assert plan_sync({}, known, unlisted=[b"sub/deep/"]).missing == [b"a.jpg", b"sub/a.jpg", b"sub2/a.jpg"]


def test_where_a_path_lies_inside_a_folder() -> None:
    assert path_below(b"/a/b/c", b"/a") == b"b/c"
    assert path_below(b"/a", b"/a") == b""
    assert path_below(b"/ab", b"/a") is None
    assert path_below(b"/a/b", b"/") == b"a/b"
    assert path_below(b"/", b"/") == b""
    assert path_below(b"a/b", b"") == b"a/b"


class Only:
    """Folders that can be asked for, and not gone through."""

    def __init__(self, *folders: bytes) -> None:
        self._folders = folders

    def __contains__(self, path: object) -> bool:
        return path in self._folders


@pytest.mark.parametrize(
    ("path", "folders", "around"),
    [
        (b"a/b/c.jpg", Only(b"a"), b"a"),
        (b"a/b/c.jpg", Only(b"a/b", b"a"), b"a/b"),
        (b"a/b/c.jpg", Only(b""), b""),
        (b"a/b/c.jpg", Only(b"a/b/c.jpg"), b"a/b/c.jpg"),
        (b"ab/c.jpg", Only(b"a"), None),
        (b"a.jpg", Only(), None),
        (b"", Only(b""), b""),
    ],
)
def test_the_folder_around_a_path(path: bytes, folders: Only, around: bytes | None) -> None:
    assert folder_around(path, folders) == around


def test_many_emptied_folders_take_no_longer_each(tmp_path: Path) -> None:
    """Compared each with each, these would be 900 million comparisons."""
    names = [b"%d/a.jpg" % number for number in range(30_000)]
    empty = [b"%d" % number for number in range(30_000)]
    known = {name: KnownFile(number, FileStamp(1, 1), b"", False) for number, name in enumerate(names)}
    assert plan_sync({}, known, unlisted=empty).missing == []
    with open_for_writing(tmp_path) as index:
        found = dict.fromkeys(names, FileStamp(1, 1))
        sync = index.begin_sync(Path("/photos"), found)
        sync.add([NewPhoto(name, FileStamp(1, 1), None, skipped="damaged") for name in names])
        sync.finish()
        sync = index.begin_sync(Path("/photos"), {}, empty=empty)
        assert sync.kept() == dict.fromkeys(empty, 1)
        assert sync.finish().removed == 0
