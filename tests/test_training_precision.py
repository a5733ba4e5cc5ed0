"""The numbers that a network is multiplied in."""

import pytest
import torch
from told import told

from index.errors import UserError
from training.loop.optimisation import chosen_precision, name_of
from training.loop.recipe import PAPER

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_precision_that_is_asked_for(device: torch.device) -> None:
    for name in ("float32", "bfloat16"):
        assert name_of(chosen_precision(PAPER.changed(precision=name), device)) == name


@pytest.mark.parametrize(("tiles", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_what_the_processor_is_made_for(
    tiles: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": tiles}, raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: tiles)
    for device in (CPU, CUDA):
        assert chosen_precision(PAPER.changed(precision="auto"), device) == expected


def test_auto_is_float32_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert chosen_precision(PAPER.changed(precision="auto"), CPU) == torch.float32


def test_float16_is_for_gpus() -> None:
    recipe = PAPER.changed(precision="float16")
    assert chosen_precision(recipe, CUDA) == torch.float16
    with told(UserError, "float16 needs a GPU; on a CPU give --precision bfloat16, float32 or auto"):
        chosen_precision(recipe, CPU)
