"""The command that copies an index to Milvus."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.options import index_option
from commands.parameter_types import IndexPlace
from commands.streams import warn, write
from index.errors import OptionError

if TYPE_CHECKING:
    from index.milvus.place import IndexLocation


@click.command("push", epilog="Example: fc7 push --to milvus+http://server:19530/photos")
@index_option
@click.option(
    "--to",
    metavar="URL",
    type=IndexPlace(remote=True),
    required=True,
    help="milvus+http://HOST:19530/COLLECTION, or milvus+file:///path/to/x.db for a file of Milvus Lite.",
)
@click.option(
    "--kind",
    metavar="KIND",
    show_default="as before, HNSW at first",
    help="Kind of index in Milvus: HNSW, which is fast and finds most of the best, or Flat, which compares all photos.",
)
@click.option("--replace", is_flag=True, help="First remove what another index, model or kind has put there.")
def push_command(*, index: Path, to: "IndexLocation", kind: str | None, replace: bool) -> None:
    """Copy an index to Milvus, where many machines can search it.

    Only what is new or has changed since the last time is sent, and what has left the index is removed. An interrupted
    copy is finished by the same command. Milvus is searched while it is copied to.

    The token of the server is read from FC7_MILVUS_TOKEN in the environment, USER:PASSWORD or an API key. Needs two
    packages more: pip install 'fc7[milvus]'.
    """
    if isinstance(to, Path):
        from index.milvus.place import EXAMPLES

        raise OptionError(f"{to} is no URL of an index in Milvus", hint=f"write --to {EXAMPLES}")

    from commands.progress_bar import ProgressBar
    from index.milvus.push import push

    with ProgressBar("Copying", sys.stderr) as progress:
        report = push(index, to, kind=kind, replace_other=replace, progress=progress, say=progress.say)
    if not report.indexed:
        warn(f"The server has not finished its index of {to}: until then searches find fewer of the best.")
    write(
        [
            f"{report.sent:,} photos sent, {report.unchanged:,} unchanged, {report.removed:,} removed: "
            f"there are {report.photos:,} in {to}\n"
        ]
    )
