"""Fetches a file once: resumes where an earlier attempt stopped, and keeps only what has the SHA-256 expected."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from index.file_lock import lock
from retrieval.pipeline.progress import Progress
from training.errors import DownloadError

CHUNK = 1 << 16
TIMEOUT = 30.0
"""Seconds of silence after which a server is given up."""


def download(
    url: str,
    folder: Path,
    *,
    sha256: str,
    otherwise: str = "",
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> Path:
    """Return the file of that address in `folder`, fetched unless it lies there whole.

    `sha256` is the digest in hexadecimal or its beginning, `otherwise` a sentence on what to do without a network,
    `progress` counts bytes. Raises DownloadError.
    """
    target = folder / file_name(url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if not (target.is_file() and file_digest(target).startswith(sha256)):
                _fetch(url, target, sha256=sha256, otherwise=otherwise, progress=progress, timeout=timeout)
    except OSError as error:  # of the disk: those of the network are DownloadErrors already
        reason = error.strerror or error
        raise DownloadError(
            f"{target} cannot be written ({reason}); correct that and run the same command again"
        ) from error
    return target


def file_name(url: str) -> str:
    """Return the last part of an http address. Raises DownloadError if it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    name = PurePosixPath(parts.path).name
    if parts.scheme not in ("http", "https") or not parts.hostname or not name.strip("."):
        raise DownloadError(f"{url} is not the address of a file; it begins with https:// and ends with a file's name")
    return name


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time fetch the file; two would write into the same part of it."""
    with target.with_name(f".{target.name}.lock").open("a") as file:
        if not lock(file):
            raise DownloadError(
                f"another fc7 is fetching {target.name}; run the same command again when that has ended"
            )
        yield


def _fetch(url: str, target: Path, *, sha256: str, otherwise: str, progress: Progress | None, timeout: float) -> None:
    part = target.with_name(f"{target.name}.part")
    # Beside the part lies what its server called this version of the file.
    version = target.with_name(f"{part.name}.version")
    with part.open("ab") as file:
        known = version.read_text("utf-8") if version.is_file() else ""
        with _network(url, otherwise, kept=file.tell()):
            answer, done = _ask(url, done=file.tell(), version=known, timeout=timeout)
        with answer:
            if not done:
                file.truncate(0)
                version.write_text(_version(answer), "utf-8")
            total = done + (answer.length or 0)
            while True:
                with _network(url, otherwise, kept=done):
                    chunk = answer.read(CHUNK)
                    if not chunk and done < total:
                        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, max(total, done))
    found = file_digest(part)
    version.unlink(missing_ok=True)
    if not found.startswith(sha256):
        part.unlink()
        raise DownloadError(
            f"what came from {url} is not the file expected: its SHA-256 begins with {found[: len(sha256)]}, not with "
            f"{sha256}. It was deleted; run the same command again, or with the address of another mirror"
        )
    part.replace(target)


def _ask(url: str, *, done: int, version: str, timeout: float) -> tuple[HTTPResponse, int]:
    """Return a server's answer, and at which byte of the file it begins: at `done`, or at 0 for the whole file."""
    headers = {"User-Agent": "fc7", "Accept-Encoding": "identity"}
    if done and version:
        # If the file is another by now, If-Range makes the server send all of it (RFC 9110, section 13.1.5).
        ranged = Request(url, headers={**headers, "Range": f"bytes={done}-", "If-Range": version})
        try:
            answer: HTTPResponse = urlopen(ranged, timeout=timeout)
            if answer.status != HTTPStatus.PARTIAL_CONTENT:
                return answer, 0
            begin = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if begin and int(begin[1]) == done:
                return answer, done
            answer.close()
        except HTTPError as error:
            error.close()
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
    return urlopen(Request(url, headers=headers), timeout=timeout), 0


def _version(answer: HTTPResponse) -> str:
    """Return what If-Range may name: a strong ETag, else the time of the last change, else nothing."""
    tag: str = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


@contextmanager
def _network(url: str, otherwise: str, *, kept: int = 0) -> Iterator[None]:
    """Turn whatever goes wrong on the way to the server into a DownloadError."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise DownloadError(_sentences(f"{url}: the server answers {error.code} {error.reason}", otherwise)) from error
    except UnicodeError as error:  # of ASCII for the path, of IDNA for the host
        raise DownloadError(
            f"{url} cannot be asked for; correct its host, each part of which has 1 to 63 letters, "
            "or percent-encode the letters of its path that are not ASCII (é is %C3%A9)"
        ) from error
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        reason = getattr(cause, "strerror", None) or cause
        resume = "What came so far is kept: the same command resumes it" if kept else ""
        raise DownloadError(_sentences(f"{url} cannot be fetched: {reason}", resume, otherwise)) from error


def _sentences(*parts: str) -> str:
    return ". ".join(part for part in parts if part)
