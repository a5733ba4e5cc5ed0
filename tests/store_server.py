"""Real servers of object storage on loopback, for tests: moto's for S3, and an emulator of Google's.

Their packages lie in environments of their own: botocore does not go with those of fc7 (it needs an older
python-dateutil). FC7_MOTO and FC7_GCS_EMULATOR name their programs; without these, they are installed into build/ the
first time, from the package index.
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

MOTO = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
EMULATOR = ("gcp-storage-emulator==2026.7.19", "google-crc32c==1.9.0")
BUILD = Path(__file__).parent.parent / "build"
TIMEOUT = 300


def program_of(variable: str, place: Path, packages: tuple[str, ...], name: str) -> str:
    """Return the program of a server; skips where it can be neither found nor installed."""
    if named := os.environ.get(variable):
        return named
    place.parent.mkdir(exist_ok=True)
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = place / "installed"
        if not installed.exists():
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
            for command in (
                [sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)],
                [*pip, "--python", str(place / "bin/python"), "install", *packages],
            ):
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
                except subprocess.TimeoutExpired:
                    pytest.skip(f"{name} could not be installed in time")
                if done.returncode:
                    pytest.skip(f"{name} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
            installed.touch()
    return str(place / "bin" / name)


class StoreServer:
    """A server with the bucket `photos`, whose URLs begin with `scheme`."""

    scheme: str
    endpoint: str
    """The variable of the environment that tells clients where it is."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def command(self) -> list[str]:
        """Return the command that starts it."""
        raise NotImplementedError

    def put(self, key: str, data: bytes = b"") -> None:
        """Store an object of the bucket; without a key make the bucket."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        """What tells clients where it is, and their keys."""
        return {self.endpoint: f"http://{self.address}"}

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> None:
        # Of another type moto would wait for a form.
        headers = {"Content-Type": "application/octet-stream", **headers}
        urlopen(Request(f"http://{self.address}/{path}", data, headers, method=method), timeout=60).close()


class S3Server(StoreServer):
    """That of moto."""

    scheme, endpoint = "s3", "AWS_ENDPOINT_URL"
    # It looks who it is, and not whether the signature is right.
    _credential = "Credential=key/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none"

    def command(self) -> list[str]:
        host, port = self.address.split(":")
        return [program_of("FC7_MOTO", BUILD / "moto-5.2.5", MOTO, "moto_server"), "-H", host, "-p", port]

    @property
    def environment(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        return {**super().environment, **keys}

    def put(self, key: str, data: bytes = b"") -> None:
        self._object("PUT", key, data)

    def delete(self, key: str) -> None:
        self._object("DELETE", key, None)

    def _object(self, method: str, key: str, data: bytes | None) -> None:
        path = "photos" + (f"/{quote(key)}" if key else "")
        self._send(method, path, data, {"Authorization": f"AWS4-HMAC-SHA256 {self._credential}"})


class GoogleServer(StoreServer):
    """The emulator gcp-storage-emulator."""

    scheme, endpoint = "gs", "CLOUD_STORAGE_EMULATOR_ENDPOINT"

    def command(self) -> list[str]:
        host, port = self.address.split(":")
        place = BUILD / "gcp-storage-emulator-2026.7.19"
        program = program_of("FC7_GCS_EMULATOR", place, EMULATOR, "gcp-storage-emulator")
        return [program, "start", "--host", host, "--port", port, "--in-memory", "--default-bucket", "photos"]

    def put(self, key: str, data: bytes = b"") -> None:
        if key:
            self._send("POST", f"upload/storage/v1/b/photos/o?uploadType=media&name={quote(key, safe='')}", data, {})
        else:
            self._send("GET", "storage/v1/b/photos", None, {})  # it has been made

    def delete(self, key: str) -> None:
        self._send("DELETE", f"storage/v1/b/photos/o/{quote(key, safe='')}", None, {})


SERVERS = {kind.scheme: kind for kind in (S3Server, GoogleServer)}


@contextmanager
def running(folder: Path, scheme: str = "s3") -> Iterator[StoreServer]:
    """Start a server, with its log in a folder, and end it with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = SERVERS[scheme](free.getsockname()[1])
    command = server.command()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
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
