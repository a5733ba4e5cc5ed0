"""A folder of files that several machines may share: local, or in object storage (s3://, gs://)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from index.errors import ShardError
from index.files import absolute, replacing
from index.object_path import SCHEMES, is_object_url
from retrieval.photos.object_storage import file_system, reason_of, store_errors


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
        self.named = named if is_object_url(named) else absolute(Path(named))
        self.shown = _without_keys(named) if is_object_url(named) else self.named

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system, which other machines may share."""
        return not is_object_url(self.named)

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
        if self.is_local:
            import pyarrow.fs

            return pyarrow.fs.LocalFileSystem(), self.named
        with self._errors("used"):
            return file_system(self.named)

    @contextmanager
    def _errors(self, doing: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except store_errors() as error:
            thing = f"{self.shown.rstrip('/')}/{name}" if name else self.shown
            reason = reason_of(error)
            if "Cannot parse URI" in reason:
                # pyarrow repeats the URL, with its keys.
                raise ShardError(f"{thing} cannot be {doing}: it is no URL; keys in one need %2F for /") from None
            raise ShardError(f"{thing} cannot be {doing}: {reason}") from error


def _without_keys(url: str) -> str:
    """Return a URL without what may hold keys: what comes before an @ or after a question mark.

    A bucket has no colon: one there comes before a secret key, in which there may be a slash.
    """
    return re.sub(r"//([^/@]*@|[^/@]*:.*@)", "//", url.partition("?")[0])
