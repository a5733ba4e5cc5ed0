"""The options by which what is found is shown as pictures: in a file, and in the terminal."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from commands.options import Command, cache_folder
from commands.parameter_types import LOCAL_PATH
from commands.streams import warn, write

if TYPE_CHECKING:
    from retrieval.figures.canvas import Look
    from retrieval.figures.rows import SheetRow
    from retrieval.figures.terminal import Screen


T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """Where what is found is shown: in a file, on a screen, or not at all."""

    out: Path | None = None
    look: "Look | None" = None
    screen: "Screen | None" = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to draw."""
        return self.out is not None or self.screen is not None

    def keep(self, answers: Iterable[T], kept: list[T]) -> Iterator[T]:
        """Yield answers, and append those that are to be drawn later to `kept`."""
        for answer in answers:
            if self.wanted:
                kept.append(answer)
            yield answer

    def show(self, rows: "Sequence[SheetRow]") -> None:
        """Draw rows. Raises UserError where the file cannot be written."""
        from retrieval.figures.canvas import PLAIN
        from retrieval.figures.sheet import write_sheet
        from retrieval.photos.previews import Previews

        with Previews(cache_folder() / "previews") as previews:
            if self.screen is not None:
                from retrieval.figures.terminal import preview_rows

                write(preview_rows(rows, previews, self.screen))
            if self.out is not None:
                write_sheet(rows, self.out, previews, self.look or PLAIN)


def picture_options(name: str, what: str) -> Callable[[Command], Command]:
    """Add --sheet, or what it is called, --dark, --scale and --preview; the command is called with `pictures` instead.

    It has `format`, and perhaps `null`, too.
    """

    def add(command: Command) -> Command:
        @click.option(
            f"--{name}", type=LOCAL_PATH, metavar="OUT", callback=_checked, help=f"{what}: .html, .png, .jpg or .pdf."
        )
        @look_options(name, html=True)
        @click.option("--preview", is_flag=True, help="Show the photos in the terminal too.")
        @functools.wraps(command)
        def with_pictures(*args: Any, look: "Look | None", preview: bool, **options: Any) -> Any:
            out = options.pop(name)
            if preview and (options["format"] != "table" or options.get("null")):
                raise click.UsageError("--preview goes with a table; leave out --format and -0")
            return command(*args, pictures=Pictures(out, look, _screen() if preview else None), **options)

        return with_pictures

    return add


def look_options(name: str = "", *, html: bool = False) -> Callable[[Command], Command]:
    """Add --dark and --scale; the command is called with `look` instead.

    `name` is the option without which nothing is drawn, and `look` None. With `html` pages are drawn too.
    """

    def add(command: Command) -> Command:
        drawn = f"--{name}" if name else "the picture"
        page = "; HTML is as the reader's system is" if html else ""
        sharp = "; HTML always is for these" if html else ""

        @click.option("--dark", is_flag=True, help=f"Draw {drawn} in light on dark{page}.")
        @click.option(
            "--scale", type=click.IntRange(1, 4), default=1, help=f"Pixels of {drawn}: 2 for sharp screens{sharp}."
        )
        @functools.wraps(command)
        def with_look(*args: Any, dark: bool, scale: int, **options: Any) -> Any:
            if name and options[name] is None:
                if given := [option for option in ("dark", "scale") if _was_given(option)]:
                    raise click.UsageError(f"--{given[0]} without --{name}; name a file to draw with --{name}")
                return command(*args, look=None, **options)
            from retrieval.figures.canvas import Look

            return command(*args, look=Look(dark, scale), **options)

        return with_look

    return add


def _was_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _checked(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a file that cannot be written before anything else is done."""
    if value is not None and not context.resilient_parsing:
        from retrieval.figures.sheet import check_sheet

        check_sheet(value)
    return value


def _screen() -> "Screen | None":
    from commands.terminal_graphics import screen_of

    found = screen_of()
    if isinstance(found, str):
        warn(f"No preview: {found}.")
        return None
    return found
