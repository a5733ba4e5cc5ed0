"""A real server on loopback, in a thread, for the tests of `web/`."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from typing import Any

import uvicorn
from fastapi import FastAPI

from web.app import create_app
from web.settings import Settings

BOUNDARY = "----fc7-boundary"
File = tuple[str, str, bytes]
"""Name of the field, name of the file, and its bytes."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    port: int
    app: FastAPI

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(
        self,
        path: str,
        fields: Sequence[tuple[str, object]] = (),
        files: Sequence[File] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.request("POST", path, multipart(fields, files), {"content-type": kind, **(headers or {})})

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            skipped = {"skip_host": True} if "host" in (headers or {}) else {}
            connection.putrequest(method, path, **skipped)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None and "content-length" not in (headers or {}):
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def raw(self, data: bytes, *, seconds: float = 30) -> bytes:
        """Send bytes as they are, and return all that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return received


def multipart(fields: Sequence[tuple[str, object]], files: Sequence[File]) -> bytes:
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields]
    for field, name, data in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
        parts.append(head.encode("utf-8", "surrogateescape") + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    """Serve an index until the block ends, which is a clean shutdown."""
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=20, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.02)
            assert server.started
            yield Served(listening.getsockname()[1], app)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
