"""What values options and arguments take, beyond click's own types: paths, places of an index, numbers, labels."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from index.errors import OptionError


class NumberRange(click.FloatRange):
    """A number in a range; NaN, which click lets through, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse NaN too."""
        number = super().convert(value, param, ctx)
        if number is not None and math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class AnyPath(click.Path):
    """Any path. Whether it can be read is checked where it is read: one unreadable photo does not stop a command."""

    def __init__(self, *, allow_dash: bool = False, local: bool = False) -> None:
        """With `local` it is no place in object storage: what is written, and an index, must be on this machine."""
        super().__init__(path_type=Path, readable=False, allow_dash=allow_dash)
        self.local = local

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty name, which Path takes for the current folder, and distinguish the file `./-` from `-`."""
        if value == "":
            self.fail("a path is empty; is a variable of the shell not set?", param, ctx)
        if isinstance(value, str) and value.startswith(("s3://", "gs://")):
            from index.object_path import as_path, is_object_url

            if self.local:
                self.fail(f"{value.partition('/')[0]}// is object storage; name a place on this machine", param, ctx)
            # A key may have these signs.
            if not is_object_url(value) or re.search("[@:]", value.split("/")[2]) or re.search(r"\?\w+=", value):
                self.fail(
                    "name a place in object storage as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER; its server and keys "
                    "are those of the environment (docs/scale.md)",
                    param,
                    ctx,
                )
            return as_path(value)
        path = super().convert(value, param, ctx)
        return Path.cwd() / path if path == Path("-") and value not in ("-", path) else path


PATH = AnyPath()
LOCAL_PATH = AnyPath(local=True)


class IndexPlace(AnyPath):
    """The folder of an index, and where it is `remote` also the URL of one in Milvus."""

    def __init__(self, *, remote: bool) -> None:
        super().__init__(local=True)
        self.remote = remote

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path, or a MilvusPlace. Raises OptionError for a URL that is none, or cannot be used here."""
        if not (isinstance(value, str) and value.startswith("milvus+")):
            return super().convert(value, param, ctx)
        from index.milvus.place import MilvusPlace

        place = MilvusPlace.parse(value)
        if not self.remote:
            command = ctx.command_path if ctx else "this command"
            raise OptionError(
                f"{command} needs an index in a folder, and {place} is in Milvus",
                hint=f"work on the index that was copied there, then run `fc7 push --to {place}` again",
            )
        return place


class Label(click.types.StringParamType):
    """A name that may have spaces; the environment has several with commas between."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Split at commas, which click does at spaces."""
        return [name.strip() for name in rv.split(",") if name.strip()]
