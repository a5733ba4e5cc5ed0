"""A real web server on loopback that serves one file, as well or as badly as a test asks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class ServedFile:
    """What is served, and how; `requests` are the headers of each request so far."""

    content: bytes
    name: str
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    cut: int | None = None
    """Bytes after which the connection is closed."""
    chunked: bool = False
    status: int | None = None
    shift: int = 0
    """By how much the answer to a range begins too late."""
    redirect: bool = False
    stalled: Event | None = None
    """Waited for before the second half of the body."""
    requests: list[Message] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(served: ServedFile) -> Iterator[ServedFile]:
    """Serve the file at `served.url` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append(self.headers)
            self.close_connection = True
            if served.redirect and self.path.startswith("/old/"):
                self._head(302, {"Location": self.path.removeprefix("/old"), "Content-Length": "0"})
            elif served.status is not None:
                self._head(served.status, {"Content-Length": "0"})
            else:
                self._serve()

        def _serve(self) -> None:
            content, status = served.content, 200
            validators = {"ETag": served.etag, "Last-Modified": served.modified}
            headers = {name: value for name, value in validators.items() if value}
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if wanted and served.ranges and self.headers["If-Range"] in validators.values():
                begin = int(wanted[1])
                if begin >= len(content):
                    self._head(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                    return
                begin += served.shift
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                content, status = content[begin:], 206
            if served.chunked:
                self._head(status, {**headers, "Transfer-Encoding": "chunked"})
                content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
            else:
                self._head(status, {**headers, "Content-Length": str(len(content))})
            if served.cut is not None:
                content = content[: served.cut]
            half = len(content) // 2
            self.wfile.write(content[:half])
            if served.stalled is not None:
                served.stalled.wait(60)
            self.wfile.write(content[half:])

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *message: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/{'old/' * served.redirect}{served.name}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            if served.stalled is not None:
                served.stalled.set()
            server.shutdown()
            thread.join()
