"""The command line: each command parses its words, makes one call and prints what comes back.

Results go to stdout, progress and warnings to stderr. Commands are imported when they are called, and whatever is heavy
inside them, so that `fc7 --help` answers at once.
"""

import atexit
import gc
import os
import shlex
import sys
from importlib import import_module
from typing import Any

import click

from commands.interrupt import INTERRUPTED
from commands.streams import READER_GONE
from index.errors import OptionError, UserError

# At its end Python looks for garbage among all that was imported, which goes with the process anyway.
atexit.register(gc.freeze)

GROUPS = {
    "Photos": {
        "classify": ("photos", "Name what is in photos."),
        "detect": ("detect", "Find what is where in photos."),
        "embed": ("photos", "Write the vectors of photos to a file, their names beside them."),
    },
    "Collection": {
        "index": ("collection", "Make folders of photos searchable, or bring their index up to date."),
        "search": ("search", "Find the indexed photos that look most like PHOTO, or what is in photos by --label."),
        "label": ("labels", "Teach an index labels of your own from a few photos."),
        "duplicates": ("duplicates", "Find copies among the indexed photos."),
        "serve": ("serve", "Open the collection in a browser, and answer programs over HTTP, until Ctrl-C."),
        "push": ("push", "Copy an index to Milvus, where many machines can search it."),
        "forget": ("collection", "Remove photos or folders from the index; no file is touched."),
        "moved": ("collection", "Tell the index that a folder was moved or renamed; no photo is read."),
        "check": ("collection", "Check that an index is whole and goes with its photos."),
    },
    "Networks": {
        "train": (
            "training",
            "Learn a network from labelled pictures, or from a teacher, and write it as a model file.",
        ),
        "evaluate": ("evaluation", "Measure how well a model names labelled pictures."),
        "export": ("models", "Write a trained network as one model file, proven to answer as the network does."),
        "import": ("importing", "Make a model file of a network from elsewhere: published weights, or any ONNX file."),
        "show": ("show", "Draw pictures of a collection, of networks, and of training runs."),
        "info": ("models", "Describe a model, an index or this installation."),
        "bench": ("models", "Measure how fast photos are indexed on this machine."),
    },
}
"""In three groups: the module of `commands` that has a command, and what the list of commands says of it."""

COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class WrongUsage(click.ClickException):
    """A value that makes no sense: the status is that of an option that there is not."""

    exit_code = 2


def without_default(text: str) -> str:
    """Return a message whose commands do not name the index that they take by default."""
    from commands.options import default_index

    return text.replace(f" --index {shlex.quote(str(default_index()))}", "")


class Fc7Group(click.Group):
    """Commands that are imported when they are called; the one place where a UserError becomes `Error: …`."""

    def __init__(self, **settings: Any) -> None:
        # Names alone, for click to know what may have been meant.
        super().__init__(**settings, commands={name: click.Command(name) for name in COMMANDS})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"commands.{module}"), f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, COMMANDS))  # so that the columns of all groups are one
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{widest}}", summary) for name, (_, summary) in group.items()])

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command that is named, and end the program."""
        try:
            return super().main(*args, **options)
        except SystemExit as end:
            together = sys.modules.get("training.loop.distributed")
            if together is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
                together.leave(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # closed by whoever started the program
                setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        # A file name that is no valid text leaves as the bytes that it is.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        try:
            return super().invoke(ctx)
        except UserError as error:
            from commands.installation import as_installed
            from retrieval.text import printable

            # File names can hold what a terminal obeys.
            told = WrongUsage if isinstance(error, OptionError) else click.ClickException
            raise told(printable(as_installed(without_default(error.with_hint)))) from error
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "onnx"):
                raise
            from commands.installation import install_command

            # `fc7 train --head` needs no torch, which is large.
            extra = "train" if error.name == "torch" else "onnx"
            message = f"training needs {error.name}, which is not installed: {install_command(extra)}"
            raise click.ClickException(message) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # What Python would still flush at its end, and complain that it cannot, goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(READER_GONE)


@click.group(
    cls=Fc7Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "FC7",
        "show_default": True,
        "max_content_width": 100,
    },
    epilog="Example: fc7 classify photo.jpg",
)
@click.version_option(package_name="fc7", message="%(prog)s %(version)s")
def main() -> None:
    """Name what is in your photos, and find the ones that look alike.

    Every option can also be set in the environment: FC7_MODEL and FC7_INDEX for all commands, the others as
    FC7_<COMMAND>_<OPTION>, for example FC7_SEARCH_TOP=20.
    """


if __name__ == "__main__":
    main(prog_name="fc7")
