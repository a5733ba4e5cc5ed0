"""The command that opens a collection in the browser, and answers programs over HTTP."""

import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.interrupt import starting
from commands.model_options import model_option
from commands.options import cache_folder, device_option, index_option
from commands.parameter_types import PATH
from commands.streams import warn, write
from index.errors import MissingPackageError, OptionError, UserError

if TYPE_CHECKING:
    import uvicorn

    from index.milvus.place import IndexLocation
    from web.settings import Settings

GRACE = 30
"""Seconds that requests have to end when the server does."""
MOST_CONNECTIONS = 512


@click.command("serve", epilog="Example: fc7 serve --index my-index")
@model_option("Model file (.onnx), builtin, or the name of an imported one.", default="that of the index")
@device_option
@partial(index_option, remote=True)
@click.option("--host", default="127.0.0.1", help="Address to listen on; another than this machine's needs a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8707, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--token-file",
    type=PATH,
    metavar="FILE",
    help="File with a secret that every request must know; or FC7_TOKEN in the environment.",
)
@click.option(
    "--name",
    metavar="HOST",
    multiple=True,
    help="Another name that browsers have for this server, as behind a proxy; can be given several times.",
)
def serve_command(
    *,
    model: Path | None,
    device: Any,
    index: "IndexLocation",
    host: str,
    port: int,
    token_file: Path | None,
    name: Sequence[str],
) -> None:
    """Open the collection in a browser, and answer programs over HTTP, until Ctrl-C.

    Only this machine may ask, unless --host names another address and there is a token. A browser asks for the token
    once; a program sends it as `Authorization: Bearer TOKEN`. Photos are shown by their number in the index alone, and
    what is uploaded is not stored. The address /docs has the API. An index in Milvus has no map; its photos are read
    from this machine.

    Needs a few packages more: pip install 'fc7[web]'.
    """
    token = _token(token_file)
    with starting():
        _require_web()
        from web.settings import Settings

        settings = Settings(
            index=index,
            model=model,
            device=device,
            cache=cache_folder(),
            host=host,
            port=port,
            token=token,
            hosts=tuple(name),
        )
        check_servable(index)
        listening = _listen(host, port)
    with listening:
        _serve(settings, listening)


def _require_web() -> None:
    """Raise MissingPackageError where a package of the extra web is missing."""
    try:
        import uvicorn  # noqa: F401

        import web.app  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("commands", "index", "retrieval", "web"):
            raise
        raise MissingPackageError(
            f"fc7 serve needs {error.name}, which is not installed: pip install 'fc7[web]'"
        ) from error


def _serve(settings: "Settings", listening: socket.socket) -> None:
    """Answer until Ctrl-C. Raises what ended the application before."""
    import uvicorn

    from web.app import create_app, end_runs

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,  # addresses can hold what people look for
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
        lifespan="on",
    )
    host, port = settings.host, listening.getsockname()[1]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        _server(config, address, partial(end_runs, app)).run(sockets=[listening])
    except SystemExit:  # uvicorn's, if the application cannot start; it logs why, and logging is off
        if app.state.failure is None:
            raise
    if (failure := app.state.failure) is not None:
        raise failure


def _server(config: "uvicorn.Config", address: str, end_runs: Callable[[], Awaitable[None]]) -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        """Says where it is once it answers. Until then what goes wrong is told by the command, not logged."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
                write([f"The collection is at {address} (Ctrl-C ends)\n"])
                sys.stdout.flush()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Whoever watches a run would be waited for.
            await end_runs()
            await super().shutdown(sockets)

    return Server(config)


def check_servable(index: "IndexLocation") -> None:
    """Raise IndexNotFoundError, or what else is wrong with an index, before anything listens."""
    from index.open_index import open_index

    with open_index(index, warn=warn) as opened:
        if not opened.summary().photos:
            warn(f"The index in {index} is empty: add photos with `fc7 index FOLDER`.")


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("FC7_TOKEN", "").strip() or None
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OptionError(f"the token cannot be read from {file} ({reason})") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        [family, kind, protocol, *_], *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # With its protocol named: asyncio sends small answers at once (TCP_NODELAY) only where it knows that it is TCP.
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port} ({error.strerror})", hint="name another with --port or --host"
        ) from error
    return listening
