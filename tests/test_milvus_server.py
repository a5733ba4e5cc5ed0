"""A real Milvus standalone: 20,000 rows, killed in the midst of writes, started again; what it acknowledged is there.

It is Milvus's own distribution of 2.3.5, from the package index, installed once, into build/. It runs in a network
namespace, because it listens on all interfaces.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import milvus_server
import pytest
from milvus_server import CHANGED, INDEXED, INDEXED_FILES, REMOVED, ROWS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
VERSION = "milvus==2.3.5"
NAMESPACE = ["unshare", "--map-root-user", "--net"]


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder that has the server; the test is skipped where it cannot be run."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(f"{VERSION} is for Linux on x86_64 alone")
    pytest.importorskip("pymilvus", reason="an index in Milvus needs the extra milvus")
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here, and the server would listen on all interfaces")
    folder = REPOSITORY / "build" / VERSION.replace("==", "-")
    if not (folder / "milvus" / "__init__.py").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*pip, "--target", str(folder), VERSION], capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"{VERSION} cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


@pytest.fixture(scope="module")
def found(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/milvus_server.py found."""
    work = tmp_path_factory.mktemp("milvus")
    command = [*NAMESPACE, sys.executable, milvus_server.__file__, str(packages), str(work)]
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}", "HOME": str(work)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(found: dict[str, Any]) -> None:
    left = ROWS - len(REMOVED)
    assert 0 < found["killed_after"] < ROWS
    assert (found["count"], found["rows"], found["missing"]) == (left, left, 0)
    assert found["not_removed"] == 0, "deleted rows stay deleted"
    assert found["doubled"] == 0, "a row that was sent again replaced itself"
    assert found["wrong"] == 0, f"the {len(CHANGED)} rows that were changed are as they were last"
    assert found["recall"] >= INDEXED


def test_an_interrupted_index_into_a_killed_server_goes_on(found: dict[str, Any]) -> None:
    half = INDEXED_FILES // 2
    assert found["filled"] == {
        "to_read": [INDEXED_FILES, half],
        "counts": [half, half, 0],
        "problems": [],
        "paths": INDEXED_FILES,
        "photos": INDEXED_FILES,
        "nearest": "00007.jpg",
    }


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("other_model", "was made with another model, sample"),
        ("wrong_token", "does not accept the token"),
        ("no_token", "does not accept users without a token"),
        ("hangs", "does not answer (no answer in time)"),
        ("gone", "does not answer (no connection)"),
        ("not_there", "does not answer (no connection)"),
    ],
)
def test_each_failure_is_one_clear_line_in_time(found: dict[str, Any], what: str, told: str) -> None:
    assert told in found[what]
    assert found[what].endswith("[in time]")
    assert "\n" not in found[what]
