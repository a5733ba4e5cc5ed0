"""Fetching a file from a server on loopback: whole, in parts, and from a server that does it wrong."""

import hashlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from file_server import ServedFile, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from index.file_lock import lock
from training.errors import DownloadError
from training.pretrained.download import download

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHERWISE = "Without a network, bring the file"


@pytest.fixture
def served() -> Iterator[ServedFile]:
    with serving(ServedFile(CONTENT, "weights.pth")) as file:
        yield file


def fetch(served: ServedFile, folder: Path, **options: object) -> Path:
    return download(served.url, folder, sha256=SHA256[:8], otherwise=OTHERWISE, **options)  # type: ignore[arg-type]


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_file_is_fetched_once(served: ServedFile, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = tmp_path / "cache" / "fc7"
    path = fetch(served, folder, progress=lambda *step: told.append(step))
    assert path == folder / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert {total for _, total in told} == {len(CONTENT)}
    assert fetch(served, folder) == path
    assert len(served.requests) == 1
    assert left_in(folder) == {"weights.pth"}


def test_what_a_broken_connection_left_is_gone_on_with(served: ServedFile, tmp_path: Path) -> None:
    served.cut = 100_000
    with pytest.raises(
        DownloadError, match=r"ended after 100,000 of 300,000 bytes\. What came so far is kept"
    ) as error:
        fetch(served, tmp_path)
    assert OTHERWISE in str(error.value)
    assert not (tmp_path / "weights.pth").exists()
    served.cut = None
    told: list[tuple[int, int]] = []
    assert fetch(served, tmp_path, progress=lambda *step: told.append(step)).read_bytes() == CONTENT
    assert served.requests[-1]["Range"] == "bytes=100000-"
    assert told[0][0] > 100_000
    assert told[-1] == (300_000, 300_000)
    assert left_in(tmp_path) == {"weights.pth"}


@settings(max_examples=20)
@given(st.lists(st.integers(0, len(CONTENT)), max_size=5), st.booleans())
def test_however_often_the_connection_breaks(cuts: list[int], ranges: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(ServedFile(CONTENT, "f.bin", ranges=ranges)) as served:
        for cut in cuts:
            served.cut = cut
            try:
                assert fetch(served, Path(folder)).read_bytes() == CONTENT
            except DownloadError:
                assert left_in(Path(folder)) == {"f.bin.part", "f.bin.part.version"}
        served.cut = None
        assert fetch(served, Path(folder)).read_bytes() == CONTENT


def test_ctrl_c_keeps_what_came(served: ServedFile, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(served, tmp_path, progress=interrupt)
    assert fetch(served, tmp_path).read_bytes() == CONTENT
    assert "Range" in served.requests[-1]


@pytest.mark.parametrize(
    ("etag", "modified", "resumed"),
    [
        ('"1"', "", True),
        ("", "Thu, 01 Apr 2021 00:00:00 GMT", True),
        ('W/"1"', "Thu, 01 Apr 2021 00:00:00 GMT", True),
        ('W/"1"', "", False),
        ("", "", False),
    ],
)
def test_only_what_is_surely_the_same_file_is_gone_on_with(
    served: ServedFile, tmp_path: Path, etag: str, modified: str, resumed: bool
) -> None:
    served.etag, served.modified, served.cut = etag, modified, 1_000
    with pytest.raises(DownloadError):
        fetch(served, tmp_path)
    served.cut = None
    assert fetch(served, tmp_path).read_bytes() == CONTENT
    assert ("Range" in served.requests[-1]) == resumed


def test_a_file_that_was_replaced_meanwhile_comes_whole(served: ServedFile, tmp_path: Path) -> None:
    served.content, served.cut = b"an older file" * 10_000, 50_000
    with pytest.raises(DownloadError):
        fetch(served, tmp_path)
    served.content, served.cut, served.etag = CONTENT, None, '"2"'
    assert fetch(served, tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_given_up(served: ServedFile, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(bytes(len(CONTENT) + 1))
    (tmp_path / "weights.pth.part.version").write_text(served.etag)
    assert fetch(served, tmp_path).read_bytes() == CONTENT
    assert ["Range" in request for request in served.requests] == [True, False]


def test_another_range_than_the_one_asked_for_is_given_up(served: ServedFile, tmp_path: Path) -> None:
    served.cut = 1_000
    with pytest.raises(DownloadError):
        fetch(served, tmp_path)
    served.cut, served.shift = None, 5
    assert fetch(served, tmp_path).read_bytes() == CONTENT


def test_a_server_may_not_tell_the_length_and_send_elsewhere(tmp_path: Path) -> None:
    with serving(ServedFile(CONTENT, "f.bin", chunked=True, redirect=True)) as served:
        assert fetch(served, tmp_path).read_bytes() == CONTENT
        assert len(served.requests) == 2


def test_a_chunked_body_that_ends_early_is_no_file(tmp_path: Path) -> None:
    with serving(ServedFile(CONTENT, "f.bin", chunked=True, cut=200_000)) as served:
        with pytest.raises(DownloadError, match="cannot be fetched"):
            fetch(served, tmp_path)
        served.cut = None
        assert fetch(served, tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_is_deleted(served: ServedFile, tmp_path: Path) -> None:
    served.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(DownloadError, match=f"not with {SHA256[:8]}. It was deleted"):
        fetch(served, tmp_path)
    assert left_in(tmp_path) == set()


def test_a_damaged_file_in_the_cache_is_fetched_again(served: ServedFile, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(CONTENT[:-1])
    assert fetch(served, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (500, "500 Internal Server Error")])
def test_a_server_that_refuses_is_quoted(served: ServedFile, tmp_path: Path, status: int, reason: str) -> None:
    served.status = status
    with pytest.raises(DownloadError, match=f"answers {reason}. {OTHERWISE}"):
        fetch(served, tmp_path)


def test_a_refusal_keeps_what_came_before(served: ServedFile, tmp_path: Path) -> None:
    served.cut = 1_000
    with pytest.raises(DownloadError):
        fetch(served, tmp_path)
    served.cut, served.status = None, 503
    with pytest.raises(DownloadError, match="503"):
        fetch(served, tmp_path)
    served.status = None
    fetch(served, tmp_path)
    assert served.requests[-1]["Range"] == "bytes=1000-"


def test_without_a_server_the_error_says_what_to_do(served: ServedFile, tmp_path: Path) -> None:
    with serving(ServedFile(b"", "gone.pth")) as gone:
        pass
    with pytest.raises(DownloadError, match=f"{gone.url} cannot be fetched: Connection refused. {OTHERWISE}"):
        fetch(gone, tmp_path)


def test_a_silent_server_is_given_up(served: ServedFile, tmp_path: Path) -> None:
    served.stalled = Event()
    with pytest.raises(DownloadError, match=r"cannot be fetched: timed out\. What came so far is kept"):
        fetch(served, tmp_path, timeout=0.5)


def test_two_at_once_do_not_write_the_same_part(served: ServedFile, tmp_path: Path) -> None:
    with (tmp_path / ".weights.pth.lock").open("w") as file:
        assert lock(file)
        with pytest.raises(DownloadError, match="another fc7 is fetching"):
            fetch(served, tmp_path)
    assert fetch(served, tmp_path).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_an_error(served: ServedFile, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(served, tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/é.pth", "http://.example.com/x.pth", f"http://{'a' * 70}.com/x.pth"]
)
def test_an_address_that_cannot_be_encoded_is_an_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"correct its host, .* or percent-encode the letters of its path"):
        download(url, tmp_path, sha256="")


@pytest.mark.parametrize(
    "url", ["", "weights.pth", "/etc/passwd", "file:///etc/passwd", "https://host", "https://host/..", "http://[/a"]
)
def test_what_is_no_address_of_a_file_is_an_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is not the address of a file"):
        download(url, tmp_path, sha256="")
