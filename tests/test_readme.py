"""What the README says is so: its Python runs, and its commands and options exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from PIL import Image

from cli import COMMANDS, main
from retrieval.models.model import BUILTIN

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not BUILTIN.exists(), reason="there is no built-in model")
def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in (("red", (200, 30, 20)), ("green", (20, 160, 40))):
        Image.new("RGB", (90, 80), colour).save(photos / f"{name}.jpg")
    Image.new("RGB", (90, 80), (200, 30, 20)).save(tmp_path / "photo.jpg")

    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert run.returncode == 0, run.stderr
    label, first, second = run.stdout.splitlines()
    assert re.fullmatch(r".+ [01]\.\d+", label)
    assert first.endswith("red.jpg")
    assert second.endswith("green.jpg")


def commands() -> list[list[str]]:
    lines = [line.strip() for line in README.splitlines() if re.match(r"\s+(\$ )?fc7 \w", line)]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words))
def test_the_commands_and_options_of_the_readme_exist(words: list[str]) -> None:
    words = words[1 : words.index("|")] if "|" in words else words[1:]
    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    known = {option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts}
    used = {word for word in words[1:] if re.match(r"-\w$|--\w", word)}
    assert used <= known


def test_every_command_is_in_the_readme() -> None:
    assert {words[1] for words in commands()} | set(re.findall(r"`fc7 (\w+)", README)) >= set(COMMANDS)
