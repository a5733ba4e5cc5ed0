"""Tables of tensors that torch wrote, read without it; and files that would do more than be read."""

import io
import os
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import CheckpointError
from training.tensor_file import MAGIC, PROTOCOL, read_tensors


def written(path: Path, table: object) -> Path:
    torch.save(table, path, _use_new_zipfile_serialization=False)
    return path


def pickled(path: Path, *values: bytes) -> Path:
    """Write a file that begins as torch's do, and goes on with these pickles."""
    head = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {"little_endian": True})]
    path.write_bytes(b"".join([*head, *values]))
    return path


def test_tensors_come_back_as_torch_reads_them(tmp_path: Path) -> None:
    shared = torch.arange(24.0)
    table = OrderedDict(
        floats=torch.randn(2, 3, 4),
        turned=torch.randn(4, 5).T,
        doubles=torch.randn(3, dtype=torch.float64),
        halves=torch.randn(3).half(),
        longs=torch.arange(5),
        ints=torch.arange(5, dtype=torch.int32),
        bytes=torch.arange(5, dtype=torch.uint8),
        scalar=torch.tensor(7),
        empty=torch.empty(0, 3),
        part=shared[4:12].reshape(2, 4),
        rest=shared[12:],
    )
    found = read_tensors(written(tmp_path / "table.pth", table))
    assert list(found) == list(table)
    for name, values in table.items():
        assert found[name].dtype == values.numpy().dtype
        assert found[name].shape == tuple(values.shape)
        np.testing.assert_array_equal(found[name], values.numpy())


def test_the_state_of_a_network_comes_back(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = network.state_dict()
    found = read_tensors(written(tmp_path / "network.pth", state))
    assert found.keys() == state.keys()
    assert all((found[name] == values.numpy()).all() for name, values in state.items())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=4), st.data())
def test_any_view_of_any_shape_comes_back(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], data: st.DataObject
) -> None:
    values = torch.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    values = values.permute(data.draw(st.permutations(range(len(shape)))))
    path = written(tmp_path_factory.mktemp("views") / "view.pth", {"view": values})
    np.testing.assert_array_equal(read_tensors(path)["view"], values.numpy())


class Hostile:
    """Calls a function when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self._reduced = call, arguments

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_that_a_file_names_is_called(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for call, arguments in ((os.mkdir, (str(trace),)), (eval, (f"open({str(trace)!r}, 'w')",))):
        hostile = Hostile(call, *arguments)
        for value in (hostile, {"weight": hostile}, [hostile]):
            path = pickled(tmp_path / "hostile.pth", pickle.dumps(value, protocol), pickle.dumps([], 2))
            with pytest.raises(CheckpointError, match="nothing of it is loaded"):
                read_tensors(path)
            assert not trace.exists()
    (tmp_path / "first.pth").write_bytes(pickle.dumps(Hostile(os.mkdir, str(trace)), protocol))
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "first.pth")
    assert not trace.exists()


HEAD = b"\x80\x02"


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\nq\x00(X\x04\x00\x00\x00trueq\x01tRq\x02.",  # a global, called
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",  # OBJ
        b"cos\nsystem\n)\x81.",  # NEWOBJ
        b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00a}sb.",  # BUILD on a table, which is let be: no tensors
        b"X\x04\x00\x00\x00evilQ.",  # a persistent id of no storage
        b"(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x00aX\x03\x00\x00\x00cpuK\x01NtQ.",
        b"\x94.",  # MEMOIZE
        b"\x82\x01.",  # EXT1
        b"0.",  # POP of nothing
        b"2.",  # DUP
        b"h\x07.",  # a memo that nobody wrote
        b"}}}s.",  # a key that cannot be one
        b"].",  # a list
        b"N.",
        b"}X\x01\x00\x00\x00aK\x01s.",  # a number for a tensor
        b"(" * 2000 + b"t" * 2000 + b".",
        b"}q\x00h\x00h\x00s.",  # a table in itself
        b"",
    ],
)
def test_programs_that_build_no_table_are_refused(tmp_path: Path, program: bytes) -> None:
    path = pickled(tmp_path / "odd.pth", HEAD + program, pickle.dumps(["a"], 2))
    with pytest.raises(CheckpointError, match=r"odd\.pth is damaged, or no table of tensors"):
        read_tensors(path)


def tensor(offset: object, shape: object, strides: object, size: int = 4) -> bytes:
    """Return the pickle of a table with one tensor as it is described, of a storage of float32."""

    class Persistent:
        pass

    class Writer(pickle._Pickler):
        def persistent_id(self, value: object) -> object:
            if isinstance(value, Persistent):
                return ("storage", torch.FloatStorage, "a", "cpu", size, None)
            return None

    file = io.BytesIO()
    call = torch._utils._rebuild_tensor_v2
    Writer(file, 2).dump({"weight": Hostile(call, Persistent(), offset, shape, strides, False, OrderedDict())})
    return file.getvalue()


def test_a_tensor_written_by_hand_is_read(tmp_path: Path) -> None:
    numbers = np.arange(4, dtype=np.float32)
    file = pickled(
        tmp_path / "t.pth", tensor(1, (3,), (1,)), pickle.dumps(["a"], 2), (4).to_bytes(8, "little"), numbers.tobytes()
    )
    np.testing.assert_array_equal(read_tensors(file)["weight"], [1, 2, 3])


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (-1, (2,), (1,)),
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (2,), (9,)),
        (0, (2.0,), (1,)),
        (True, (2,), (1,)),
        (0, (1 << 40, 1 << 40), (0, 0)),
        (0, (1 << 20, 1 << 20), (0, 0)),
        (0, (1,) * 100, (1,) * 100),
    ],
)
def test_tensors_that_reach_too_far_are_refused(tmp_path: Path, offset: int, shape: object, strides: object) -> None:
    file = pickled(
        tmp_path / "t.pth", tensor(offset, shape, strides), pickle.dumps(["a"], 2), (4).to_bytes(8, "little"), bytes(16)
    )
    with pytest.raises(CheckpointError):
        read_tensors(file)


def test_storages_of_another_size_are_refused(tmp_path: Path) -> None:
    for promised, size, data in ((4, 5, bytes(20)), (4, 4, bytes(15)), (1 << 40, 1 << 40, b""), (4, 1 << 62, b"")):
        file = pickled(
            tmp_path / "t.pth",
            tensor(0, (1,), (1,), promised),
            pickle.dumps(["a"], 2),
            size.to_bytes(8, "little"),
            data,
        )
        with pytest.raises(CheckpointError):
            read_tensors(file)


def test_a_file_cut_anywhere_or_with_a_changed_byte_is_refused_or_read(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.pth", {"a": torch.randn(3, 4), "b": torch.arange(3)}).read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_tensors(path)
    rng = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with suppress(CheckpointError):
            read_tensors(path)


def test_a_file_that_is_not_there_or_of_the_other_format(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_tensors(tmp_path / "none.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "zip.pth")
    with pytest.raises(CheckpointError, match="is damaged, or no table of tensors"):
        read_tensors(tmp_path / "zip.pth")
