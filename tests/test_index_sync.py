"""The plan of a sync, from what was found and what is known."""

from hypothesis import given
from hypothesis import strategies as st

from index.files import path_below
from index.records import FileStamp
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
