"""The Dockerfile and compose.yaml are read and checked, much as hadolint does; no test has Docker to run them."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
import yaml

from cli import main

REPOSITORY = Path(__file__).resolve().parent.parent
JSON_FORM = ("ENTRYPOINT", "CMD", "VOLUME")
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ARG", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", *JSON_FORM}


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Instructions with their arguments, lines that go on joined."""
    lines = [line for line in (REPOSITORY / "Dockerfile").read_text("ascii").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)
    ]


def arguments(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [given for word, given in instructions if word == name]


def composed() -> dict[str, dict[str, object]]:
    whole: dict[str, dict[str, object]] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text("ascii"))
    return whole


def test_each_instruction_is_one(instructions: list[tuple[str, str]]) -> None:
    assert instructions[0][0] == "FROM"
    assert {word for word, _ in instructions} <= KNOWN
    for word, given in instructions:
        if word in JSON_FORM:
            assert all(isinstance(part, str) for part in json.loads(given)), given
    for bases in arguments(instructions, "FROM"):
        image = bases.split()[0]
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+-slim-[a-z]+", image), image
    for command in arguments(instructions, "RUN"):
        assert shlex.split(command)
        assert "sudo" not in command
        assert "curl" not in command
        assert ("pip install" in command) == ("--no-cache-dir" in command) == ("--constraint" in command)


def test_it_runs_as_a_user_without_rights(instructions: list[tuple[str, str]]) -> None:
    last_stage = instructions[max(number for number, (word, _) in enumerate(instructions) if word == "FROM") :]
    words = [word for word, _ in last_stage]
    [user] = arguments(last_stage, "USER")
    assert user == "${UID}"
    assert int(arguments(last_stage, "ARG")[0].removeprefix("UID=")) > 0
    assert words.index("USER") > max(number for number, word in enumerate(words) if word in ("RUN", "COPY"))
    assert words.count("CMD") == words.count("ENTRYPOINT") == words.count("HEALTHCHECK") == 1


def test_all_that_is_packaged_is_copied(instructions: list[tuple[str, str]]) -> None:
    copied = [source for given in arguments(instructions, "COPY") for source in given.split()[:-1]]
    sources = {source.rstrip("/") for source in copied if not source.startswith(("--from", "/"))}
    assert all((REPOSITORY / source).exists() for source in sources)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    tools = project["tool"]["setuptools"]
    wanted = {package.partition(".")[0] for package in tools["packages"]} | {
        f"{name}.py" for name in tools["py-modules"]
    }
    assert wanted | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} == sources
    # What is sent to the builder: all of that, and nothing else, such as photos, runs and tokens.
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == sources
    assert any(fnmatch("**/__pycache__", rule) for rule in rules)
    extras = re.search(r"'\.\[([a-z,]+)\]'", " ".join(arguments(instructions, "RUN")))
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project["project"]["optional-dependencies"])


def test_the_commands_are_those_of_the_program(instructions: list[tuple[str, str]]) -> None:
    service = composed()["services"]["fc7"]
    assert isinstance(service, dict)
    [command] = map(json.loads, arguments(instructions, "CMD"))
    assert service["command"] == command
    name, *options = command
    assert isinstance(main, click.Group)
    serve = main.get_command(click.Context(main), name)
    assert serve is not None
    with serve.make_context(name, options) as context:
        assert context.params["host"] == "0.0.0.0"
        port, token = context.params["port"], context.params["token_file"]
    assert arguments(instructions, "EXPOSE") == [str(port)]
    assert f":{port}/api/health" in arguments(instructions, "HEALTHCHECK")[0]
    assert Path(token).parent == Path("/run/secrets")
    assert service["secrets"] == [Path(token).name]


def test_the_composition_gives_no_more_than_is_needed() -> None:
    whole = composed()
    service = whole["services"]["fc7"]
    assert isinstance(service, dict)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    photos, index = service["volumes"]
    assert photos.endswith(":/photos:ro")
    assert index.partition(":")[0] in whole["volumes"]
    assert set(service["secrets"]) == set(whole["secrets"])
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert "network_mode" not in service
