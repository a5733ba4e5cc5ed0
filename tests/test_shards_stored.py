"""Shards in object storage, on real servers on loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shard_samples import assert_same
from store_server import running

from index.errors import ShardError
from retrieval.indexing.index_folders import index_folders
from retrieval.indexing.update import open_for_model
from retrieval.models.model import Model
from retrieval.shards.engine import ShardEngine
from retrieval.shards.part import embed_here
from retrieval.shards.place import ShardPlace

pytestmark = pytest.mark.slow
pytest.importorskip("pyarrow.fs", reason="shards need pyarrow")
MakePhoto = Callable[..., Path]


KEYS = {"s3": ("key:secret", "&region=us-east-1"), "gs": ("anonymous", "")}


@pytest.fixture(scope="module", params=KEYS)
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A URL with the place of a bucket and a folder in it, and with keys and the server."""
    keys, more = KEYS[request.param]
    with running(tmp_path_factory.mktemp(request.param), request.param) as server:
        yield f"{request.param}://{keys}@%s?endpoint_override={server.address}&scheme=http{more}"


def test_a_bucket_holds_what_a_folder_holds(bucket: str) -> None:
    place = ShardPlace(bucket % "photos/some/shards")
    assert place.shown == f"{bucket[:2]}://photos/some/shards"
    place.prepare()
    assert place.names() == []
    place.write("b.parquet", b"two")
    place.write("a.parquet", b"one")
    place.write("a.parquet", b"three")
    assert place.names() == ["a.parquet", "b.parquet"]
    assert place.open("a.parquet").read() == b"three"
    place.remove("a.parquet")
    assert place.names() == ["b.parquet"]


def test_no_such_bucket_is_told(bucket: str) -> None:
    with pytest.raises(ShardError, match=r"//elsewhere/shards cannot be (used|read): there is no such bucket"):
        ShardPlace(bucket % "elsewhere/shards").prepare()


def test_an_index_through_a_bucket_is_the_usual_one(
    bucket: str, tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    for number in range(20):
        make_photo(f"photos/{number}.png", seed=number)
    (tmp_path / "photos/none.jpg").write_bytes(b"no photo")
    model = Model.load(tiny_model, device="cpu", threads=1)
    place = ShardPlace(bucket % "photos/index")
    for name, engine in (("usual", None), ("through", ShardEngine(place, embed_here, kept=True))):
        with open_for_model(tmp_path / name, model) as index:
            index_folders(index, model, [tmp_path / "photos"], engine=engine)
    assert_same(tmp_path / "usual", tmp_path / "through")
    assert len(place.names()) == 2
