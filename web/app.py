"""Puts the application together: the API, the pages, and what guards both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.routing import Match

from index.errors import (
    IndexFormatError,
    IndexLockedError,
    IndexNotFoundError,
    IndexStorageError,
    IndexUnreachableError,
    ModelError,
    ModelMismatchError,
    OutOfMemoryError,
    PhotoError,
    UserError,
)
from retrieval.detection.convolutional import NoMapError
from retrieval.models.spec import NoClassesError
from web.api import PlainJSON, router
from web.assets import router as assets
from web.collection import Collection
from web.copies import CopySearch
from web.detection import Detector
from web.head import Heads
from web.indexing import Indexing, IndexingError
from web.indexing_api import router as indexing
from web.limits import RateLimit
from web.map import Maps
from web.map import pages as map_pages
from web.map import router as map_router
from web.metrics import Counting, Metrics
from web.pages import error_page, load_templates, version, wants_page
from web.pages import router as pages
from web.photos import PhotoUnknownError
from web.security import Guard
from web.settings import Settings

ROUTERS = (router, indexing, pages, map_router, map_pages, assets)

STATUSES: tuple[tuple[type[UserError], int], ...] = (
    (PhotoUnknownError, 404),
    (OutOfMemoryError, 503),
    (PhotoError, 422),
    (IndexingError, 409),
    (IndexNotFoundError, 503),
    (IndexLockedError, 503),
    (IndexFormatError, 503),
    (IndexStorageError, 503),
    (IndexUnreachableError, 503),
    (ModelMismatchError, 503),
    (NoMapError, 400),
    (NoClassesError, 400),
    (ModelError, 503),
)
"""What a status tells; any other UserError is 400."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application for one index; its lifespan opens the index and ends what was started.

    Where it cannot be opened, `app.state.failure` is why."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            collection = await Collection.open(settings, batches=metrics.batch)
            await asyncio.to_thread(load_templates)
            app.state.collection = collection
            app.state.copies = CopySearch(settings.index)
            app.state.maps = Maps(settings.index)
            app.state.detector = Detector(collection)
            app.state.indexing = Indexing(settings)
        except Exception as error:
            app.state.failure = error
            raise
        try:
            yield
        finally:
            await app.state.indexing.close()
            await app.state.copies.close()
            collection.close()

    # What FastAPI has for /docs loads from another host; the pages have another.
    app = FastAPI(title="fc7", version=version(), lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.settings = settings
    app.state.failure = None
    app.state.rate_limit = RateLimit(settings.uploads_a_minute)
    for part in ROUTERS:
        app.include_router(part)

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Heads)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Counting, metrics=metrics)
    # What is uploaded stays in memory, and never goes through a file.
    MultiPartParser.spool_max_size = settings.max_upload_bytes
    return app


async def end_runs(app: FastAPI) -> None:
    """End what reads photos now, and with it the answers to those who watch, which never end by themselves."""
    indexing: Indexing | None = getattr(app.state, "indexing", None)
    if indexing is not None:
        await indexing.close()


async def _user_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 400)
    return answer(request, status, str(error), error.hint)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = answer(request, error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    if error.status_code == 405:  # the router names the methods of one function alone
        routes = [route for part in ROUTERS for route in part.routes if isinstance(route, APIRoute)]
        asked = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        if methods := {method for route in asked for method in route.methods or ()}:
            response.headers["allow"] = ", ".join(sorted(methods))
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = [f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in error.errors()]
    return answer(request, 422, "; ".join(told))


def answer(request: Request, status: int, message: str, hint: str = "") -> Response:
    """Tell an error: as a page to people, as JSON to programs."""
    if request.method == "GET" and not request.url.path.startswith("/api/") and wants_page(request):
        return error_page(request, status, message, hint)
    return PlainJSON({"error": message, "hint": hint}, status)
