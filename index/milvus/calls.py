"""Calls of a Milvus server: each with a timeout, repeated while it does not answer, each failure one clear sentence.

Every call that fc7 makes may be repeated: rows are put and removed by ids of our own, and a collection that is there
already is not made again. So a call whose answer was lost is made again, a limited time.
"""

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from index.errors import (
    IndexLockedError,
    IndexNotFoundError,
    IndexStorageError,
    IndexUnreachableError,
    MissingPackageError,
)
from index.file_lock import lock
from index.milvus.place import TOKEN, MilvusPlace

if TYPE_CHECKING:
    from pymilvus import MilvusClient

Result = TypeVar("Result")

TIMEOUT = 10.0
"""Seconds that a server has for an answer."""
LONG_TIMEOUT = 120.0
"""Seconds for what takes a server long: to load a collection, to write all to its disk."""
PATIENCE = 5.0
"""Seconds that a reader's calls are repeated after the first failure; a person waits for the answer."""
WRITING_PATIENCE = 60.0
"""The same for a writer: a server that is started again takes some ten seconds."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

# Milvus's numbers (pkg/util/merr): unavailable, too many requests, no room in a queue, rate limit;
# collection not loaded yet, or recovering; no channel, no node.
_PASSING = {2, 4, 5, 8, 9, 101, 103, 104, 106, 201, 202, 500, 501, 502, 503, 901, 902, 903, 904, 905}
# What older servers, whose only number for these is 65535, say instead.
_PASSING_WORDS = (
    *("not ready", "not loaded", "recovering", "no available shard", "channel not available", "node not found"),
    *("offline", "please retry", "not enough", "is lack"),
)
_NO_COLLECTION = 100
_NO_CONNECTION = 2  # pymilvus's own number

_opened = Counter[str]()
_opening = Lock()


def require_pymilvus(place: MilvusPlace) -> None:
    """Raise MissingPackageError where what an index in Milvus needs is not installed."""
    needed = ["pymilvus", *(["milvus_lite"] if place.is_file else [])]
    for package in needed:
        if find_spec(package) is None:
            name = package.replace("_", "-")
            raise MissingPackageError(
                f"an index in Milvus needs {name}, which is not installed", hint="run `pip install 'fc7[milvus]'`"
            )


class Calls:
    """A connection to the Milvus of one place; `patience` are the seconds that calls are repeated in."""

    def __init__(self, place: MilvusPlace, *, patience: float = PATIENCE, timeout: float = TIMEOUT) -> None:
        """Connect. Raises MissingPackageError, IndexUnreachableError, IndexLockedError and IndexStorageError."""
        require_pymilvus(place)
        self.place = place
        self._patience, self._timeout = patience, timeout
        self._closed = False
        # What goes wrong is told by the errors below; these log it too, with a traceback, and gRPC on standard error.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        import pymilvus  # noqa: F401  (it sets the level of its log when it is imported)

        for name in ("pymilvus", "milvus_lite", "grpc"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._client: MilvusClient = self._repeated(self._connect)

    def __call__(self, method: str, *arguments: Any, long: bool = False, **options: Any) -> Any:
        """Call a method of MilvusClient, which may be repeated. Raises IndexUnreachableError and IndexNotFoundError."""
        timeout = LONG_TIMEOUT if long else self._timeout
        return self._repeated(lambda: getattr(self._client, method)(*arguments, timeout=timeout, **options))

    def close(self) -> None:
        """Close the connection, and the file of Milvus Lite when no other has it open; a second time does nothing."""
        self._client.close()
        if self.place.is_file and not self._closed:
            from milvus_lite.server_manager import server_manager_instance

            with _opening:
                _opened[self.place.uri] -= 1
                if not _opened[self.place.uri]:
                    server_manager_instance.release_server(self.place.uri)
        self._closed = True

    def _connect(self) -> "MilvusClient":
        from pymilvus import MilvusClient

        if not self.place.is_file:
            return MilvusClient(self.place.uri, token=os.environ.get(TOKEN, ""), timeout=self._timeout)
        with _opening:
            if not _opened[self.place.uri]:
                _check_file(self.place)
            client = MilvusClient(self.place.uri, timeout=self._timeout)
            _opened[self.place.uri] += 1
            return client

    def _repeated(self, call: Callable[[], Result]) -> Result:
        import grpc
        from pymilvus.exceptions import MilvusException

        pauses, begun = _pauses(), time.monotonic()
        while True:
            try:
                return call()
            except (MilvusException, grpc.RpcError) as error:
                reason = _reason(error)
                self._check_permanent(error, reason)
                pause = next(pauses)
                if not _passes(error) or time.monotonic() - begun + pause > self._patience:
                    raise self._told(error, reason) from error
                time.sleep(pause)

    def _check_permanent(self, error: Exception, reason: str) -> None:
        """Raise what no retry can repair."""
        if _grpc_status(error) in ("UNAUTHENTICATED", "PERMISSION_DENIED") or "auth check failure" in reason:
            whom = "the token" if os.environ.get(TOKEN) else "users without a token"
            raise IndexUnreachableError(
                f"{self.place.server} does not accept {whom}",
                hint=f"set {TOKEN}=USER:PASSWORD, or to an API key, in the environment",
            ) from error
        if getattr(error, "code", None) == _NO_COLLECTION:
            raise not_there(self.place) from error

    def _told(self, error: Exception, reason: str) -> IndexUnreachableError:
        if _passes(error):
            return IndexUnreachableError(
                f"{self.place.server} does not answer ({reason})",
                hint="check that it runs, and the host and port of the URL; what was stored is kept",
            )
        return IndexUnreachableError(
            f"{self.place.server} refuses what it was asked ({reason})",
            hint="docs/scale.md says which versions of Milvus are tested",
        )


def not_there(place: MilvusPlace) -> IndexNotFoundError:
    """Return the error for a collection that there is not."""
    what = place.uri if place.is_file else f"collection {place.collection} in {place.server}"
    return IndexNotFoundError(
        f"There is no index in {what}" if place.is_file else f"There is no {what}",
        hint=f"copy one there with `fc7 push --to {place}`, or make one with `fc7 index FOLDER --index {place}`",
    )


def holds_anything(place: MilvusPlace) -> bool:
    """Whether there is a file of Milvus Lite, or anything else in its place."""
    with suppress(OSError):  # what cannot be looked at is told by `Calls`
        return os.path.lexists(place.uri) and (not os.path.isdir(place.uri) or bool(os.listdir(place.uri)))
    return True


def _check_file(place: MilvusPlace) -> None:
    """Raise what pymilvus would not say of a file of Milvus Lite, which is really a folder."""
    folder = Path(place.uri)
    try:
        if not folder.parent.is_dir():
            raise IndexStorageError(f"{folder.parent} is not a folder", hint="name a file in a folder that is there")
        lock_file = folder / "LOCK"
        if os.path.lexists(folder) and (not folder.is_dir() or (any(folder.iterdir()) and not lock_file.exists())):
            raise IndexStorageError(f"{folder} is not of Milvus Lite", hint="name another file that ends in .db")
        if lock_file.exists():
            with lock_file.open("rb+") as file:
                if not lock(file):
                    raise IndexLockedError(
                        f"{folder} is in use by another program",
                        hint="run the same command again later; a server of Milvus serves many programs at a time",
                    )
    except OSError as error:
        raise IndexStorageError(
            f"{folder} cannot be read or written ({error.strerror})", hint="check its permissions, or name another file"
        ) from error


def _pauses() -> Iterator[float]:
    """Yield pauses that double, each shortened or lengthened by chance, so that many clients do not come at once."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)
        pause = min(2 * pause, LONGEST_PAUSE)


def _passes(error: Exception) -> bool:
    """Tell whether a failure may be gone in a moment."""
    if _grpc_status(error) in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"):
        return True
    code = getattr(error, "code", None)
    text = str(getattr(error, "message", "")).lower()
    return code in _PASSING or any(words in text for words in _PASSING_WORDS)


def _grpc_status(error: BaseException) -> str:
    """Return the name of the gRPC status that an error has or was caused by, "" for none."""
    found: BaseException | None = error
    for _ in range(5):
        code = getattr(found, "code", None)
        status = code() if callable(code) else code
        if (name := getattr(status, "name", None)) and type(status).__module__.startswith("grpc"):
            return str(name)
        found = found and found.__cause__
    return ""


def _reason(error: Exception) -> str:
    """Return what an error says in a few words."""
    status = _grpc_status(error)
    if status == "DEADLINE_EXCEEDED":
        return "no answer in time"
    if status == "UNAVAILABLE" or getattr(error, "code", None) == _NO_CONNECTION:
        return "no connection"
    message = str(getattr(error, "message", "") or error)
    return " ".join(message.split())[:200]
