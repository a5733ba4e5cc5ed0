import json
import os
import pickle
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from permissions import locked
from told import told
from training_samples import TINY, checkpoint_of, lively

from training.data.augment import Normalisation
from training.errors import CheckpointError
from training.loop.checkpoint import FORMAT_VERSION, Checkpoint, EpochMetrics, EpochTotals


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A checkpoint in the midst of its third epoch."""
    network = lively(TINY, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    network(torch.randn(2, 3, 28, 28)).sum().backward()
    optimizer.step()
    found = checkpoint_of(network, Normalisation(torch.rand(3, 32, 32), torch.ones(3, 1, 1), torch.rand(3, 3)))
    found.epoch, found.step, found.totals = 2, 5, EpochTotals(1.25, 7.0, 40.0, 3.5, 0.5)
    found.history = [EpochMetrics(epoch, 20, 0.1, 1.1, 0.3, 1.2, 0.25, 1.0, 900.0, 0.01, 4.5) for epoch in (1, 2)]
    found.optimizer = optimizer.state_dict()
    found.random = {"cpu": torch.get_rng_state()}
    found.patience_from = 1
    return found


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """The file of that checkpoint."""
    checkpoint.save(tmp_path / "last.pt")
    return tmp_path / "last.pt"


def plain(value: Any) -> Any:
    """Tensors as lists, so that whole states can be compared."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return value


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let writing fail from a file's byte `size` on, as on a full disk."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_holds_everything(checkpoint: Checkpoint, saved: Path) -> None:
    loaded = Checkpoint.load(saved)
    for name in ("config", "recipe", "classes", "data", "epoch", "step", "totals", "history", "patience_from"):
        assert getattr(loaded, name) == getattr(checkpoint, name), name
    for name in ("network", "optimizer", "random"):
        assert plain(getattr(loaded, name)) == plain(getattr(checkpoint, name)), name
    for name in ("mean", "std", "colours"):
        assert torch.equal(getattr(loaded.normalisation, name), getattr(checkpoint.normalisation, name)), name


def test_the_totals_of_an_epoch_are_a_list_in_the_file(saved: Path) -> None:
    header = json.loads(torch.load(saved, weights_only=True)["fc7"])
    assert header["totals"] == [1.25, 7.0, 40.0, 3.5, 0.5]
    assert Checkpoint.load(saved).totals == EpochTotals(loss=1.25, right=7, pictures=40, seconds=3.5, waited=0.5)


def test_a_checkpoint_builds_its_own_network(checkpoint: Checkpoint, saved: Path) -> None:
    x = torch.randn(2, 3, 28, 28)
    network = Checkpoint.load(saved).build()
    assert not network.training
    with torch.inference_mode():
        assert torch.equal(network(x), checkpoint.build()(x))


def test_the_same_state_makes_the_same_file(checkpoint: Checkpoint, saved: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with told(CheckpointError, r"last.pt is damaged or no checkpoint; train again, or use another"):
        Checkpoint.load(saved)


def test_a_single_wrong_bit_in_a_weight_is_found(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        assert "/data/" in largest.filename
    content = bytearray(saved.read_bytes())
    content[largest.header_offset + 200] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(saved)


def text(path: Path) -> None:
    path.write_text("not a checkpoint")


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "not a checkpoint")


def weights_of_another_program(path: Path) -> None:
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3)}}, path)


def tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


@pytest.mark.parametrize("make", [text, other_archive, weights_of_another_program, tensor])
def test_a_foreign_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"foreign.pt is (damaged or no|not a) checkpoint"):
        Checkpoint.load(tmp_path / "foreign.pt")


def test_a_model_file_is_told_from_a_damaged_checkpoint(tiny_model: Path) -> None:
    with told(CheckpointError, r"tiny.onnx is a model file already, .*; use it with -m, or name"):
        Checkpoint.load(tiny_model)


class Bomb:
    """What pickle runs when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["archive", "plain pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, form: str) -> None:
    path, mark = tmp_path / "bomb.pt", tmp_path / "mark"
    if form == "archive":
        torch.save({"fc7": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"fc7": Bomb(mark)}))
    with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
        Checkpoint.load(path)
    assert not mark.exists()
    with path.open("rb") as file:  # and the bomb is a real one
        torch.load(file, weights_only=False) if form == "archive" else pickle.load(file)
    assert mark.is_dir()


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change the content and the header of a checkpoint's file."""
    content = torch.load(path, weights_only=True)
    header = json.loads(content["fc7"])
    change(content, header)
    if content["fc7"] != "{":
        content["fc7"] = json.dumps(header)
    torch.save(content, path)


def test_a_file_of_an_earlier_version_is_read(saved: Path, checkpoint: Checkpoint) -> None:
    """Its header as it was before shapes, noise of colours and fine-tuning could be chosen."""
    content = torch.load(saved, weights_only=True)
    content["fc7"] = (Path(__file__).parent / "checkpoint_header_1.json").read_text()
    del content["colours"]
    torch.save(content, saved)
    loaded = Checkpoint.load(saved)
    assert loaded.config == TINY
    assert (loaded.recipe.colour_noise, loaded.recipe.head_epochs, loaded.recipe.stop_after) == (0, 0, 0)
    assert loaded.recipe.lr == 0.2
    assert [known.id for known in loaded.classes] == ["n00000000", None, "n00000002"]
    assert (loaded.epoch, loaded.step, loaded.history[0].validation_top1) == (1, 5, 0.25)
    assert loaded.patience_from == 0
    assert not loaded.normalisation.colours.any()
    assert plain(loaded.build().state_dict()) == plain(checkpoint.network)


def test_a_newer_file_asks_for_an_upgrade(saved: Path) -> None:
    rewrite(saved, lambda _, header: header.update(format_version=FORMAT_VERSION + 1, recipe={"unheard": "of"}))
    with told(CheckpointError, r"format 2, this fc7 reads up to 1; upgrade it with `pip install"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda content, header: content.pop("optimizer"),
        lambda content, header: content.update(fc7="{"),
        lambda content, header: header.pop("format_version"),
        lambda content, header: header.update(format_version=None),
        lambda content, header: header["recipe"].update(unheard="of"),
        lambda content, header: header["recipe"].pop("lr"),
        lambda content, header: header["recipe"].update(lr=-1),
        lambda content, header: header["recipe"].update(schedule="bogus"),
        lambda content, header: header.update(classes=[["cat"]]),
        lambda content, header: header.update(history=[{"epoch": 1}]),
        lambda content, header: header["config"].pop("convs"),
    ],
)
def test_an_incomplete_file_is_an_error_of_the_user(saved: Path, change: Callable[[Any, Any], None]) -> None:
    rewrite(saved, change)
    with told(CheckpointError, r"last.pt is incomplete or of another version"):
        Checkpoint.load(saved)


def test_a_file_that_is_not_there_says_which_command_writes_one(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with told(CheckpointError, r"there is no checkpoint .*; `fc7 train DATA -o RUN` writes"):
            Checkpoint.load(path)


def test_weights_that_do_not_fit_the_architecture(checkpoint: Checkpoint) -> None:
    checkpoint.config = replace(TINY, hidden=(16, 20))
    with pytest.raises(CheckpointError, match="weights do not fit the architecture tiny"):
        checkpoint.build()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_full_disk_leaves_the_last_good_checkpoint(checkpoint: Checkpoint, saved: Path, share: float) -> None:
    good = saved.read_bytes()
    checkpoint.epoch = 3
    with (
        files_of_at_most(int(len(good) * share)),
        told(CheckpointError, r"last.pt could not be written \(.+\); the last good"),
    ):
        checkpoint.save(saved)
    assert saved.read_bytes() == good
    assert os.listdir(saved.parent) == ["last.pt"]
    checkpoint.save(saved)
    assert Checkpoint.load(saved).epoch == 3


def test_a_full_disk_before_there_is_any_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with files_of_at_most(1000), told(CheckpointError, r"could not be written .*; make room and start"):
        checkpoint.save(tmp_path / "last.pt")
    assert os.listdir(tmp_path) == []
    checkpoint.save(tmp_path / "last.pt")
    with files_of_at_most(1000), told(CheckpointError, r"best.pt could not .* resume it with --resume"):
        checkpoint.save(tmp_path / "best.pt")


def test_a_folder_that_is_gone_is_an_error_of_the_user(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with told(CheckpointError, r"\(No such file or directory\); choose another place with -o"):
        checkpoint.save(tmp_path / "gone" / "last.pt")


def test_a_place_that_is_taken_is_not_for_want_of_room(checkpoint: Checkpoint, saved: Path) -> None:
    (saved.parent / "best.pt").mkdir()
    with told(CheckpointError, r"best.pt could not .* is untouched. Correct that and resume it with"):
        checkpoint.save(saved.parent / "best.pt")


def test_a_file_that_may_not_be_read_is_not_called_damaged(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Reached from here, for no other user finds the way through pytest's folders.
    monkeypatch.chdir(saved.parent)
    saved.parent.chmod(0o755)
    with locked(saved), pytest.raises(CheckpointError) as caught:
        Checkpoint.load(Path("last.pt"))
    assert str(caught.value) == (
        "last.pt cannot be read (Permission denied); make it readable, or use another checkpoint"
    )
