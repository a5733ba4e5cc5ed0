"""The part of the API that brings folders of the index up to date."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import StreamingResponse

from index.searchable import SearchableIndex
from retrieval.answers import skipped_photo
from web.answers import IndexingRun, IndexingState, Stopped
from web.api import ERRORS, PlainJSON, Served, limit_rate
from web.indexing import MOST_SKIPPED, Indexing, Run
from web.photos import PhotoUnknownError

STILL_HERE = 10.0
"""Seconds after which a watcher is told that nothing has changed, so that what lies between does not close."""
BUSY: dict[int | str, dict[str, Any]] = {409: {**ERRORS[400], "description": "Folders are updated already."}}
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
router = APIRouter(prefix="/api", default_response_class=PlainJSON, responses=ERRORS)


def indexing_of(request: Request) -> Indexing:
    """Return the runs of this application."""
    indexing: Indexing = request.app.state.indexing
    return indexing


Runs = Annotated[Indexing, Depends(indexing_of)]


@router.get("/indexing", response_model=IndexingState)
async def state(collection: Served, runs: Runs) -> PlainJSON:
    """List the indexed folders with their ids and photos, and report the last run, null before the first.

    "skipped" are photos that cannot be read, 200 at most, with the reason, of "skipped_count"; "undated" counts photos
    whose dates nobody has looked at yet.
    """

    def read(index: SearchableIndex) -> dict[str, Any]:
        counts, skipped = index.photos.count_by_root(), index.photos.skipped()
        return {
            "folders": [
                {"id": id, "folder": str(root), "photos": counts.get(id, 0)}
                for id, root in index.numbered_roots().items()
            ],
            "skipped": [skipped_photo(photo) for photo in skipped[:MOST_SKIPPED]],
            "skipped_count": len(skipped),
            "undated": index.photos.count_undated(),
        }

    return PlainJSON({**await collection.reader.call(read), "run": run_values(runs.run)})


@router.post(
    "/indexing", response_model=IndexingRun, status_code=202, dependencies=[Depends(limit_rate)], responses=BUSY
)
async def start(
    collection: Served,
    runs: Runs,
    ids: Annotated[list[Annotated[int, Body(ge=1, le=2**63 - 1)]] | None, Body(embed=True, min_length=1)] = None,
) -> PlainJSON:
    """Bring folders of the index up to date, by their ids, or all of them; one run at a time."""

    def read(index: SearchableIndex) -> tuple[dict[int, Any], int]:
        known = index.photos.ids()
        return index.numbered_roots(), int(known[-1]) if len(known) else 0

    roots, after = await collection.reader.call(read)
    for id in ids or ():
        if id not in roots:
            raise PhotoUnknownError(f"there is no folder {id} in the index")
    chosen = [roots[id] for id in dict.fromkeys(ids or roots)]
    return PlainJSON(run_values(await runs.start(chosen, after=after)), 202)


@router.post("/indexing/stop", response_model=Stopped, dependencies=[Depends(limit_rate)])
async def stop(runs: Runs) -> PlainJSON:
    """End the run that goes on; what it has stored stays, and the next one continues from there."""
    return PlainJSON({"run": run_values(await runs.stop())})


@router.get("/indexing/events", response_class=StreamingResponse, responses=STREAM)
async def events(runs: Runs) -> StreamingResponse:
    """Send the run whenever it has changed (server-sent events), until it has ended."""
    return StreamingResponse(_told(runs.watch()), media_type="text/event-stream", headers={"cache-control": "no-store"})


def run_values(run: Run | None) -> dict[str, Any] | None:
    """Return a run as plain values."""
    return None if run is None else run.to_dict()


async def _told(runs: AsyncIterator[Run | None]) -> AsyncIterator[bytes]:
    """Write runs as events (HTML Living Standard, 9.2)."""
    waiting = asyncio.ensure_future(anext(runs, _END))
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=STILL_HERE)
            if not done:
                yield b": nothing new\n\n"
                continue
            if (run := waiting.result()) is _END:
                return
            yield b"data: " + json.dumps(run_values(run), allow_nan=False).encode("ascii") + b"\n\n"
            waiting = asyncio.ensure_future(anext(runs, _END))
    finally:
        waiting.cancel()


_END: Any = object()
