"""Writes docs/cli.md from the help of the commands; with --check, fails if the file is not what the help says."""

import sys
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

import cli

PAGE = Path(__file__).with_name("cli.md")
OPENING = "# The commands of fc7\n\nMade by `make docs` from what the commands say of themselves.\n"


def main() -> None:
    page = "\n".join([OPENING, *sections()])
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.is_file() or PAGE.read_text("utf-8") != page:
        sys.exit("docs/cli.md is not what the help says; run `make docs`")


def sections() -> Iterator[str]:
    for words in [["fc7"], *(["fc7", name] for name in cli.main.commands)]:
        shown = CliRunner().invoke(cli.main, [*words[1:], "--help"], prog_name="fc7", terminal_width=100)
        yield f"## {' '.join(words)}\n\n```text\n{shown.output}```\n"


if __name__ == "__main__":
    main()
