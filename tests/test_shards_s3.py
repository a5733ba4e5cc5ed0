"""Shards in object storage, on a real S3 server on loopback: that of moto.

Its packages do not go with those of fc7, so it has an environment of its own, and FC7_MOTO names its program:
python -m venv DIR; DIR/bin/pip install 'moto[server,s3]'; FC7_MOTO=DIR/bin/moto_server pytest tests/test_shards_s3.py
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from shard_samples import assert_same

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
SERVER = os.environ.get("FC7_MOTO", "")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The part of a URL that names a server with the bucket `photos`."""
    if not SERVER:
        pytest.skip("no S3 server is named by FC7_MOTO")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        server = subprocess.Popen([SERVER, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urlopen(Request(f"http://127.0.0.1:{port}/photos", method="PUT"), timeout=10).close()
                break
            except OSError:
                assert time.monotonic() < until
                assert server.poll() is None
                time.sleep(0.2)
        yield f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    finally:
        server.kill()
        server.wait()


def test_a_bucket_holds_what_a_folder_holds(s3: str) -> None:
    place = ShardPlace(f"s3://key:secret@photos/some/shards?{s3}")
    assert place.shown == "s3://photos/some/shards"
    place.prepare()
    assert place.names() == []
    place.write("b.parquet", b"two")
    place.write("a.parquet", b"one")
    place.write("a.parquet", b"three")
    assert place.names() == ["a.parquet", "b.parquet"]
    assert place.open("a.parquet").read() == b"three"
    place.remove("a.parquet")
    assert place.names() == ["b.parquet"]


def test_no_such_bucket_is_told(s3: str) -> None:
    with pytest.raises(ShardError, match=r"s3://elsewhere/shards cannot be (used|read): there is no such bucket"):
        ShardPlace(f"s3://key:secret@elsewhere/shards?{s3}").prepare()


def test_an_index_through_a_bucket_is_the_usual_one(
    s3: str, tiny_model: Path, make_photo: MakePhoto, tmp_path: Path
) -> None:
    for number in range(20):
        make_photo(f"photos/{number}.png", seed=number)
    (tmp_path / "photos/none.jpg").write_bytes(b"no photo")
    model = Model.load(tiny_model, device="cpu", threads=1)
    place = ShardPlace(f"s3://key:secret@photos/index?{s3}")
    for name, engine in (("usual", None), ("through", ShardEngine(place, embed_here, kept=True))):
        with open_for_model(tmp_path / name, model) as index:
            index_folders(index, model, [tmp_path / "photos"], engine=engine)
    assert_same(tmp_path / "usual", tmp_path / "through")
    assert len(place.names()) == 2
