"""The pages for people: templates filled from the same answers as the API; scripts fetch the rest."""

from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from index.object_path import as_path
from retrieval.answers import with_doubts
from retrieval.text import file_size
from web.api import Number, Served, limit_rate, photo_facts
from web.assets import address
from web.security import COOKIE, is_token

HERE = Path(__file__).parent
FIRST_PHOTOS = "/api/photos?after=0&limit=100"
"""What the script of the collection asks for first; the browser asks before it has the script."""
A_MONTH = 30 * 24 * 3600
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def version() -> str:
    """Return the version of fc7, "0" where it is not installed."""
    try:
        return version_of("fc7")
    except PackageNotFoundError:
        return "0"


def wants_page(request: Request) -> bool:
    """Tell whether a person asks."""
    return "text/html" in request.headers.get("accept", "")


@router.get("/")
async def index_page(request: Request, collection: Served) -> Response:
    """Show the collection, or what was found in it; the script reads the address."""
    roots, undated = await collection.reader.call(lambda index: (index.roots(), index.photos.count_undated()))
    return page(
        request,
        "index.html",
        folders=[printed(str(root)) for root in roots],
        text=bool(collection.model.spec.text),
        undated=undated,
        first="" if request.url.query else FIRST_PHOTOS,
    )


@router.get("/photos/{id}")
async def photo_page(request: Request, collection: Served, id: Number) -> Response:
    """Show one photo."""
    photo, named = await photo_facts(collection, id)
    path = as_path(photo["path"])
    return page(
        request,
        "photo.html",
        photo=photo,
        names=with_doubts(named.predictions, named.terms),
        name=printed(path.name),
        place=printed(str(path.parent)),
        folder=printed(str(path.parent)),
        size=file_size(photo["bytes"]),
    )


@router.get("/folders")
async def folders_page(request: Request, collection: Served) -> Response:
    """Show the indexed folders, to be brought up to date."""
    return page(request, "folders.html")


@router.get("/duplicates")
async def duplicates_page(request: Request, collection: Served) -> Response:
    """Show groups of copies."""
    return page(request, "duplicates.html")


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """Show what the API answers, from its OpenAPI description."""
    return page(request, "docs.html", operations=described(request.app.openapi()))


def described(api: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of an OpenAPI description, each with the fields of its address and its body."""
    told = []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            fields = [(given["name"], given.get("description", "")) for given in operation.get("parameters", ())]
            for body in operation.get("requestBody", {"content": {}})["content"].values():
                schema = api["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
                fields += [(name, field.get("description", "")) for name, field in schema["properties"].items()]
            text = operation.get("description") or operation["summary"]
            told.append({"method": method.upper(), "address": path, "text": text, "fields": fields})
    return told


@router.get("/login")
async def login_page(request: Request) -> Response:
    """Ask for the token."""
    return page(request, "login.html", wrong=False)


@router.post("/login")
async def login(request: Request, token: Annotated[str, Form(max_length=4096)] = "") -> Response:
    """Remember the token in a cookie, which no script can read and no other site can send."""
    limit_rate(request)
    if request.app.state.settings.token is None or not is_token(token.strip(), request.app.state.settings):
        return page(request, "login.html", status=403, wrong=True)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        token.strip(),
        max_age=A_MONTH,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Fill a template."""
    text = _templates().get_template(template).render(path=request.url.path, static=address(), **values)
    return HTMLResponse(text, status, {"cache-control": "private, no-cache"})


def error_page(request: Request, status: int, message: str, hint: str) -> Response:
    """Show what went wrong."""
    return page(request, "error.html", status=status, message=printed(message), hint=printed(hint))


def printed(text: str) -> str:
    """Return text that can be encoded: a file name may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def load_templates() -> None:
    """Compile the pages and read their scripts, so that the first one does not wait for it."""
    address()
    for name in _templates().list_templates():
        _templates().get_template(name)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
