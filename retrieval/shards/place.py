"""A folder of files that several machines may share: local, or in object storage (s3://, gs://)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from index.errors import MissingPackageError, ShardError
from index.files import absolute, replacing

SCHEMES = ("s3", "gs", "gcs")
_SECONDS = 30
"""After which a store that does not answer counts as unreachable."""
_REASONS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "bucket not found": "there is no such bucket",
    "ACCESS_DENIED": "access is denied",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "NETWORK_CONNECTION": "it does not answer",
    "REQUEST_TIMEOUT": "it does not answer",
    "curlCode": "it does not answer",
}


def is_url(name: str) -> bool:
    """Tell whether a name is that of a place in object storage."""
    return name.partition("://")[0] in SCHEMES and "://" in name


def require_pyarrow() -> None:
    """Raise MissingPackageError where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingPackageError("Shards need pyarrow: pip install 'fc7[parquet]'") from None


class ShardPlace:
    """A folder, by its absolute path, or by a URL that pyarrow knows; see `FileSystem.from_uri` of pyarrow.

    Another server than Amazon's is named in the URL: s3://BUCKET/FOLDER?endpoint_override=HOST:PORT&scheme=http.
    Keys are taken from where Amazon's and Google's own programs take them. All methods raise ShardError, also for a
    name that is none.
    """

    def __init__(self, named: str) -> None:
        scheme, slashes, rest = named.partition("://")
        if not named or (slashes and (scheme not in SCHEMES or not re.split(r"[/?]", rest)[0])):
            raise ShardError(
                f"{_without_keys(named)!r} is no place for embeddings",
                hint="name a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER",
            )
        self.named = named if is_url(named) else absolute(Path(named))
        self.shown = _without_keys(named) if is_url(named) else self.named

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system, which other machines may share."""
        return not is_url(self.named)

    def prepare(self) -> None:
        """Make the folder where there is none, and raise ShardError where that cannot be: no such bucket, no rights."""
        import pyarrow.fs

        with self._errors("used"):
            if self.is_local:
                Path(self.named).mkdir(parents=True, exist_ok=True)
                return
            system, folder = self._system()
            bucket = system.get_file_info(folder.partition("/")[0])
            if bucket.type == pyarrow.fs.FileType.NotFound:
                raise FileNotFoundError("bucket not found")

    def names(self) -> list[str]:
        """List the names of the files in it, sorted, those in folders below it left out."""
        import pyarrow.fs

        system, folder = self._system()
        with self._errors("read"):
            # Where there is no such folder in a bucket, it is as empty as one that was just made.
            selector = pyarrow.fs.FileSelector(folder, allow_not_found=not self.is_local and "/" in folder.strip("/"))
            found = system.get_file_info(selector)
        return sorted(info.base_name for info in found if info.is_file)

    def open(self, name: str) -> Any:
        """Open a file for reading, as pyarrow's readers take it."""
        system, folder = self._system()
        with self._errors("read", name):
            return system.open_input_file(f"{folder}/{name}")

    def write(self, name: str, data: Any) -> None:
        """Write a file, whole or not at all; one of the same name is replaced."""
        with self._errors("written to", name):
            if self.is_local:
                with replacing(Path(self.named) / name) as file:
                    file.write(data)
                return
            system, folder = self._system()
            # An object is there when its upload has ended, and not before.
            with system.open_output_stream(f"{folder}/{name}") as stream:
                stream.write(data)

    def remove(self, name: str) -> None:
        """Remove a file."""
        system, folder = self._system()
        with self._errors("written to", name):
            system.delete_file(f"{folder}/{name}")

    def _system(self) -> tuple[Any, str]:
        with self._errors("used"):
            return _file_system(self.named)

    @contextmanager
    def _errors(self, doing: str, name: str = "") -> Iterator[None]:
        import pyarrow

        try:
            yield
        except (OSError, pyarrow.ArrowException, ValueError) as error:
            thing = f"{self.shown.rstrip('/')}/{name}" if name else self.shown
            raise ShardError(f"{thing} cannot be {doing}: {reason_of(error)}") from error


@lru_cache(maxsize=16)
def _file_system(named: str) -> tuple[Any, str]:
    import pyarrow.fs

    if not is_url(named):
        return pyarrow.fs.LocalFileSystem(), named
    url = urlsplit(named)
    if url.scheme in ("gs", "gcs") and "retry_limit_seconds" not in url.query:
        named += ("&" if url.query else "?") + f"retry_limit_seconds={_SECONDS}"
    system, folder = pyarrow.fs.FileSystem.from_uri(named)
    return system, folder.rstrip("/")


def reason_of(error: BaseException) -> str:
    """Return what an error of pyarrow says, in a few words."""
    text = " ".join(str(error).split())
    known = next((reason for sign, reason in _REASONS.items() if sign in text), None)
    if known is not None:
        return known
    if isinstance(error, OSError) and error.strerror and not text.startswith("When "):
        return re.sub(r"^\[Errno \d+\] ", "", error.strerror).lower()
    return re.sub(r"^\[Errno \d+\] ", "", text)[:200] or type(error).__name__


def _without_keys(url: str) -> str:
    """Return a URL without what may hold keys: what comes before an @ or after a question mark."""
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])
