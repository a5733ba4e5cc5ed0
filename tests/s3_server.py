"""A real S3 server on loopback, for tests: that of moto, in an environment of its own.

Its packages do not go with those of fc7 (botocore needs an older python-dateutil). FC7_MOTO names its program; without
it, one is installed into build/ the first time, from the package index.
"""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

PACKAGES = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
PLACE = Path(__file__).parent.parent / "build" / "moto-5.2.5"
TIMEOUT = 300


def moto_server() -> str:
    """Return the program of the server; skips where it can be neither found nor installed."""
    if named := os.environ.get("FC7_MOTO"):
        return named
    PLACE.parent.mkdir(exist_ok=True)
    with open(PLACE.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = PLACE / "installed"
        if not installed.exists():
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
            for command in (
                [sys.executable, "-m", "venv", "--clear", "--without-pip", str(PLACE)],
                [*pip, "--python", str(PLACE / "bin/python"), "install", *PACKAGES],
            ):
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
                except subprocess.TimeoutExpired:
                    pytest.skip("moto could not be installed in time")
                if done.returncode:
                    pytest.skip(f"moto cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
            installed.touch()
    return str(PLACE / "bin/moto_server")


class S3Server:
    """A server with the bucket `photos`."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells clients where it is."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def put(self, key: str, data: bytes = b"") -> None:
        """Store an object of the bucket; without a key make the bucket."""
        self._send("PUT", key, data)

    def delete(self, key: str) -> None:
        self._send("DELETE", key, None)

    def _send(self, method: str, key: str, data: bytes | None) -> None:
        url = f"http://{self.address}/photos" + (f"/{quote(key)}" if key else "")
        # Of another type moto would wait for a form; it looks who it is, and not whether the signature is right.
        credential = "Credential=key/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none"
        headers = {"Content-Type": "application/octet-stream", "Authorization": f"AWS4-HMAC-SHA256 {credential}"}
        urlopen(Request(url, data, headers, method=method), timeout=60).close()


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """Start a server, with its log in a folder, and end it with the block."""
    program = moto_server()
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = S3Server(free.getsockname()[1])
    host, port = server.address.split(":")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-H", host, "-p", port], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                server.put("")
                break
            except OSError:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.2)
        yield server
    finally:
        process.kill()
        process.wait()
