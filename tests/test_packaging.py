"""What `make` installs is pinned, and what a user installs is complete."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXTRAS = ("cpu", "demo", "heif", "raw", "parquet", "watch", "train", "efficientnet", "dev")


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_for(requirements: list[str]) -> Iterator[str]:
    """Names of the packages that are here for these requirements, and for those of these, and so on."""
    seen = {"fc7"}
    pending = list(requirements)
    while pending:
        requirement, _, marker = pending.pop().partition(";")
        match = re.match(r"[\w.-]+", requirement.strip())
        assert match is not None
        name = normalised(match[0])
        if name in seen or "extra" in marker:
            continue
        try:
            version(name)
        except PackageNotFoundError:
            continue  # required on other systems only
        seen.add(name)
        yield name
        pending += requires(name) or []


def test_all_that_make_installs_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in EXTRAS for r in project["optional-dependencies"][extra])]
    names = sorted(installed_for(wanted))
    assert len(names) > 30
    assert [name for name in names if name not in pins()] == []


def test_makefile_installs_the_same_extras() -> None:
    assert f".[{','.join(EXTRAS)}]" in (REPOSITORY / "Makefile").read_text()


@pytest.mark.slow
def test_the_wheel_holds_every_module(tmp_path: Path) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path))
    source = tmp_path / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, check=True)
    [wheel] = tmp_path.glob("fc7-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        f"{package}/{path.name}"
        for package in ("index", "retrieval", "training")
        for path in (source / package).glob("*.py")
    }
    assert {path.name for path in source.glob("*.py")} | modules <= packed
    assert {name for name in packed if name.endswith(".onnx")} == {
        f"retrieval/{path.name}" for path in (source / "retrieval").glob("*.onnx")
    }
    assert not {name for name in packed if name.startswith(("tests/", "docs/", "benchmarks/"))}
