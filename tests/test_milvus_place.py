"""URLs of an index in Milvus: what they mean, and what is said of those that mean nothing."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.errors import OptionError
from index.milvus.place import MilvusPlace


@pytest.mark.parametrize(
    ("url", "uri", "collection"),
    [
        ("milvus+http://server/photos", "http://server:19530", "photos"),
        ("milvus+http://10.0.0.7:1234/my_photos2", "http://10.0.0.7:1234", "my_photos2"),
        ("milvus+https://cloud.example/_x", "https://cloud.example:19530", "_x"),
        ("milvus+http://[::1]:7/x", "http://[::1]:7", "x"),
        ("milvus+file:///home/me/x.db", "/home/me/x.db", "photos"),
        ("milvus+file:///home/my%20photos/x.db", "/home/my photos/x.db", "photos"),
    ],
)
def test_a_url_names_a_collection(url: str, uri: str, collection: str) -> None:
    place = MilvusPlace.parse(url)
    assert (place.uri, place.collection, place.is_file) == (uri, collection, uri.startswith("/"))
    assert MilvusPlace.parse(str(place)) == place


@pytest.mark.parametrize(
    "url",
    [
        *("milvus+http://server", "milvus+http://server/", "milvus+http:///photos", "milvus+http://server/a/b"),
        *(
            "milvus+http://server/a-b",
            "milvus+http://server/2",
            "milvus+http://server:x/a",
            "milvus+http://server/a?b=c",
        ),
        *("milvus+ftp://server/a", "milvus+", "milvus+http://server/a%20b", "milvus+http://[::1/a"),
        *("milvus+file://x.db", "milvus+file:///x", "milvus+file:x.db", "milvus+file://host/x.db", "http://server/a"),
        *("milvus+file:///a%00b.db", "milvus+http://server:99999/a"),
    ],
)
def test_another_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(OptionError) as refused:
        MilvusPlace.parse(url)
    assert "\n" not in refused.value.with_hint
    assert "milvus+http://HOST:19530/COLLECTION" in refused.value.with_hint


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(OptionError, match="none of http, https and file"):
        MilvusPlace.parse("milvus+ftp://server/photos")
    with pytest.raises(OptionError, match="it has no host"):
        MilvusPlace.parse("milvus+http:///photos")


def test_a_secret_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(OptionError, match="everyone on the machine can see") as refused:
        MilvusPlace.parse("milvus+http://root:sesame@server/photos")
    assert "FC7_MILVUS_TOKEN" in refused.value.hint
    assert "sesame" not in refused.value.with_hint


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_any_file_name_survives_its_url(name: bytes) -> None:
    place = MilvusPlace(str(Path("/folder") / f"{os.fsdecode(name)}.db"), "photos")
    assert str(place).isascii()
    assert MilvusPlace.parse(str(place)) == place
