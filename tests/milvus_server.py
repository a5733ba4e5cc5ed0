"""A real Milvus, killed and started again: `python milvus_server.py PACKAGES WORK`, in a network namespace of its own.

PACKAGES is a folder into which `milvus==2.3.5` was installed. The server listens on all interfaces and cannot be told
otherwise, so `unshare -n` gives it none but the loopback one, which is begun here. Prints what it found as JSON.

    unshare --map-root-user --net python tests/milvus_server.py PACKAGES WORK COMMAND...

runs another command beside the server, with its number of process in FC7_MILVUS_PID and its token in FC7_MILVUS_TOKEN.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from loopback import switch_loopback_on

from index.catalog.catalog import CatalogState
from index.errors import IndexUnreachableError, ModelMismatchError
from index.milvus.calls import TIMEOUT
from index.milvus.collection import MilvusCollection
from index.milvus.milvus_index import MilvusIndex
from index.milvus.milvus_writer import MilvusWriter
from index.milvus.place import TOKEN, MilvusPlace
from index.milvus.rows import DIGEST, RemotePhoto
from index.milvus.state import HNSW, CollectionState
from index.records import FileStamp, NewPhoto, SyncCounts

PLACE = MilvusPlace.parse("milvus+http://127.0.0.1:19530/photos")
ROWS, DIM, BATCH = 20_000, 32, 500
REMOVED, CHANGED = range(1, 1001), range(1001, 2001)
KILLED_AFTER = 12
"""Batches; the next is on its way."""
INDEXED = 0.95
"""Recall of an HNSW; what is not indexed yet is searched with less effort."""
INDEXED_FILES, FILES_AT_ONCE = 3000, 100
PATIENCE = 400.0
"""Seconds: other work on the machine may slow the server down."""
PREPARE = """
import sys
from milvus import MilvusServerConfig, _initialize_data_files
config = MilvusServerConfig(data_dir=sys.argv[1])
config.set('authorization_enabled', True)
config.resolve()
_initialize_data_files(config.base_data_dir)
"""


class Server:
    """The server process; `kill` is SIGKILL."""

    def __init__(self, packages: Path, work: Path) -> None:
        self.work = work
        environment = os.environ | {"PYTHONPATH": str(packages)}
        subprocess.run([sys.executable, "-c", PREPARE, str(work)], env=environment, check=True, timeout=300)
        self.start()

    def start(self) -> None:
        run = self.work / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        environment = os.environ | {
            "LD_LIBRARY_PATH": str(self.work / "bin"),
            "MILVUSCONF": str(self.work / "configs"),
            "MILVUS_RUN_DIR": str(run),
            "DEPLOY_MODE": "STANDALONE",
        }
        with (self.work / "logs" / "output").open("ab") as log:
            command = [str(self.work / "bin" / "milvus"), "run", "standalone"]
            self.process = subprocess.Popen(command, cwd=self.work, env=environment, stdout=log, stderr=log)
        wait_for(self.is_healthy)

    def is_healthy(self) -> bool:
        if self.process.poll() is not None:
            sys.exit(f"Milvus has ended: {(self.work / 'logs' / 'output').read_bytes()[-2000:]!r}")
        try:
            with urllib.request.urlopen("http://127.0.0.1:9091/healthz", timeout=5) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()


def main() -> None:
    switch_loopback_on()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server ends too
    os.environ[TOKEN] = "root:Milvus"
    server = Server(Path(sys.argv[1]), Path(sys.argv[2]))
    found: dict[str, Any] = {}
    try:
        if command := sys.argv[3:]:
            sys.exit(subprocess.run(command, env=os.environ | {"FC7_MILVUS_PID": str(server.process.pid)}).returncode)
        catalog = CatalogState.fresh(model_name="sample", fingerprint="abc", dim=DIM)
        collection = MilvusCollection.create(PLACE, CollectionState.of(catalog, kind=HNSW), patience=PATIENCE)
        write_while_killed(server, collection, found)
        change_and_kill(server, collection)
        collection.close()
        check(found)
        index_while_killed(server, found)
        refusals(server, found)
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.kill()
    print(json.dumps(found))


def write_while_killed(server: Server, collection: MilvusCollection, found: dict[str, Any]) -> None:
    """Store all rows; the server is killed in the midst of it, and the writer goes on when it is back."""
    restarting: threading.Thread | None = None
    for start in range(1, ROWS + 1, BATCH):
        if start == 1 + KILLED_AFTER * BATCH:
            restarting = threading.Thread(target=server.restart)
            restarting.start()
            found["killed_after"] = start - 1
        collection.upsert([photo(id) for id in range(start, start + BATCH)])
    assert restarting is not None
    restarting.join()


def change_and_kill(server: Server, collection: MilvusCollection) -> None:
    """Remove some rows and change others, and kill the server at once, with nothing written to its disk by request."""
    collection.delete(list(REMOVED))
    collection.upsert([photo(id) for id in CHANGED])  # the same: replaced, not doubled
    collection.upsert([photo(id, changed=True) for id in CHANGED])
    server.restart()
    collection.flush()


def check(found: dict[str, Any]) -> None:
    """Compare all that is there with what was acknowledged, and searches with NumPy."""
    wanted = {id: photo(id, changed=id in CHANGED) for id in range(1, ROWS + 1) if id not in REMOVED}
    with MilvusIndex.open(PLACE, fingerprint="abc", consistency="strong", patience=PATIENCE) as index:
        collection = index._collection
        ids, wrong = list[int](), 0
        for rows in collection.rows("", [DIGEST]):
            ids += [int(row["id"]) for row in rows]
            wrong += sum(row[DIGEST] != wanted[int(row["id"])].values()[DIGEST] for row in rows if row["id"] in wanted)
        matrix = np.stack([one.embedding for one in wanted.values()])
        queries = np.stack([vector(-number) for number in range(1, 101)])
        nearest = np.argsort(-queries @ matrix.T, axis=1)[:, :10]
        known = list(wanted)

        def recall() -> float:
            answers = index.search(queries, 10)
            hits = sum(
                len({result.path.name for result in results} & {f"{known[row]}.jpg" for row in best})
                for results, best in zip(answers, nearest, strict=True)
            )
            return hits / (10 * len(queries))

        found["recall_at_first"] = recall()
        wait_for(lambda: recall() >= INDEXED)  # until the server has built its index
        found |= {
            "count": index.summary().photos,
            "rows": len(ids),
            "missing": len(set(wanted) - set(ids)),
            "not_removed": len(set(ids) - set(wanted)),
            "doubled": len(ids) - len(set(ids)),
            "wrong": wrong,
            "recall": recall(),
        }


def index_while_killed(server: Server, found: dict[str, Any]) -> None:
    """Fill another collection as `fc7 index` does; the server is killed meanwhile, and the first run is interrupted."""
    place = MilvusPlace.parse("milvus+http://127.0.0.1:19530/mine")
    files = {b"%05d.jpg" % number: FileStamp(number, number) for number in range(1, INDEXED_FILES + 1)}

    def run(batches: int) -> tuple[int, SyncCounts | None]:
        begun = MilvusWriter.open_for_writing(place, fingerprint="abc", model_name="sample", dim=DIM)
        with begun as index:
            sync = index.begin_sync(Path("/photos"), files)
            for done, start in enumerate(range(0, len(sync.to_read), FILES_AT_ONCE)):
                if done == batches:
                    return len(sync.to_read), None
                if done == batches // 2:
                    server.kill()
                    threading.Thread(target=server.start).start()
                sync.add([new_photo(path, files[path]) for path in sync.to_read[start : start + FILES_AT_ONCE]])
            return len(sync.to_read), sync.finish()

    first, _ = run(INDEXED_FILES // FILES_AT_ONCE // 2)
    wait_for(server.is_healthy)
    left, counts = run(INDEXED_FILES)
    with MilvusIndex.open(place, fingerprint="abc", consistency="strong", patience=PATIENCE) as index:
        [[nearest]] = index.search(vector(7)[None], 1)
        found["filled"] = {
            "to_read": [first, left],
            "counts": None if counts is None else [counts.new, counts.unchanged, counts.removed],
            "problems": [problem.what for problem in index.problems()],
            "paths": len({file.path for file in index.photos.files(index.photos.ids())}),
            "photos": index.summary().photos,
            "nearest": nearest.path.name,
        }


def new_photo(path: bytes, stamp: FileStamp) -> NewPhoto:
    return NewPhoto(path, stamp, path, 4, 3, vector(stamp.size), labels=())


def refusals(server: Server, found: dict[str, Any]) -> None:
    """Say what is reported for a wrong token, another model, a server that hangs, and one that is not there."""

    def told(call: Callable[[], object]) -> str:
        begun = time.monotonic()
        try:
            call()
        except (IndexUnreachableError, ModelMismatchError) as error:
            return f"{error.with_hint} [{'late' if time.monotonic() - begun > 6 * TIMEOUT else 'in time'}]"
        return "nothing"

    found["other_model"] = told(lambda: MilvusIndex.open(PLACE, fingerprint="def"))
    os.environ[TOKEN] = "root:wrong"
    found["wrong_token"] = told(lambda: MilvusIndex.open(PLACE))
    del os.environ[TOKEN]
    found["no_token"] = told(lambda: MilvusIndex.open(PLACE))
    os.environ[TOKEN] = "root:Milvus"
    with MilvusIndex.open(PLACE, timeout=2) as index:
        server.process.send_signal(signal.SIGSTOP)
        found["hangs"] = told(lambda: index.search(vector(1)[None], 1))
        server.kill()
        found["gone"] = told(lambda: index.search(vector(1)[None], 1))
    found["not_there"] = told(lambda: MilvusIndex.open(PLACE, timeout=2))


def photo(id: int, *, changed: bool = False) -> RemotePhoto:
    classes = {"n01": 0.5, "own:changed": 0.9} if changed else {"n01": 0.5}
    path = b"/photos/%d.jpg" % id
    return RemotePhoto(id, path, FileStamp(id, id), b"%d" % id, 4, 3, classes, vector(id + ROWS * changed))


def vector(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    drawn = np.random.default_rng([abs(seed), seed < 0]).normal(size=DIM)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"Milvus is not ready after {PATIENCE:g} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
