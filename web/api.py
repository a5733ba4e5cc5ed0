"""The API: what programs and the pages ask, and the same JSON as the commands print."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import formatdate
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, File, Form, HTTPException, Query, Request, UploadFile
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response

from index.errors import OptionError, PhotoError
from index.records import IndexedFile
from retrieval.answers import Classification, duplicate_group, own_label
from retrieval.duplicates.keep import DuplicateGroup
from retrieval.photos.files import are_there
from retrieval.searching.dates import first_moment, moment_after
from retrieval.searching.query import Box
from web.answers import (
    Classified,
    Comparing,
    Detections,
    Different,
    Folders,
    Groups,
    Health,
    Labels,
    Page,
    PhotoFacts,
    Search,
)
from web.collection import Asked, Collection, Upload
from web.copies import CopySearch, Running
from web.detection import Detector
from web.limits import RateLimit
from web.photos import photo_values

MOST_RESULTS = 1000
MOST_PHOTOS = 32
"""That one search is asked with."""
MOST_DIFFERENT = 1000
LONGEST_NAME = 200
LONGEST_TEXT = 1000
SINCE = "Only photos taken then or later, by their EXIF data: 2019, 2019-07 or 2019-07-14."
UNTIL = "Only photos taken then or earlier, all of that time."
THUMBNAIL, PREVIEW = 360, 2048
"""The longer side in pixels."""
PATIENCE = 1.0
"""Seconds that a request waits for a search for copies, before it is told how far that is."""
A_YEAR = "private, max-age=31536000, immutable"

Number = Annotated[int, InPath(ge=1, le=2**63 - 1)]
Id = Annotated[int, Query(ge=1, le=2**63 - 1)]
FormId = Annotated[int, Form(ge=1, le=2**63 - 1)]
Words = Annotated[str, Form(max_length=LONGEST_TEXT)]
Top = Annotated[int, Form(ge=1, le=MOST_RESULTS, description="How many results.")]


class PlainJSON(JSONResponse):
    """JSON in ASCII: a file name that is no text keeps its surrogate escapes, as on the command line."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")


def collection_of(request: Request) -> Collection:
    """Return what this application serves."""
    collection: Collection = request.app.state.collection
    return collection


def limit_rate(request: Request) -> None:
    """Refuse a client that asks too often."""
    limit: RateLimit = request.app.state.rate_limit
    wait = limit.seconds_to_wait(request.client.host if request.client else "")
    if wait:
        raise HTTPException(429, "too many requests", {"retry-after": str(int(wait) + 1)})


Served = Annotated[Collection, Depends(collection_of)]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": what,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error", "hint"],
                    "properties": {"error": {"type": "string"}, "hint": {"type": "string"}},
                }
            }
        },
    }
    for code, what in {
        400: "It cannot be done as asked.",
        401: "The token is missing.",
        403: "Asked by a page of another site.",
        404: "There is no such photo or folder in the index.",
        408: "The request took too long to arrive.",
        413: "The request is too large.",
        422: "A value, or the picture, cannot be used.",
        429: "Asked too often.",
        503: "The index cannot be used now.",
    }.items()
}
router = APIRouter(prefix="/api", default_response_class=PlainJSON, responses=ERRORS)


@router.post("/classify", response_model=Classified, dependencies=[Depends(limit_rate)])
async def classify(
    collection: Served,
    photo: Annotated[UploadFile, File(description="A picture.")],
    k: Annotated[int, Form(ge=1, le=MOST_RESULTS, description="How many names.")] = 5,
) -> PlainJSON:
    """Name what is in a photo, as `fc7 classify --format json` does."""
    return PlainJSON(await collection.classify(await upload_of(photo), k))


@router.post("/search", response_model=Search, dependencies=[Depends(limit_rate)])
async def search(
    collection: Served,
    photo: Annotated[list[UploadFile] | None, File(description="Pictures to look for; several are one query.")] = None,
    ids: Annotated[list[FormId] | None, Form(description="Photos of the index to look for.")] = None,
    text: Annotated[list[Words] | None, Form(description="Words to look for, of a model with a text half.")] = None,
    unlike: Annotated[list[FormId] | None, Form(description="Photos that results should not look like.")] = None,
    unlike_text: Annotated[list[Words] | None, Form(description="Words that results should not show.")] = None,
    label: Annotated[list[Words] | None, Form(description="Only photos of this; alone, what is looked for.")] = None,
    region: Annotated[
        str | None, Form(description="x,y,width,height in pixels: look at this of the one photo.")
    ] = None,
    folder: Annotated[str | None, Form(description="Only photos below this indexed folder.")] = None,
    since: Annotated[str | None, Form(description=SINCE)] = None,
    until: Annotated[str | None, Form(description=UNTIL)] = None,
    k: Top = 10,
    min_score: Annotated[float | None, Form(ge=-1, le=1)] = None,
    collapse: Annotated[bool, Form(description="One result of copies, and none that was asked with.")] = False,
) -> PlainJSON:
    """Find photos that look alike, or are of a label, as `fc7 search --format json` does; with the id of each.

    Several photos, ids and words are one query, their mean.
    """
    photos, labels = photo or [], [name for name in label or [] if name.strip()]
    asked = len(photos) + len(ids or []) + len(text or [])
    away = len(unlike or []) + len(unlike_text or [])
    if not asked and not labels:
        raise OptionError("send a photo, ids, a text or a label")
    if asked + away > MOST_PHOTOS or len(labels) > MOST_PHOTOS:
        raise OptionError(f"more than {MOST_PHOTOS} photos or labels are not taken together")
    if not asked and away:
        raise OptionError("unlike needs a photo, ids or a text to look for")
    if region is not None and (asked != 1 or text):
        raise OptionError("a region is one of a single photo")
    first, before = between(since, until)
    return PlainJSON(
        await collection.search(
            Asked(
                uploads=tuple([await upload_of(given) for given in photos]),
                ids=tuple(dict.fromkeys(ids or [])),
                texts=tuple(dict.fromkeys(text or [])),
                unlike=tuple(dict.fromkeys(unlike or [])),
                unlike_texts=tuple(dict.fromkeys(unlike_text or [])),
                box=None if region is None else box_of(region),
                labels=tuple(labels),
                folder=folder or None,
                since=first,
                before=before,
                top=k,
                min_score=min_score,
                collapse=collapse,
            )
        )
    )


@router.get("/photos", response_model=Page)
async def photos(
    collection: Served,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="The last id of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_RESULTS)] = 100,
    folder: str | None = None,
    since: Annotated[str | None, Query(description=SINCE)] = None,
    until: Annotated[str | None, Query(description=UNTIL)] = None,
) -> PlainJSON:
    """List the photos of the index by id; `next` is what to give as `after` for the next page, null at the end."""
    first, before = between(since, until)
    page = await collection.page(after, limit, folder or None, since=first, before=before)
    following = page[-1].id if len(page) == limit else None
    return PlainJSON({"photos": await asyncio.to_thread(photo_values, page), "next": following})


@router.get("/photos/{id}", response_model=PhotoFacts)
async def photo(collection: Served, id: Number) -> PlainJSON:
    """Tell what is known of a photo: its file, its labels, and what the camera wrote."""
    facts, _ = await photo_facts(collection, id)
    return PlainJSON(facts)


@router.get("/photos/{id}/detections", response_model=Detections, dependencies=[Depends(limit_rate)])
async def detections(request: Request, id: Number) -> PlainJSON:
    """Tell what is where in a photo, as `fc7 detect --format json` does: boxes are x, y, width, height in pixels."""
    detector: Detector = request.app.state.detector
    return PlainJSON({"id": id, **await detector.look(id)})


@router.get("/photos/{id}/preview", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def preview(request: Request, collection: Served, id: Number, v: str = "") -> Response:
    """Send a photo as JPEG, upright and without metadata, its longer side at most 2048 pixels."""
    return await picture(request, collection, id, v, PREVIEW)


@router.get("/thumbnails/{id}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def thumbnail(request: Request, collection: Served, id: Number, v: str = "") -> Response:
    """Send a photo as a small JPEG, upright and without metadata."""
    return await picture(request, collection, id, v, THUMBNAIL)


@router.get(
    "/duplicates",
    response_model=Groups,
    responses={202: {"model": Comparing, "description": "Still looking: photos `done`, and in `total`."}},
)
async def duplicates(
    request: Request,
    collection: Served,
    like: Literal["exact", "altered", "alike"] = "exact",
    offset: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_RESULTS)] = 100,
) -> PlainJSON:
    """List groups of copies, as `fc7 duplicates --format json` does; with status 202 while they are looked for."""
    search: CopySearch = request.app.state.copies
    found = await search.ask(like, wait=PATIENCE)
    if isinstance(found, Running):
        return PlainJSON({"running": True, "done": found.done, "total": found.total}, 202)
    shown = found.groups[offset : offset + limit]
    paths = [photo.path for group in shown for photo in group.photos]
    files = {file.path: file for file in await collection.reader.call(lambda index: index.photos.files_at(paths))}
    groups = await asyncio.to_thread(lambda: [_group(group, files) for group in shown])
    return PlainJSON({"total": len(found.groups), "left_out": found.left_out, "groups": groups})


@router.post("/duplicates/different", response_model=Different, dependencies=[Depends(limit_rate)])
async def different(
    collection: Served,
    ids: Annotated[list[Annotated[int, Body(ge=1, le=2**63 - 1)]], Body(min_length=2, max_length=MOST_DIFFERENT)],
    different: Annotated[bool, Body()] = True,
) -> PlainJSON:
    """Remember that photos are no copies of each other, or forget it again; no photo is touched."""
    await collection.set_different(ids, different)
    return PlainJSON({"ids": ids, "different": different})


@router.get("/labels", response_model=Labels)
async def labels(collection: Served) -> PlainJSON:
    """List what photos can be searched for by: the labels taught by the user, and the classes of the model.

    "text" tells whether the model has a text half, so that words can be searched for.
    """
    own = await collection.reader.call(lambda index: [dict(own_label(label)) for label in index.own_labels.all()])
    classes = collection.model.spec.classes
    return PlainJSON(
        {
            "own": own,
            "labels": [{"label": known.name, "id": known.id} for known in classes],
            "text": bool(collection.model.spec.text),
        }
    )


@router.get("/folders", response_model=Folders)
async def folders(collection: Served) -> PlainJSON:
    """List the indexed folders, and count the photos in all of them."""
    known = await collection.reader.call(lambda index: index.summary())
    return PlainJSON({"folders": [str(root) for root in known.roots], "photos": known.photos})


@router.get("/health", response_model=Health)
async def health(collection: Served) -> PlainJSON:
    """Tell whether the index can be read; this alone is answered without a token."""
    await collection.reader.call(lambda index: index.roots())
    return PlainJSON({"status": "ok"})


async def photo_facts(collection: Collection, id: int) -> tuple[dict[str, Any], Classification]:
    """Return what the page and the API show for a photo, and its names once more. Raises PhotoUnknownError."""
    photo, named = await collection.located(id), await collection.names(id)
    try:
        facts = await collection.decoder.facts(photo.place)
    except PhotoError:
        facts = {}  # its file is not there now
    [there] = await asyncio.to_thread(are_there, [photo.place])
    [values] = await asyncio.to_thread(photo_values, [photo.file])
    names = {key: value for key, value in named.to_dict().items() if key != "path"}
    return {**values, **names, "facts": facts, "missing": not there}, named


async def picture(request: Request, collection: Collection, id: int, version: str, side: int) -> Response:
    """Send a photo encoded again. It is kept by browsers for good where its address names the state of the file."""
    photo = await collection.located(id)
    kept = A_YEAR if version == photo.state else "private, no-cache"
    headers = {"etag": f'"{photo.state}-{side}"', "cache-control": kept}
    headers["last-modified"] = formatdate(min(max(photo.file.stamp.mtime_ns // 10**9, 0), 2**33), usegmt=True)
    if headers["etag"] in [
        tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
    ]:
        return Response(status_code=304, headers=headers)
    data = await collection.decoder.jpeg(photo.place, side, keep=side == THUMBNAIL, gone=request.is_disconnected)
    return Response(data, media_type="image/jpeg", headers=headers)


async def upload_of(given: UploadFile) -> Upload:
    """Read an uploaded picture; of its name only the last part is kept, and what can be printed."""
    name = "".join(letter for letter in PurePath(given.filename or "").name if letter.isprintable())
    return Upload(name[:LONGEST_NAME] or "photo", await given.read())


def box_of(region: str) -> Box:
    """Read "x,y,w,h". Raises OptionError."""
    try:
        return Box.parse(region)
    except ValueError:
        raise OptionError("a region is x,y,width,height in whole pixels") from None


def between(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the first moment, and the one after the last. Raises OptionError for what is no date, or no time."""
    first, before = first_moment(since) if since else None, moment_after(until) if until else None
    if first is not None and before is not None and first >= before:
        raise OptionError(f"{since} is later than {until}, so no photo was taken between them", hint="swap the dates")
    return first, before


def _group(group: DuplicateGroup, files: Mapping[Any, IndexedFile]) -> dict[str, Any]:
    told = dict(duplicate_group(group))
    known = [values for values, photo in zip(told["photos"], group.photos, strict=True) if photo.path in files]
    shown = photo_values([files[photo.path] for photo in group.photos if photo.path in files])
    told["photos"] = [{**values, **more} for values, more in zip(known, shown, strict=True)]
    return told
