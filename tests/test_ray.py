"""`fc7 index --engine ray`: the usual index, whatever is killed on the way."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from loopback import NAMESPACE
from PIL import Image
from shard_samples import assert_same, contents

from index.errors import ClusterError, MissingPackageError, OptionError
from index.vectors.file import read_header
from retrieval.shards import ray_workers
from retrieval.shards.part import ShardJob
from retrieval.shards.ray_workers import RayWorkers
from retrieval.shards.shard import ShardHeader

REPOSITORY = Path(__file__).parent.parent
JOB = ShardJob(ShardHeader("tiny", "f" * 64, 16, b"/photos"), "/shards", None, "cpu", 16)
PHOTOS = 160
TIMEOUT = 170
"""Seconds for a run: Ray is stopped then."""


def test_without_ray_one_line_says_what_to_install(
    fc7: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'fc7\[ray\]'"):
        next(RayWorkers()(JOB, []))
    result = fc7("index", tmp_path, "--engine", "ray")
    assert (result.exit_code, result.output) == (1, "Error: Ray Data is not installed: pip install 'fc7[ray]'\n")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("address", ["somewhere", "ray://host", "ray://host:port", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="is no address of a cluster"):
        RayWorkers(address=address)


def test_a_cluster_that_is_not_there_is_told_at_once() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ClusterError, match=r"there is no cluster at ray://127\.0\.0\.1:1: connection refused"):
        next(RayWorkers(address="ray://127.0.0.1:1")(JOB, [(b"a.jpg", None)]))  # type: ignore[list-item]


def test_options_that_do_not_go_together_are_refused(fc7: Callable[..., Result], tmp_path: Path) -> None:
    assert "belong to --engine ray" in fc7("index", tmp_path, "--shards", tmp_path).output
    assert "leave out --engine ray" in fc7("index", tmp_path, "--watch", "--engine", "ray").output


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that take some time to decode, among them copies, one that is none, and one that is cut short."""
    folder = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(8)
    drawn = []
    for _ in range(10):
        pixels = chance.integers(0, 256, (60, 60, 3), np.uint8)
        file = BytesIO()
        Image.fromarray(pixels).resize((700, 700)).save(file, "PNG", compress_level=1)
        drawn.append(file.getvalue())
    for number in range(PHOTOS - 2):
        # Bytes behind the end of a picture make another file of it.
        (folder / f"{number:03}.png").write_bytes(drawn[number % 10] + b"%d" % (number % 100))
    (folder / "cut.png").write_bytes(drawn[0][: len(drawn[0]) // 2])
    (folder / "none.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def usual(photos: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the photos as one process makes it."""
    index = tmp_path_factory.mktemp("usual") / "index"
    command = [sys.executable, "-P", "-m", "cli", "index", str(photos), "-m", str(tiny_model), "--index", str(index)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    return index


@pytest.fixture
def ray_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What keeps Ray's files, and what it does at home, in a folder of the test's own."""
    pytest.importorskip("ray", reason="ray is not installed")
    # Ray's sockets need a short path.
    home = tmp_path_factory.getbasetemp().parent / f"r{os.getpid()}"
    home.mkdir(exist_ok=True)
    return {
        **os.environ,
        "HOME": str(home),
        "RAY_TMPDIR": str(home),
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": str(REPOSITORY),
    }


@pytest.fixture
def start(
    photos: Path, tiny_model: Path, tmp_path: Path, ray_environment: dict[str, str]
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts `fc7 index --engine ray` with an index and shards of the test's own."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: object) -> subprocess.Popen[str]:
        words = ["index", photos, "-m", tiny_model, "--index", tmp_path / "index", "--engine", "ray", *options]
        started.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "cli", *map(str, words)],
                env=ray_environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def wait_for_shards(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    until = time.monotonic() + TIMEOUT
    while len(list(folder.glob("*.parquet"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def workers_of(home: str) -> list[int]:
    """Return the processes of Ray's actors that embed photos and have files below a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title, environment = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::MapWorker") and home.encode() in environment:
            found.append(int(place.name))
    return found


@pytest.mark.slow
def test_ray_makes_the_usual_index(start: Callable[..., subprocess.Popen[str]], usual: Path, tmp_path: Path) -> None:
    code, out, err = ended(start("--workers", 1))
    assert code == 0, err
    assert "2  skipped" in out
    assert err.count("\n") <= 3, err  # what is skipped and incomplete, and not a word of Ray's
    assert_same(usual, tmp_path / "index")
    assert not (tmp_path / "index/shards").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the workers in /proc")
def test_a_worker_that_is_killed_costs_time_and_nothing_else(
    start: Callable[..., subprocess.Popen[str]], usual: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = start("--workers", 1, "--shards", tmp_path / "shards")
    wait_for_shards(process, tmp_path / "shards", 2)
    workers = workers_of(str(tmp_path_factory.getbasetemp().parent / f"r{os.getpid()}"))
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    assert len(list((tmp_path / "shards").glob("*.parquet"))) < PHOTOS // 16, "the worker was killed too late"
    code, _, err = ended(process)
    assert code == 0, err
    assert_same(usual, tmp_path / "index")


@pytest.mark.slow
def test_a_node_that_is_lost_costs_time_and_nothing_else(
    photos: Path, usual: Path, tiny_model: Path, tmp_path: Path, ray_environment: dict[str, str]
) -> None:
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here, and Ray's nodes would listen on all interfaces")
    words = ["index", photos, "-m", tiny_model, "--index", tmp_path / "index", "--engine", "ray"]
    words += ["--kind", "IVF4,SQ8"]  # its lists are filled on what is left of the cluster
    shards = tmp_path / "shards"
    script = Path(__file__).with_name("ray_cluster.py")
    command = [*NAMESPACE, sys.executable, script, shards, *words, "--shards", shards]
    done = subprocess.run(
        [*map(str, command)], env=ray_environment, capture_output=True, text=True, timeout=2 * TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"^(\d+) (\d+)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    made, nodes = map(int, found.groups())
    assert made < PHOTOS // 16, "the node was lost too late"
    assert nodes == 2
    assert_same(usual, tmp_path / "index")
    assert read_header(tmp_path / "index/vectors.faiss").built.kind == "IVF4,SQ8"


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(start: Callable[..., subprocess.Popen[str]], usual: Path, tmp_path: Path) -> None:
    process = start("--workers", 1, "--shards", tmp_path / "shards")
    wait_for_shards(process, tmp_path / "shards", 2)
    process.kill()
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.parquet")}
    assert 2 <= len(done) < PHOTOS // 16, "the run was killed too late"
    assert len(contents(tmp_path / "index")) < PHOTOS
    code, _, err = ended(start("--workers", 1, "--shards", tmp_path / "shards"))
    assert code == 0, err
    assert_same(usual, tmp_path / "index")
    assert {path: path.stat().st_mtime_ns for path in done} == done, "what was there was not made again"


@pytest.mark.slow
def test_what_fails_on_the_cluster_is_told(ray_environment: dict[str, str]) -> None:
    program = """
from retrieval.shards.ray_workers import RayWorkers
def fill(part):
    raise ImportError("no faiss here")
list(RayWorkers(count=1).fill(fill, [list]))
"""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=ray_environment, capture_output=True, text=True, timeout=TIMEOUT)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("ClusterError: the cluster cannot sort vectors into lists: ImportError: no faiss here")
