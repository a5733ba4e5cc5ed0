"""Where an index is: a folder, or a collection of Milvus, which has a URL."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote_to_bytes, urlsplit

from index.errors import OptionError

PREFIX = "milvus+"
TOKEN = "FC7_MILVUS_TOKEN"
"""The variable of the environment that has the token: a command line is seen by everyone on the machine."""
PORT = 19530
FILE_COLLECTION = "photos"
"""The collection in a file of Milvus Lite."""
EXAMPLES = "milvus+http://HOST:19530/COLLECTION or milvus+file:///path/to/x.db"
# Milvus's own rule.
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


@dataclass(frozen=True, slots=True)
class MilvusPlace:
    """A collection of a Milvus server, or the one in a file of Milvus Lite."""

    uri: str
    """What pymilvus connects to: http://HOST:PORT, https://HOST:PORT, or the path of a file."""
    collection: str

    @classmethod
    def parse(cls, url: str) -> "MilvusPlace":
        """Read milvus+http://HOST:PORT/COLLECTION or milvus+file:///PATH.db. Raises OptionError for anything else."""
        try:
            parts = urlsplit(url.removeprefix(PREFIX))
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _wrong(url, str(error)) from error
        if not url.startswith(PREFIX) or parts.query or parts.fragment:
            raise _wrong(url, "it is no such URL")
        if parts.username is not None:
            # The secret is not repeated.
            raise OptionError(
                "the URL of an index has a user or a token in it, which everyone on the machine can see",
                hint=f"put it into the environment instead: {TOKEN}=USER:PASSWORD",
            )
        if parts.scheme == "file":
            path = unquote_to_bytes(parts.path).decode("utf-8", "surrogateescape")
            if host or not path.startswith("/") or "\0" in path or not path.endswith(".db"):
                raise _wrong(url, "a file needs an absolute path that ends in .db")
            return cls(path, FILE_COLLECTION)
        collection = parts.path.removeprefix("/")
        if parts.scheme not in ("http", "https"):
            raise _wrong(url, "what follows milvus+ is none of http, https and file")
        if not host:
            raise _wrong(url, "it has no host")
        if not _COLLECTION.fullmatch(collection):
            raise _wrong(url, f"a collection has a name of letters, digits and _, not {collection!r}")
        host = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{host}:{port or PORT}", collection)

    @property
    def is_file(self) -> bool:
        """Whether it is a file of Milvus Lite."""
        return self.uri.startswith("/")

    @property
    def server(self) -> str:
        """What messages call what answers there."""
        return f"Milvus Lite in {self.uri}" if self.is_file else f"Milvus at {self.uri}"

    def __str__(self) -> str:
        """The URL that `parse` takes."""
        if self.is_file:
            return f"{PREFIX}file://{quote(self.uri.encode('utf-8', 'surrogateescape'))}"
        return f"{PREFIX}{self.uri}/{self.collection}"


IndexLocation = Path | MilvusPlace
"""Where an index is."""
Consistency = Literal["strong", "bounded"]
"""Whether a search waits until it sees all that was written before it, or may miss what was written seconds ago."""
WriterConsistency = Literal["strong", "session"]
"""A writer waits until it sees all that was written, or at least all that it has written itself, which is quicker."""


def _wrong(url: str, reason: str) -> OptionError:
    return OptionError(f"{url} names no index in Milvus: {reason}", hint=f"write {EXAMPLES}")
