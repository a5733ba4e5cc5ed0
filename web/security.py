"""What every request has to pass, and every answer says: a middleware around the whole application.

A page of another site can make a browser send requests to 127.0.0.1. Its own name stays in `Host` where DNS was bent to
this machine (DNS rebinding), and in `Origin` where it posts a form: both are checked.
"""

import asyncio
import hmac
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.settings import Settings

COOKIE = "fc7"
"""The cookie that holds the token, once a browser has said it."""

OPEN_PATHS = frozenset({"/login", "/api/health"})
OPEN_FOLDER = "/static/"
"""What is answered without a token: nothing of the collection."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Refuses requests of other sites, without the token, or with too large or too slow a body."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        refusal = self._refused(scope)
        body = _Body(receive, self._settings)

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if body.refused is not None and not started:
                return  # what the application made of half a body
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                if refusal is None and scope["method"] not in SAFE_METHODS and not body.ended:
                    headers["connection"] = "close"  # the rest of the body is not waited for
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        with suppress(BodyRefusedError):
            await self._app(scope, body.receive, send_with_headers)
        refused, body.refused = body.refused, None
        if refused is not None and not started:
            await _answer(refused.status, str(refused))(scope, receive, send_with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._settings.known_hosts:
            return _answer(400, "this is not the address of this server")
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{hosts[0]}":
            return _answer(403, "a page of another site may not ask")
        if origin is None and scope["method"] not in SAFE_METHODS:
            site = headers.get("sec-fetch-site")  # which browsers send and pages cannot change
            if site not in (None, "same-origin", "none"):
                return _answer(403, "a page of another site may not ask")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._settings.max_upload_bytes:
            return _answer(413, f"more than {self._settings.max_upload_bytes >> 20} MiB are not taken")
        if self._settings.token is not None and not _is_open(scope["path"]) and not self._knows_token(headers):
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                return Response(status_code=303, headers={"location": "/login"})
            return _answer(401, "this server wants a token", {"www-authenticate": "Bearer"})
        return None

    def _knows_token(self, headers: Headers) -> bool:
        scheme, _, said = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return is_token(said.strip(), self._settings)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and is_token(cookie.value, self._settings)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def is_token(said: str, settings: Settings) -> bool:
    """Compare with the server's token, in a time that tells nothing about it."""
    return hmac.compare_digest(said.encode("utf-8", "surrogateescape"), (settings.token or "").encode())


def host_name(host: str) -> str:
    """Return what of a Host names the machine, without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class BodyRefusedError(Exception):
    """A body that is too large or too slow, with the status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Body:
    """The body of a request, as long as it arrives in time and is not too large."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive = receive
        self._left = settings.max_upload_bytes
        self._limit = settings.max_upload_bytes
        self._until = asyncio.get_running_loop().time() + settings.upload_seconds
        self.ended = False
        self.refused: BodyRefusedError | None = None

    async def receive(self) -> Message:
        if self.ended:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise self._refuse(408, "the request took too long to arrive") from None
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self.ended = not message.get("more_body", False)
            if self._left < 0:
                raise self._refuse(413, f"more than {self._limit >> 20} MiB are not taken")
        return message

    def _refuse(self, status: int, message: str) -> BodyRefusedError:
        self.refused = BodyRefusedError(status, message)
        return self.refused


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message, "hint": ""}, status, headers)
