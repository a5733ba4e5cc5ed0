"""The help, the reference made from it, and what the installed command does before any work begins."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import COMMANDS, main

REPOSITORY = Path(__file__).resolve().parent.parent
FC7 = Path(sys.executable).with_name("fc7")


def command_called(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    command = command_called(name)
    assert command.callback is not None
    assert command.callback.__name__ == f"{name}_command"
    done = CliRunner().invoke(main, [name, "--help"], prog_name="fc7")
    assert done.exit_code == 0
    assert f"Example: fc7 {name} " in done.output
    for parameter in command.params:
        assert parameter.param_type_name == "argument" or getattr(parameter, "help", None), (
            f"{parameter.name} has no help"
        )


def test_the_commands_are_listed_in_three_groups() -> None:
    order = ["classify", "detect", "embed", "index", "search", "label", "duplicates"]
    order += ["serve", "push", "forget", "moved", "check"]
    order += ["train", "evaluate", "export", "import", "show", "info", "bench"]
    assert list(COMMANDS) == order


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_itself_says(name: str) -> None:
    _, summary = COMMANDS[name]
    assert command_called(name).get_short_help_str(limit=1000).startswith(summary.rstrip("."))


def test_no_such_command_is_told_with_one_that_is_meant() -> None:
    done = CliRunner().invoke(main, ["clasify"], prog_name="fc7")
    assert done.exit_code == 2
    assert "Did you mean 'classify'?" in done.output


def test_help_fits_eighty_columns() -> None:
    for name in COMMANDS:
        done = CliRunner().invoke(main, [name, "--help"], prog_name="fc7", terminal_width=80)
        assert max(map(len, done.output.splitlines())) <= 80, name


@pytest.mark.parametrize("name", ["classify", "embed", "search", "index", "check", "evaluate"])
def test_threads_are_told_as_the_command_takes_them(name: str) -> None:
    [threads] = [option for option in command_called(name).params if option.name == "threads"]
    assert isinstance(threads, click.Option)
    few = "; all for up to 8 photos" if name in ("classify", "embed", "search") else ""
    assert threads.show_default == f"1, a batch on each core{few}"


def test_the_reference_is_what_the_help_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_cli.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_installed_command_tells_its_version() -> None:
    done = subprocess.run([FC7, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fc7 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    done = subprocess.run([FC7], env={**os.environ, "_FC7_COMPLETE": f"{shell}_source"}, capture_output=True, text=True)
    assert done.returncode == 0
    assert "fc7" in done.stdout


def test_completion_knows_the_commands() -> None:
    words = {"COMP_WORDS": "fc7 cl", "COMP_CWORD": "1", "_FC7_COMPLETE": "bash_complete"}
    done = subprocess.run([FC7], env={**os.environ, **words}, capture_output=True, text=True)
    assert done.stdout == "plain,classify\n"


def test_every_option_has_the_variable_that_the_help_promises() -> None:
    for name in COMMANDS:
        for option in command_called(name).params:
            if isinstance(option, click.Option) and option.name != "help":
                flag = next(flag for flag in option.opts if flag.startswith("--"))
                promised = f"FC7_{name}_{flag[2:]}".upper().replace("-", "_")
                variable = option.envvar or f"FC7_{name}_{option.name}".upper()
                assert variable in (promised, "FC7_MODEL", "FC7_INDEX")
