"""Hints name the command that installs what is missing into the environment that fc7 runs in."""

import sys
from pathlib import Path

import pytest

from commands.installation import as_installed, install_command, packages_of
from commands.streams import warn
from retrieval.photos.formats import NEEDED_PACKAGES


def test_the_packages_of_an_extra_are_those_of_its_metadata() -> None:
    [package] = packages_of("heif")
    assert package.startswith("pillow-heif")
    assert [package.split(">")[0] for package in packages_of("train")] == ["torch", "onnx"]
    assert packages_of("none") == []


@pytest.mark.parametrize(
    ("file", "command"),
    [
        (None, "pip install 'fc7[heif]'"),
        ("pipx_metadata.json", "pipx inject fc7-env 'pillow-heif>=1.0'"),
        ("uv-receipt.toml", "uv pip install --python {prefix} 'pillow-heif>=1.0'"),
    ],
)
def test_the_command_is_that_of_the_tool_that_installed_fc7(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str | None,
    command: str,
) -> None:
    prefix = tmp_path / "fc7-env"
    prefix.mkdir()
    if file:
        (prefix / file).touch()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    expected = command.format(prefix=prefix)
    assert install_command("heif") == expected
    warn(f"Skipped a.heic: {NEEDED_PACKAGES['pillow_heif']}")
    assert capsys.readouterr().err == f"Skipped a.heic: a HEIC photo, which needs: {expected}\n"
    upgrade = "pipx upgrade fc7-env" if file == "pipx_metadata.json" else "pip install --upgrade fc7"
    assert as_installed("run `pip install --upgrade fc7`") == f"run `{upgrade}`"
    assert as_installed("run `pip install 'fc7[none]'`") == "run `pip install 'fc7[none]'`"
