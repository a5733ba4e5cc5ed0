"""Uploaded pictures, decoded in processes of their own: one that hangs or grows is ended, and the server lives on.

Nothing that is uploaded is stored.
"""

import asyncio
import multiprocessing
from concurrent.futures import TimeoutError as DecodeTimeoutError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from index.errors import PhotoError
from retrieval.searching.query import Box
from web.settings import Settings

WORKERS = 2
TASKS_OF_A_PROCESS = 500
"""After so many pictures a process is replaced, with whatever its decoders did not free."""


@dataclass(frozen=True)
class Preparation:
    """How pictures are prepared for a network: see `ModelSpec`."""

    resize: int
    crop: int


@dataclass(frozen=True, eq=False)
class Prepared:
    """The pixels (crop, crop, 3) of a picture, and its width and height, upright."""

    pixels: NDArray[np.uint8]
    width: int
    height: int


class UploadDecoder:
    """A few processes that decode; `close` ends them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Not forked: the server has threads.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(max_workers=WORKERS, max_tasks=TASKS_OF_A_PROCESS, context=context)

    async def prepare(self, data: bytes, preparation: Preparation, box: Box | None = None) -> Prepared:
        """Decode a picture, or a region of it, for the network. Raises PhotoError, also where it takes too long."""
        limit = self._settings.decode_seconds
        future = self._pool.schedule(
            prepare_upload, args=[data, preparation, box, self._settings.max_upload_pixels], timeout=limit
        )
        try:
            result: Prepared | str = await asyncio.wrap_future(future)
        except DecodeTimeoutError:
            raise PhotoError(f"the picture takes more than {limit:g} seconds to decode") from None
        except ProcessExpired:
            raise PhotoError("the picture cannot be decoded") from None
        if isinstance(result, str):
            raise PhotoError(result)
        return result

    def close(self) -> None:
        """End the processes, with what they are doing."""
        self._pool.stop()
        self._pool.join(timeout=10)


def prepare_upload(data: bytes, preparation: Preparation, box: Box | None, max_pixels: int) -> Prepared | str:
    """Decode a picture, or return why it cannot be; runs in a process of its own."""
    from retrieval.photos.decode import load_photo
    from retrieval.photos.preprocess import resize_and_crop
    from retrieval.searching.query import region

    try:
        photo = load_photo(data, shorter_side=None if box else preparation.resize, max_pixels=max_pixels)
        image = photo.image if box is None else region(photo.image, box)
    except PhotoError as error:
        return str(error)
    pixels = resize_and_crop(image, resize=preparation.resize, crop=preparation.crop)
    return Prepared(pixels, photo.width, photo.height)
