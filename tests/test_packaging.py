"""What `make` installs is pinned, and what a user installs is complete."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from cli import COMMANDS

REPOSITORY = Path(__file__).resolve().parent.parent
EXTRAS = ("cpu", "demo", "heif", "raw", "jxl", "tiff", "parquet", "ray", "watch", "web", "train", "efficientnet", "dev")


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_for(requirements: list[str]) -> Iterator[str]:
    """Names of the packages that are here for these requirements, and for those of these, and so on."""
    # Not by the path of imports: Ray adds a folder of its own packages to it, where another test has imported it.
    site = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    here = {normalised(found.name): found for found in distributions(path=sorted(site))}
    seen = {"fc7"}
    pending = list(requirements)
    while pending:
        requirement, _, marker = pending.pop().partition(";")
        match = re.match(r"[\w.-]+", requirement.strip())
        assert match is not None
        name = normalised(match[0])
        if name in seen or "extra" in marker:
            continue
        if name not in here:
            continue  # required on other systems only
        seen.add(name)
        yield name
        pending += here[name].requires or []


def test_all_that_make_installs_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in EXTRAS for r in project["optional-dependencies"][extra])]
    names = sorted(installed_for(wanted))
    assert len(names) > 30
    assert [name for name in names if name not in pins()] == []


def test_makefile_installs_the_same_extras() -> None:
    assert f".[{','.join(EXTRAS)}]" in (REPOSITORY / "Makefile").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what git knows."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    options = ("--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, check=True)
    [found] = folder.glob("fc7-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_every_module(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    packages = [REPOSITORY / package for package in ("commands", "fc7", "index", "retrieval", "training", "web")]
    modules = [*REPOSITORY.glob("*.py"), *(path for package in packages for path in package.rglob("*.py"))]
    assert {path.relative_to(REPOSITORY).as_posix() for path in modules} <= packed
    assert {name for name in packed if name.endswith(".onnx")} == {"retrieval/models/builtin.onnx"}
    assert {"fc7/py.typed", "index/py.typed", "retrieval/py.typed"} <= packed
    assert not {name for name in packed if name.startswith(("tests/", "docs/", "benchmarks/"))}


@pytest.mark.slow
def test_every_command_works_from_the_wheel(wheel: Path, make_photo: Callable[..., Path], tmp_path: Path) -> None:
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    [packages] = environment.glob("lib/python*/site-packages")
    install = ("--quiet", "--no-deps", "--no-index", "--target", str(packages), str(wheel))
    subprocess.run([sys.executable, "-m", "pip", "install", *install], check=True)
    # Other packages are those of these tests, as a plain folder: the .pth file that leads to this checkout is not read.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    photo = make_photo("a.png")

    def fc7(*words: object) -> str:
        command = [str(python), "-P", "-m", "cli", *map(str, words)]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in COMMANDS:
        assert f"Example: fc7 {name} " in fc7(name, "--help")
    assert str(photo) in fc7("classify", photo)
    fc7("index", photo.parent, "--index", tmp_path / "index")
    assert str(photo) in fc7("search", photo, "--index", tmp_path / "index")
    fc7("search", "--label", "dog", "--index", tmp_path / "index")
    fc7("duplicates", "--index", tmp_path / "index")
    fc7("check", "--index", tmp_path / "index")
    fc7("embed", photo, "-o", tmp_path / "embeddings.npz")
    fc7("info", "builtin")
    fc7("import", "--list")
