"""Published weights, against torch's own layers as torchvision lays them out."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from told import told
from torch import Tensor
from torchvision_layout import torchvision_alexnet

from training.data.augment import centre_crops
from training.errors import CheckpointError
from training.pretrained.torchvision import ALEXNET_SHA256, ALEXNET_URL, as_network, promised_digest, read_weights
from training.pretrained.torchvision import torchvision_normalisation as normalisation

SHAPES = {name: values.shape for name, values in torchvision_alexnet(10, seed=None).state_dict().items()}


def empty_weights() -> dict[str, Tensor]:
    """A state dict of the right shapes that takes no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape in SHAPES.items()}


@pytest.mark.slow
def test_the_network_answers_as_torchs_own_layers() -> None:
    theirs = torchvision_alexnet(12, seed=1)
    ours = as_network(theirs.state_dict(), "weights.pth")
    x = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.forward_features(x), theirs.fc7(x))
    assert ours.classes == 12
    assert not ours.training


def test_pixels_are_normalised_as_torchvision_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    scaled = torch.from_numpy(pixels[:, 16:240, 16:240] / 255).permute(0, 3, 1, 2).float()
    mean, deviation = (torch.tensor(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    ours = centre_crops(torch.from_numpy(pixels), 224, normalisation())
    torch.testing.assert_close(ours, (scaled - mean) / deviation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("features.0.weight"), "has no features.0.weight"),
        (lambda state: state.pop("classifier.6.bias"), "has no classifier.6.bias"),
        (
            lambda state: state.update({"features.1.running_mean": torch.zeros(64)}),
            "has features.1.running_mean, which",
        ),
        (
            lambda state: state.update({"classifier.1.weight": torch.zeros(()).expand(4096, 25088)}),
            "classifier.1.weight is 4096 × 25088, in torchvision's AlexNet 4096 × 9216",
        ),
        (lambda state: state.update({"classifier.6.bias": torch.zeros(3)}), "classifier.6.weight is 10 × 4096, in"),
        (lambda state: state.update({"classifier.6.bias": torch.tensor(1.0)}), "classifier.6.weight is 10 × 4096, in"),
        (
            lambda state: state.update({"features.3.bias": torch.full((192,), torch.nan)}),
            "features.3.bias holds values that are not finite",
        ),
        (lambda state: state.update({"epoch": 3}), "is not a table of weights"),
        (lambda state: state.clear(), "has no classifier.1.bias"),
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[dict[str, object]], object], message: str) -> None:
    state: dict[str, object] = {**empty_weights()}
    change(state)
    with told(CheckpointError, message) as error:
        as_network(state, "my.pth")
    assert "my.pth" in str(error.value)


@pytest.mark.slow
def test_half_precision_is_read_too() -> None:
    state = {name: torch.zeros((), dtype=torch.half).expand(shape) for name, shape in SHAPES.items()}
    assert as_network(state, "my.pth").fc8.weight.dtype == torch.float32


@pytest.mark.parametrize("state", [[1, 2], torch.zeros(3), "text", None])
def test_what_is_no_state_dict_is_an_error(state: object) -> None:
    with pytest.raises(CheckpointError, match="is not a table of weights"):
        as_network(state, "my.pth")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
        ("alexnet-owt-7be5be79 (1).pth", "7be5be79"),
        ("alexnet.pth", ""),
        ("alexnet-owt.pth", ""),
        ("alexnet-owt-7be5be7.pth", ""),
        ("alexnet-feature.pth", ""),
    ],
)
def test_the_name_tells_the_beginning_of_the_digest(name: str, digest: str) -> None:
    assert promised_digest(name) == digest


def test_the_published_files_name_and_digest_agree() -> None:
    assert ALEXNET_SHA256.startswith(promised_digest(ALEXNET_URL.rpartition("/")[2]))
    assert len(ALEXNET_SHA256) == 64


def test_a_file_that_is_not_what_its_name_says_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "alexnet-owt-7be5be79.pth"
    path.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=r"begins with .*, and not with 7be5be79 as its name"):
        read_weights(path)


class Trap:
    """What a pickle may hold: a call that is made when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap))])
def test_code_in_a_file_is_never_run(write: Callable[[object, Path], object], tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "weights.pth"
    write({"features.0.weight": Trap(sprung)}, path)
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_weights(path)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\3\4 cut", b"<html>not found</html>", b"\x80\x02}q\0."])
def test_a_damaged_file_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_weights(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with told(CheckpointError, "`fc7 import --list` says"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_both_of_torchs_file_formats_are_read_and_verified(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = torchvision_alexnet(10, seed=2)
    unnamed = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), unnamed, _use_new_zipfile_serialization=zipped)
    digest = hashlib.sha256(unnamed.read_bytes()).hexdigest()
    path = unnamed.rename(tmp_path / f"alexnet-{digest[:8]}.pth")
    published = read_weights(path)
    assert (published.name, published.sha256) == (path.name, digest)
    assert torch.equal(published.network.fc8.weight, theirs.state_dict()["classifier.6.weight"])
    # Only torchvision's own file is said to have its accuracy.
    assert not published.is_torchvisions
    assert (published.accuracy, published.licence) == ({}, "")
    monkeypatch.setattr("training.pretrained.torchvision.ALEXNET_SHA256", digest)
    published = read_weights(path)
    assert published.is_torchvisions
    assert (published.accuracy["top1"], published.accuracy["top5"]) == (0.56522, 0.79066)
    assert "not measured here" in published.accuracy["source"]
    assert "BSD-3-Clause" in published.licence
