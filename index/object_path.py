"""Paths of photos in object storage: s3://BUCKET/KEY and gs://BUCKET/KEY, beside those of files."""

import os
from pathlib import Path, PosixPath
from urllib.parse import quote

SCHEMES = ("s3", "gs")


class ObjectPath(PosixPath):
    """The URL of an object, or of what its keys have in common with others, with the operations of a path.

    It is absolute, and is stored, compared and shown as the URL that it is. It names no server and holds no key. What
    asks the file system about it learns that there is no such file: `retrieval/photos/object_storage.py` reads it.
    """

    def __str__(self) -> str:
        # A path takes two slashes for one.
        scheme, slash, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest}" if slash and scheme in SCHEMES else scheme + slash + rest

    def is_absolute(self) -> bool:
        """Return whether it begins with its scheme; what is relative to another does not."""
        return is_object_url(str(self))

    def as_uri(self) -> str:
        """Return it with the signs quoted that have a meaning in a URL."""
        return quote(str(self), safe=":/", errors="surrogateescape")

    @property
    def in_store(self) -> str:
        """Bucket and key, as clients of object storage take them."""
        return str(self).partition("://")[2]


def is_object_url(name: str) -> bool:
    """Tell whether a name is the URL of something in object storage."""
    scheme, slashes, rest = name.partition("://")
    return scheme in SCHEMES and bool(slashes and rest.strip("/"))


def as_path(name: str | bytes) -> Path:
    """Return the path that a name stands for, of a file or of an object."""
    text = os.fsdecode(name)
    return ObjectPath(text) if is_object_url(text) else Path(text)
