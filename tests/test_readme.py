"""What the README and the pages of docs/ say is so: code runs, commands and options exist, links lead somewhere."""

import os
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

REPOSITORY = Path(__file__).resolve().parents[1]
TASKS = ("search", "detection", "duplicates", "web", "training", "python", "models", "troubleshooting")
BY_TASK = ("README.md", *(f"docs/{task}.md" for task in TASKS))
PAGES = (
    *BY_TASK,
    "docs/design.md",
    "docs/internals.md",
    "docs/internals-training.md",
    "docs/results.md",
    "docs/scale.md",
    "docs/model-card.md",
)


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def python_of(page: str) -> str:
    """Return the Python blocks of a page as one program: later ones use what earlier ones made."""
    return "\n".join(re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL))


def run_python(page: str, folder: Path) -> list[str]:
    red, green = (Image.new("RGB", (90, 80), colour) for colour in ((200, 30, 20), (20, 160, 40)))
    (folder / "photos" / "old").mkdir(parents=True)
    for name, picture in {"a": red, "b": green, "photos/red": red, "photos/old/green": green}.items():
        picture.save(folder / f"{name}.jpg")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, "-c", python_of(page)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.skipif(not BUILTIN.exists(), reason="there is no built-in model")
def test_the_code_of_the_readme_runs(tmp_path: Path) -> None:
    a, b, first, second = run_python("README.md", tmp_path)
    assert a.startswith("a.jpg ")
    assert b.startswith("b.jpg ")
    assert re.fullmatch(r"[01]\.\d{3} .*red\.jpg", first)
    assert second.endswith("green.jpg")


@pytest.mark.skipif(not BUILTIN.exists(), reason="there is no built-in model")
def test_the_code_of_the_page_on_python_runs(tmp_path: Path) -> None:
    lines = run_python("docs/python.md", tmp_path)
    assert lines[3].startswith("(2, 256) ")
    assert lines[-1].startswith("cannot read missing.jpg")


def test_there_is_no_other_python_code() -> None:
    pages = ["README.md", "docs/models.md", "docs/python.md"]
    assert sorted(page for page in PAGES if python_of(page)) == pages


def commands(page: str) -> list[list[str]]:
    """Return the commands of a page, as words: indented lines, and those in running text."""
    text = text_of(page).replace("\\\n", " ")
    lines = re.findall(r"^ +(?:\$ )?(fc7 \w.*)$", text, re.MULTILINE)
    inline = re.findall(r"`(fc7 \w[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [shlex.split(line, comments=True) for line in [*lines, *inline]]


@pytest.mark.parametrize(
    ("page", "words"),
    [pytest.param(page, words, id=f"{page}: {' '.join(words)}") for page in PAGES for words in commands(page)],
)
def test_the_commands_and_options_exist(page: str, words: list[str]) -> None:
    ends = [words.index(end) for end in ("|", ">") if end in words]
    name, *arguments = words[1 : min(ends, default=len(words))]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    command.make_parser(click.Context(command)).parse_args(list(arguments))


def test_every_command_is_in_the_readme_or_a_page() -> None:
    assert {words[1] for page in BY_TASK for words in commands(page)} >= set(COMMANDS)


@pytest.mark.parametrize("task", TASKS)
def test_the_readme_links_to_every_page(task: str) -> None:
    assert f"](docs/{task}.md)" in text_of("README.md")


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_what_is_read_first_is_short(page: str) -> None:
    assert len(text_of(page).splitlines()) <= 150


def headings(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page)):
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    named = re.findall(r"`((?:benchmarks|commands|docs|index|retrieval|tests|training)/[\w/.-]+)`", text_of(page))
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
