"""The command line: each command parses its words, makes one call and prints what comes back.

Results go to stdout, progress and warnings to stderr. Whatever is heavy is imported inside the commands, so that
`fc7 --help` answers at once.
"""

import sys
from typing import Any

import click

from cli_output import INTERRUPTED
from cli_photos import (
    check_command,
    classify_command,
    duplicates_command,
    embed_command,
    forget_command,
    index_command,
    info_command,
    search_command,
)
from cli_training import evaluate_command, export_command, import_command, train_command
from index.errors import UserError


class Fc7Group(click.Group):
    """Commands in the order of work; the one place where a UserError becomes `Error: …` and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        # A file name that is no valid text leaves as the bytes that it is.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        try:
            return super().invoke(ctx)
        except UserError as error:
            from retrieval.formats import printable

            # File names can hold what a terminal obeys.
            raise click.ClickException(printable(str(error))) from error
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "onnx"):
                raise
            message = f"training needs {error.name}, which is not installed: pip install 'fc7[train]'"
            raise click.ClickException(message) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted.", err=True)
            ctx.exit(INTERRUPTED)


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


for command in (
    classify_command,
    index_command,
    search_command,
    duplicates_command,
    forget_command,
    check_command,
    embed_command,
    train_command,
    evaluate_command,
    export_command,
    import_command,
    info_command,
):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="fc7")
