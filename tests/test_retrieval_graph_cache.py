"""Optimised graphs: quicker, never different, and as if they were not there when they cannot be kept."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import Result
from conftest import make_model

from commands.options import cache_folder
from index.errors import ModelError, UserError
from retrieval.models import graph_cache
from retrieval.models.model import Model, Outputs

Opened = list[Path]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that tests write are never old enough."""
    monkeypatch.setattr(graph_cache, "SETTLED", -1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_model, tmp_path / "model.onnx"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The files that ONNX Runtime is asked to open from here on."""
    files: Opened = []
    open_one = onnxruntime.InferenceSession

    def noted(path: Path, *arguments: Any, **settings: Any) -> Any:
        files.append(path)
        return open_one(path, *arguments, **settings)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    return files


def answers(model: Model) -> Outputs:
    side = model.spec.crop
    return model.run(np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8))


def assert_same(found: Outputs, expected: Outputs) -> None:
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_allclose(found.fc7, expected.fc7, atol=1e-5)
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-6)


def entries(cache: Path) -> list[Path]:
    return list((cache / "graphs").iterdir()) if cache.is_dir() else []


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("built_in", [True, False])
def test_answers_are_those_of_the_model_file(
    tiny_model: Path, cache: Path, opened: Opened, few: bool, built_in: bool
) -> None:
    path = None if built_in else tiny_model
    plain = Model.load(path, device="cpu", fast_start=few)
    first = Model.load(path, device="cpu", fast_start=few, cache=cache)
    opened.clear()
    second = Model.load(path, device="cpu", fast_start=few, cache=cache)
    [entry] = entries(cache)
    assert opened == [entry / "graph.onnx"]
    for loaded in (first, second):
        assert_same(answers(loaded), answers(plain))
        assert (loaded.spec, loaded.path, loaded.providers) == (plain.spec, plain.path, plain.providers)


def test_a_graph_made_for_a_few_pictures_is_that_for_many(model: Path, cache: Path, opened: Opened) -> None:
    Model.load(model, fast_start=True, cache=cache)
    opened.clear()
    Model.load(model, threads=1, cache=cache)
    assert opened == [entries(cache)[0] / "graph.onnx"]


@pytest.mark.parametrize("command", ["classify", "embed", "index", "search"])
def test_commands_keep_graphs_in_the_users_cache_folder(
    fc7: Callable[..., Result], make_photo: Callable[..., Path], tmp_path: Path, cache: Path, command: str
) -> None:
    photo = make_photo("photos/a.png")
    assert fc7("index", tmp_path / "photos").exit_code == 0
    shutil.rmtree(cache)
    more = {"embed": ("-o", tmp_path / "out.npz")}.get(command, ())
    done = fc7(command, tmp_path / "photos" if command == "index" else photo, *more)
    assert (done.exit_code, len(entries(cache))) == (0, 1), done.output


def test_nothing_is_kept_unless_a_folder_is_named(model: Path, cache: Path) -> None:
    Model.load(model)
    assert entries(cache) == []


def test_the_graphs_are_the_users_own(model: Path, cache: Path) -> None:
    Model.load(model, cache=cache)
    assert (cache / "graphs").stat().st_mode & 0o777 == 0o700


def test_a_file_replaced_under_the_same_name(model: Path, other_model: Path, cache: Path) -> None:
    Model.load(model, cache=cache)
    shutil.copy(other_model, model.with_name("new"))
    model.with_name("new").replace(model)
    assert_same(answers(Model.load(model, cache=cache)), answers(Model.load(other_model)))
    assert len(entries(cache)) == 1


def test_a_file_written_over_with_one_of_the_same_size_and_time(model: Path, cache: Path, tmp_path: Path) -> None:
    Model.load(model, cache=cache)
    before = model.stat()
    other = make_model(tmp_path / "tiny.onnx", seed=3)
    model.write_bytes(other.read_bytes())
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = model.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert_same(answers(Model.load(model, cache=cache)), answers(Model.load(other)))


def test_a_file_that_may_still_be_changing_is_not_kept(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_cache, "SETTLED", 60)
    assert_same(answers(Model.load(model, cache=cache)), answers(Model.load(model)))
    assert entries(cache) == []


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def turn_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in ("graph.onnx", "weights", "made-from.json") for damage in (cut, Path.unlink)),
        ("graph.onnx", turn_a_bit),
        ("made-from.json", turn_a_bit),
    ],
)
def test_a_damaged_graph_is_made_again(
    tiny_model: Path, cache: Path, opened: Opened, name: str, damage: Callable[[Path], None]
) -> None:
    Model.load(tiny_model, cache=cache)
    [entry] = entries(cache)
    whole = {file.name: file.stat().st_size for file in entry.iterdir()}
    damage(entry / name)
    assert_same(answers(Model.load(tiny_model, cache=cache)), answers(Model.load(tiny_model)))
    assert entries(cache) == [entry]
    assert {file.name: file.stat().st_size for file in entry.iterdir()} == whole
    opened.clear()
    Model.load(tiny_model, cache=cache)
    assert opened == [entry / "graph.onnx"]


def test_a_graph_that_cannot_be_opened_is_removed(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    Model.load(model, cache=cache)
    [entry] = entries(cache)
    record = (entry / "made-from.json").read_bytes()
    (entry / "graph.onnx").write_bytes(b"no graph")
    monkeypatch.setattr(graph_cache.CachedGraph, "_record", lambda self, folder: record)
    opened.clear()
    assert_same(answers(Model.load(model, cache=cache)), answers(Model.load(model)))
    assert opened[:2] == [entry / "graph.onnx", model]
    assert entries(cache) == []


def test_another_processor_or_onnx_runtime_makes_its_own(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model.load(model, cache=cache)
    monkeypatch.setattr(graph_cache, "_processor", lambda: "SSE2")
    Model.load(model, cache=cache)
    assert len(entries(cache)) == 2
    monkeypatch.setattr(onnxruntime, "__version__", "9.9")
    Model.load(model, cache=cache)
    assert len(entries(cache)) == 3


def test_what_this_processor_can_do_is_known() -> None:
    assert graph_cache._processor().split()


@pytest.mark.parametrize("obstacle", ["a file in its place", "a relative folder", "a processor unknown", "a full disk"])
def test_where_nothing_can_be_kept_the_model_is_loaded_all_the_same(
    model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    monkeypatch.chdir(model.parent)
    before = set(model.parent.rglob("*"))
    if obstacle == "a file in its place":
        cache = model
    elif obstacle == "a relative folder":
        cache = Path("~/.cache")
    elif obstacle == "a processor unknown":
        monkeypatch.setattr(graph_cache, "_processor", lambda: "")
    else:
        usage = shutil.disk_usage(model.parent)
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    assert_same(answers(Model.load(model, cache=cache)), answers(Model.load(model)))
    assert {path for path in set(model.parent.rglob("*")) - before if path.is_file()} == set()


def test_a_disk_that_fills_up_while_a_graph_is_written(cache: Path) -> None:
    program = f"""
import resource, signal
from pathlib import Path
from retrieval.models.model import Model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
print(Model.load(device="cpu", cache=Path({str(cache)!r})).spec.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, Model.load().spec.name, "")
    assert entries(cache) == []


def test_several_processes_at_once(cache: Path) -> None:
    gate, start = os.pipe()  # they wait for its end
    program = f"""
import sys
from pathlib import Path
from retrieval.models.model import Model
sys.stdin.read()
print(Model.load(device="cpu", cache=Path({str(cache)!r})).spec.name)
"""
    done = [
        subprocess.Popen([sys.executable, "-c", program], stdin=gate, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    os.close(gate)
    os.close(start)
    for process in done:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out.decode().strip(), error) == (0, Model.load().spec.name, b"")
    [entry] = entries(cache)
    assert sorted(file.name for file in entry.iterdir()) == ["graph.onnx", "made-from.json", "weights"]
    assert_same(answers(Model.load(cache=cache)), answers(Model.load()))


def test_room_is_made_by_what_was_not_used_for_longest(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [make_model(tmp_path / f"{seed}.onnx", seed=seed) for seed in range(4)]
    for path in models[:2]:
        Model.load(path, cache=cache)
    for age, path in enumerate(models[:2]):
        [entry] = [entry for entry in entries(cache) if str(path) in (entry / "made-from.json").read_text()]
        os.utime(entry, (0, 10 - age))
    half_made = cache / "graphs" / "tmpkilled"
    half_made.mkdir()
    (half_made / "weights").write_bytes(bytes(1000))
    os.utime(half_made, (0, 5))
    taken = sum(file.stat().st_size for entry in entries(cache) for file in entry.iterdir())
    needed = 2 * models[2].stat().st_size
    monkeypatch.setattr(graph_cache, "LIMIT", taken - 2000 + needed)  # what was half made is not enough
    Model.load(models[2], cache=cache)
    assert not half_made.exists()
    kept = "".join((entry / "made-from.json").read_text() for entry in entries(cache))
    assert [str(path) in kept for path in models] == [True, False, True, False]
    # What was used just now does not give way: several models that are used together would drive out each other.
    monkeypatch.setattr(graph_cache, "LIMIT", needed)
    Model.load(models[0], cache=cache)
    Model.load(models[3], cache=cache)
    kept = "".join((entry / "made-from.json").read_text() for entry in entries(cache))
    assert [str(path) in kept for path in models] == [True, False, True, False]


def test_errors_are_those_of_the_model_file(model: Path, cache: Path, tmp_path: Path) -> None:
    Model.load(model, cache=cache)
    with pytest.raises(UserError, match="no CUDA device here"):
        Model.load(model, device="cuda", cache=cache)
    foreign = onnx.load(model)
    del foreign.metadata_props[:]
    onnx.save(foreign, model)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"model.onnx is an ONNX file, but not a model made by fc7"):
            Model.load(model, cache=cache)
    os.truncate(model, 100)
    with pytest.raises(ModelError, match=r"model.onnx is not a readable ONNX model"):
        Model.load(model, cache=cache)
    assert entries(cache) == []
    model.unlink()
    with pytest.raises(ModelError, match="there is no model file"):
        Model.load(model, cache=cache)
