"""Pictures decoded in processes of their own: one that hangs or grows is ended, and the server lives on.

Nothing that is uploaded is stored.
"""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as DecodeTimeoutError
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from index.errors import OutOfMemoryError, PhotoError, UserError
from retrieval.models.spec import ModelSpec, ResizeMode
from retrieval.searching.query import Box

if TYPE_CHECKING:
    from retrieval.photos.previews import Previews

WORKERS = 2
TASKS_OF_A_PROCESS = 500
"""After so many pictures a process is replaced, with whatever its decoders did not free."""
SPARE = 4
"""How many times as large as it is looked at a picture may travel between processes."""
Source = bytes | Path


@dataclass(frozen=True)
class Failure:
    """Why a picture gave nothing; errors travel between processes as words."""

    message: str
    for_now: bool = False


@dataclass(frozen=True)
class Preparation:
    """How pictures are prepared for a network: see `ModelSpec`."""

    resize: int
    crop: int
    mode: ResizeMode

    @classmethod
    def of(cls, spec: ModelSpec) -> "Preparation":
        """Return that of a model."""
        return cls(spec.resize, spec.crop, spec.resize_mode)


class Decoder:
    """A few processes that decode; `close` ends them."""

    def __init__(self, *, max_pixels: int, seconds: float, previews: Path | None = None) -> None:
        self._max_pixels, self._previews = max_pixels, previews
        self._seconds = seconds
        # Work of one kind waits for its own kind, so that a search does not wait for all the thumbnails of a page.
        self._turns = {work: asyncio.Semaphore(WORKERS) for work in (prepare, encode, picture, facts)}
        # Not forked: the server has threads.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(max_workers=WORKERS, max_tasks=TASKS_OF_A_PROCESS, context=context, initializer=begin)
        self._pool.schedule(begin)  # the processes are started now, not by the first picture

    async def prepare(self, source: Source, preparation: Preparation, box: Box | None = None) -> NDArray[np.uint8]:
        """Decode a picture, or a region of it, to pixels (crop, crop, 3). Raises PhotoError, also after too long."""
        pixels: NDArray[np.uint8] = await self._run(prepare, source, preparation, box, self._max_pixels)
        return pixels

    async def jpeg(
        self, source: Source, side: int, *, keep: bool = False, gone: Callable[[], Awaitable[bool]] | None = None
    ) -> bytes:
        """Encode a picture again: upright, without metadata, its longer side at most `side`. Raises PhotoError.

        What is to be kept is encoded once: see `Previews`. `gone` tells whether nobody waits for it any more.
        """
        wanted = self._previews if keep else None
        if wanted is not None and isinstance(source, Path):
            kept = await asyncio.to_thread(self._kept, wanted, source, side)
            if kept is not None:
                return kept
        data: bytes = await self._run(encode, source, side, self._max_pixels, wanted, gone=gone)
        return data

    async def picture(self, source: Source, side: int) -> tuple[NDArray[np.uint8], int, int]:
        """Decode a picture to (height, width, 3), its shorter side at most four times `side`.

        With it come width and height of the whole picture. Raises PhotoError.
        """
        found: tuple[NDArray[np.uint8], int, int] = await self._run(picture, source, side, self._max_pixels)
        return found

    async def facts(self, source: Source) -> dict[str, str]:
        """Read what the camera wrote beside a picture."""
        found: dict[str, str] = await self._run(facts, source)
        return found

    async def _run(
        self, work: Callable[..., Any], *arguments: object, gone: Callable[[], Awaitable[bool]] | None = None
    ) -> Any:
        try:
            async with self._turns[work]:
                if gone is not None and await gone():
                    raise PhotoError("nobody waits for the picture")
                future = self._pool.schedule(attempt, args=[work, *arguments], timeout=self._seconds)
                result = await asyncio.wrap_future(future)
        except DecodeTimeoutError:
            raise PhotoError(f"the picture takes more than {self._seconds:g} seconds to decode") from None
        except ProcessExpired:
            raise PhotoError("the picture cannot be decoded") from None
        if isinstance(result, Failure):
            raise OutOfMemoryError if result.for_now else PhotoError(result.message)
        return result

    def _kept(self, previews: Path, source: Path, side: int) -> bytes | None:
        return _previews(previews, self._max_pixels).kept(source, side)

    def close(self) -> None:
        """End the processes, with what they are doing."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join(timeout=10)


def begin() -> None:
    """Load what decodes, in a process that is new: it does not count as time that a picture takes."""
    import retrieval.photos.camera_facts
    import retrieval.photos.decode
    import retrieval.photos.preprocess
    import retrieval.searching.query  # noqa: F401


def attempt(work: Callable[..., Any], *arguments: object) -> Any:
    """Return what work returns, or a Failure; runs in a process of its own, as all below."""
    try:
        return work(*arguments)
    except OutOfMemoryError as error:
        return Failure(str(error), for_now=True)
    except UserError as error:
        return Failure(str(error))


def prepare(source: Source, preparation: Preparation, box: Box | None, max_pixels: int) -> NDArray[np.uint8]:
    """See `Decoder.prepare`."""
    from retrieval.photos import preprocess
    from retrieval.photos.decode import load_photo
    from retrieval.searching.query import region

    photo = load_photo(source, shorter_side=None if box else preparation.resize, max_pixels=max_pixels)
    image = photo.image if box is None else region(photo, box, "the photo")
    return preprocess.prepare(image, resize=preparation.resize, crop=preparation.crop, mode=preparation.mode)


def encode(source: Source, side: int, max_pixels: int, previews: Path | None) -> bytes:
    """See `Decoder.jpeg`."""
    return _previews(previews, max_pixels).jpeg(source, side)


@lru_cache(maxsize=2)
def _previews(folder: Path | None, max_pixels: int) -> "Previews":
    from retrieval.photos.previews import Previews

    return Previews(folder, max_pixels=max_pixels)


def picture(source: Source, side: int, max_pixels: int) -> tuple[NDArray[np.uint8], int, int]:
    """See `Decoder.picture`."""
    from retrieval.photos.decode import load_photo

    photo = load_photo(source, shorter_side=side, max_pixels=max_pixels)
    shorter, longer = sorted(photo.image.size)
    if shorter > SPARE * side:  # a JPEG comes smaller, other formats come whole
        photo.image.thumbnail((SPARE * side * longer // shorter,) * 2)
    return np.asarray(photo.image), photo.width, photo.height


def facts(source: Source) -> dict[str, str]:
    """See `Decoder.facts`."""
    from retrieval.photos.camera_facts import camera_facts
    from retrieval.photos.files import read_photo

    return camera_facts(read_photo(source) if isinstance(source, Path) else source)
