"""Object storage (S3, Google Cloud Storage) through pyarrow: what it holds, and the photos in it.

Server and keys are those that Amazon's and Google's own programs take: AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE,
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws; GOOGLE_APPLICATION_CREDENTIALS, CLOUD_STORAGE_EMULATOR_ENDPOINT.
"""

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from index.errors import MissingPackageError, PhotoError
from index.object_path import ObjectPath
from index.records import FileStamp

SECONDS = 30
"""After which a store that does not answer counts as unreachable."""
CONNECT_SECONDS = 10
READERS = 16
"""Objects that are read at the same time: each takes four requests, and a request tens of milliseconds."""
_SECOND = 1_000_000_000
_REASONS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "bucket not found": "there is no such bucket",
    "ACCESS_DENIED": "access is denied",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "NETWORK_CONNECTION": "it does not answer",
    "REQUEST_TIMEOUT": "it does not answer",
    "curlCode": "it does not answer",
    "OAuth2 access token": "there are no keys for Google Cloud",
    "PERMISSION_DENIED": "access is denied",
    "UNAUTHENTICATED": "the keys are not accepted",
}
_EMULATOR = "CLOUD_STORAGE_EMULATOR_ENDPOINT"


def require_pyarrow() -> None:
    """Raise MissingPackageError where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingPackageError("Shards and object storage need pyarrow: pip install 'fc7[parquet]'") from None


@lru_cache(maxsize=16)
def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of pyarrow for a URL, and the place in it. Raises OSError, ArrowException, ValueError."""
    import pyarrow.fs

    parts = urlsplit(url)
    if parts.scheme == "gs":
        if os.environ.get(_EMULATOR) and "@" not in parts.netloc:
            # Google's other clients send no keys to an emulator either.
            url = f"gs://anonymous@{url.removeprefix('gs://')}"
        if "retry_limit_seconds" not in parts.query:
            url += ("&" if parts.query else "?") + f"retry_limit_seconds={SECONDS}"
    system, folder = pyarrow.fs.FileSystem.from_uri(url)
    if parts.scheme == "s3":
        # A URL cannot name these, and three seconds, which are usual, are little for a busy server.
        made, [options] = system.__reduce__()
        system = made({**options, "connect_timeout": CONNECT_SECONDS, "request_timeout": SECONDS})
    return system, folder.rstrip("/")


def store_errors() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises."""
    import pyarrow

    return (OSError, pyarrow.ArrowException, ValueError)


def reason_of(error: BaseException) -> str:
    """Return what an error of pyarrow says, in a few words."""
    text = " ".join(str(error).split())
    known = next((reason for sign, reason in _REASONS.items() if sign in text), None)
    if known is not None:
        return known
    if isinstance(error, OSError) and error.strerror and not text.startswith("When "):
        return re.sub(r"^\[Errno \d+\] ", "", error.strerror).lower()
    return re.sub(r"^\[Errno \d+\] ", "", text)[:200] or type(error).__name__


def read_object(path: ObjectPath) -> tuple[bytes, FileStamp, FileStamp]:
    """Return the bytes of an object, and its stamp before and after they were read. Raises PhotoError."""
    from retrieval.photos.files import check_size

    before = _stamps([path])[0]
    if before is None:
        raise PhotoError("no such object")
    check_size(before.size)
    try:
        with _system(path).open_input_file(path.in_store) as file:
            data = file.read()
    except store_errors() as error:
        raise PhotoError(reason_of(error)) from error
    return data, before, _stamps([path])[0] or FileStamp(-1, 0)


def object_stamps(paths: Sequence[ObjectPath]) -> list[FileStamp | None]:
    """Return the stamps of objects as they are now, None where one is not there or cannot be looked at."""
    try:
        return _stamps(paths)
    except (PhotoError, MissingPackageError):
        return [None] * len(paths)


def listed_objects(folder: ObjectPath) -> Iterator[tuple[str, FileStamp]]:
    """Yield the key of each object below a folder, relative to it, with its stamp.

    Times are full seconds: a listing may have them finer than the object itself. Raises PhotoError and
    MissingPackageError.
    """
    require_pyarrow()
    import pyarrow.fs

    below = folder.in_store.rstrip("/") + "/"
    try:
        found = _system(folder).get_file_info(
            pyarrow.fs.FileSelector(below, allow_not_found="/" in below[:-1], recursive=True)
        )
    except store_errors() as error:
        raise PhotoError(reason_of(error)) from error
    for info in found:
        if info.is_file:
            yield info.path.removeprefix(below), _stamp(info)


def why_no_folder(folder: ObjectPath) -> str:
    """Return why nothing can be found below a URL, in a few words; nothing where something is there.

    Raises MissingPackageError.
    """
    require_pyarrow()
    import pyarrow.fs

    try:
        system, place = _system(folder), folder.in_store.rstrip("/")
        bucket, found = system.get_file_info([place.partition("/")[0], place])
    except store_errors() as error:
        return reason_of(error)
    if bucket.type == pyarrow.fs.FileType.NotFound:
        return "there is no such bucket"
    if found.type == pyarrow.fs.FileType.File:
        return "it is an object and no folder"
    return "" if found.type == pyarrow.fs.FileType.Directory else "there is nothing below it"


def is_object_folder(folder: ObjectPath) -> bool:
    """Tell whether something lies below a URL, as far as can be seen."""
    try:
        return not why_no_folder(folder)
    except MissingPackageError:
        return False


def _system(path: Path) -> Any:
    scheme, _, rest = str(path).partition("://")
    bucket = rest.partition("/")[0]
    if re.search("[@:?]", bucket):  # pyarrow would take what is before or behind for keys or a server
        raise ValueError("server and keys are those of the environment, and not in a URL")
    return file_system(f"{scheme}://{bucket}")[0]


def _stamps(paths: Sequence[ObjectPath]) -> list[FileStamp | None]:
    require_pyarrow()
    stamps: dict[ObjectPath, FileStamp | None] = {}
    buckets: dict[str, list[ObjectPath]] = {}
    for path in paths:
        buckets.setdefault(path.parts[1], []).append(path)
    try:
        for several in buckets.values():
            # One call: pyarrow asks for many at the same time.
            found = _system(several[0]).get_file_info([path.in_store for path in several])
            stamps |= {path: _stamp(info) if info.is_file else None for path, info in zip(several, found, strict=True)}
    except store_errors() as error:
        raise PhotoError(reason_of(error)) from error
    return [stamps[path] for path in paths]


def _stamp(info: Any) -> FileStamp:
    return FileStamp(info.size, (info.mtime_ns or 0) // _SECOND * _SECOND)
