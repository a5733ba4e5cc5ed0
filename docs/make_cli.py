"""Writes docs/cli.md from the help of the commands; with --check, fails if the file is not what the help says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

import cli

PAGE = Path(__file__).with_name("cli.md")
OPENING = """# The commands of fc7

Made by `make docs` from what the commands say of themselves.

- Results go to standard output, progress and warnings to standard error; there is no bar and nothing is shortened
  where that is no terminal. File names that are not valid text leave `csv` and `paths` as the bytes that they are, and
  `json` and `jsonl` with escapes.
- Exit status: 0 done; 1 something could not be done, the reason is on standard error; 2 wrong usage; 130 interrupted;
  141 whoever read standard output has gone, as `| head` does once it has enough. A photo named itself that cannot be
  read makes it 1, one in a folder only with `--strict`; the others are done first.
- Every option can be set in the environment: `FC7_MODEL` and `FC7_INDEX` for all commands, the others as
  `FC7_<COMMAND>_<OPTION>`, for example `FC7_SEARCH_TOP=20`.
- Completion with the Tab key: put `eval "$(_FC7_COMPLETE=bash_source fc7)"` into `~/.bashrc`,
  `eval "$(_FC7_COMPLETE=zsh_source fc7)"` into `~/.zshrc`, or `_FC7_COMPLETE=fish_source fc7 | source` into
  `~/.config/fish/config.fish`.
"""


def main() -> None:
    page = "\n".join([OPENING, *sections()])
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.is_file() or PAGE.read_text("utf-8") != page:
        sys.exit("docs/cli.md is not what the help says; run `make docs`")


def all_commands() -> Iterator[list[str]]:
    """Yield the words of each command, those of commands that have commands of their own included."""
    yield ["fc7"]
    for name in cli.COMMANDS:
        yield ["fc7", name]
        command = cli.main.get_command(click.Context(cli.main), name)
        if isinstance(command, click.Group):
            yield from (["fc7", name, part] for part in command.commands)


def sections() -> Iterator[str]:
    for words in all_commands():
        shown = CliRunner().invoke(cli.main, [*words[1:], "--help"], prog_name="fc7", terminal_width=100)
        yield f"## {' '.join(words)}\n\n```text\n{shown.output}```\n"


if __name__ == "__main__":
    main()
