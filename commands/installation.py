"""How fc7 was installed, and so what installs what it lacks. Messages say it for pip; here they are made to fit."""

import os
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires

EXTRA = re.compile(r"pip install 'fc7\[(\w+)\]'")
UPGRADE = "pip install --upgrade fc7"


def as_installed(text: str) -> str:
    """Return a message whose `pip install 'fc7[…]'` is the command for the environment that this Python runs in."""
    text = EXTRA.sub(lambda found: install_command(found[1]), text)
    if UPGRADE in text and _tool() == "pipx":
        text = text.replace(UPGRADE, f"pipx upgrade {_environment()}")
    return text


def install_command(extra: str) -> str:
    """Return what installs an extra: `pipx inject` beside fc7 where that is what pipx installed, and so on."""
    tool, packages = _tool(), shlex.join(packages_of(extra))
    if tool == "pipx" and packages:
        return f"pipx inject {_environment()} {packages}"
    if tool == "uv" and packages:
        return f"uv pip install --python {shlex.quote(sys.prefix)} {packages}"
    return f"pip install 'fc7[{extra}]'"


def packages_of(extra: str) -> list[str]:
    """Return the packages of an extra with their versions, as fc7's metadata names them."""
    try:
        needed = [line.partition(";") for line in requires("fc7") or []]
    except PackageNotFoundError:
        return []
    of_extra = re.compile(rf"extra *== *['\"]{extra}['\"]")
    return [requirement.strip() for requirement, _, marker in needed if of_extra.search(marker)]


def _tool() -> str:
    """Return what made this environment: pipx and uv leave a file in those of their tools."""
    if os.path.isfile(os.path.join(sys.prefix, "pipx_metadata.json")):
        return "pipx"
    return "uv" if os.path.isfile(os.path.join(sys.prefix, "uv-receipt.toml")) else "pip"


def _environment() -> str:
    return shlex.quote(os.path.basename(sys.prefix))
