"""The map: where every photo lies by what it looks like, for a page that draws what is in sight of it."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from index.errors import OptionError
from index.milvus.place import IndexLocation, MilvusPlace
from index.photo_index import PhotoIndex
from retrieval.overview.layout import layout_of, spread_order
from web.answers import Map, Photos
from web.api import ERRORS, Id, PlainJSON, Served
from web.pages import page
from web.photos import photo_values

MOST_AT_ONCE = 500
DIGITS = 5
"""Of a place: photos that are nearer than that look the same."""

router = APIRouter(prefix="/api/map", default_response_class=PlainJSON, responses=ERRORS)
pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


class Maps:
    """The layout of one index as JSON, kept until the index changes."""

    def __init__(self, place: IndexLocation) -> None:
        self._place = place
        self._laying_out = asyncio.Lock()
        self._state: object = None
        self._tag, self._answer = "", b""

    async def current(self) -> tuple[str, bytes]:
        """Return the current layout, and a tag that names its state. Raises PhotoIndexError, and as `folder`."""
        async with self._laying_out:
            await asyncio.to_thread(self._update)
            return self._tag, self._answer

    def folder(self) -> Path:
        """Return the folder of the index. Raises OptionError where it is in Milvus."""
        if isinstance(self._place, MilvusPlace):
            raise OptionError("there is no map of an index in Milvus", hint="serve an index in a folder")
        return self._place

    def _update(self) -> None:
        with PhotoIndex.open(self.folder()) as index:
            state = index.summary().state
            if state == self._state:
                return
            layout = layout_of(index)
        order = spread_order(layout.places)
        places = layout.places[order].round(DIGITS).astype(np.float64).round(DIGITS)
        told = {"ids": layout.ids[order].tolist(), "places": places.tolist()}
        self._answer = json.dumps(told, separators=(",", ":")).encode("ascii")
        self._tag, self._state = f'"{hashlib.sha256(self._answer).hexdigest()[:20]}"', state


def maps_of(request: Request) -> Maps:
    """Return the maps of this application."""
    maps: Maps = request.app.state.maps
    return maps


@router.get("", response_model=Map)
async def whole_map(request: Request, maps: Annotated[Maps, Depends(maps_of)]) -> Response:
    """List the ids of all photos and their places in the plane, from 0 to 1, by the likeness of what is in them.

    The first ids of the list are spread over the whole map.
    """
    tag, answer = await maps.current()
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(answer, media_type="application/json", headers=headers)


@router.get("/photos", response_model=Photos)
async def map_photos(
    collection: Served, ids: Annotated[list[Id], Query(min_length=1, max_length=MOST_AT_ONCE)]
) -> PlainJSON:
    """Tell what is known of some photos, without those that are not in the index any more."""
    files = await collection.reader.call(lambda index: index.photos.files(np.array(sorted(set(ids)), np.int64)))
    return PlainJSON({"photos": await asyncio.to_thread(photo_values, files)})


@pages.get("/map")
async def map_page(request: Request, maps: Annotated[Maps, Depends(maps_of)]) -> Response:
    """Show the map."""
    maps.folder()
    return page(request, "map.html")
