"""Tables of weights as `torch.save` wrote them before version 1.6, read without torch: tensors, and nothing else.

Such a file is a row of pickles, then the raw numbers of each storage. A pickle is a program for a small machine with a
stack. Of that machine only what builds a table of tensors is here: no name is ever looked up or called, so a file can
do no more than fail. The layout: `_legacy_save` in torch/serialization.py; the machine: Python's pickletools.
"""

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from training.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MOST_BYTES = 1 << 28
"""Of the numbers in a file, and of its tensors together, which may share numbers."""
MOST_PICKLED = 1 << 20
"""Bytes of a file's pickles, which bound what they cost; those of 400 tensors have 62,000."""
MOST_SIDES = 64
"""Of an array of NumPy."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ByteStorage": np.dtype("u1"),
}
TABLE, REBUILD = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NAMES = {operation.code: operation.name for operation in pickletools.opcodes}
ARGUMENTS: Mapping[str, Callable[[io.BytesIO], Any]] = {
    "PROTO": pickletools.read_uint1,
    "BININT": pickletools.read_int4,
    "BININT1": pickletools.read_uint1,
    "BININT2": pickletools.read_uint2,
    "LONG1": pickletools.read_long1,
    "BINUNICODE": pickletools.read_unicodestring4,
    "GLOBAL": lambda pickles: _name(pickles.readline(), pickles.readline()),
    "BINPUT": pickletools.read_uint1,
    "LONG_BINPUT": pickletools.read_uint4,
    "BINGET": pickletools.read_uint1,
    "LONG_BINGET": pickletools.read_uint4,
}
"""What reads the argument of an operation, for those that are carried out and have one."""


class _Refused(Exception):
    """The file is not what is read here."""


@dataclass(frozen=True)
class _Name:
    """A global of a pickle: its module and name as text."""

    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    size: int

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0:
            raise _Refused("an impossible number of numbers")

    @property
    def bytes(self) -> int:
        """What its numbers take in the file."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.strides) or len(self.shape) > MOST_SIDES:
            raise _Refused("a tensor of an impossible shape")
        for number in (self.offset, *self.shape, *self.strides):
            if type(number) is not int or not 0 <= number <= MOST_BYTES:
                raise _Refused("a tensor of an impossible shape")
        reach = 1 + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        if self.offset + (0 if 0 in self.shape else reach) > self.storage.size:
            raise _Refused("a tensor that reaches beyond its numbers")

    @property
    def bytes(self) -> int:
        """What it takes; a side of no length counts as 1, for NumPy multiplies the others all the same."""
        return math.prod(max(side, 1) for side in self.shape) * self.storage.dtype.itemsize


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file by name, each an array of its own.

    Raises CheckpointError for a file that is missing, damaged, or holds anything but one table of tensors.
    """
    try:
        if path.exists() and not path.is_file():
            raise _Refused("no file")  # a pipe would be waited for
        with path.open("rb") as file:
            return _read(file)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    except _Refused as error:
        raise CheckpointError(
            f"{path} is damaged, or no table of tensors ({error}), and nothing of it is loaded; "
            "install its package again"
        ) from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    start = file.read(MOST_PICKLED)
    if start.startswith(b"PK\3\4"):
        raise _Refused("it is a zip archive, as torch writes since version 1.6")
    pickles = io.BytesIO(start)
    if _load(pickles) != MAGIC or _load(pickles) != PROTOCOL:
        raise _Refused("it does not begin as a file of torch does")
    system = _load(pickles)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _Refused("its numbers are not little-endian")
    table, keys = _load(pickles), _load(pickles)
    if not isinstance(table, dict) or not isinstance(keys, list):
        raise _Refused("no table")
    if not all(isinstance(found, _Tensor) for found in table.values()):
        raise _Refused("something other than tensors")
    if not all(name.isprintable() for name in table):  # names are shown
        raise _Refused("a name that is no text")
    storages: dict[str, _Storage] = {}
    for found in table.values():
        if storages.setdefault(found.storage.key, found.storage) != found.storage:
            raise _Refused("two descriptions of the same numbers")
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise _Refused("a tensor without numbers")
    for parts in (storages, table):
        if sum(part.bytes for part in parts.values()) > MOST_BYTES:
            raise _Refused(f"more than {MOST_BYTES >> 20} MiB of numbers")
    file.seek(pickles.tell())
    numbers = {key: _read_storage(file, storages[key]) for key in keys}
    if file.read(1):
        raise _Refused("it goes on after its numbers")
    return {name: _array(found, numbers[found.storage.key]) for name, found in table.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> bytes:
    if file.read(8) != storage.size.to_bytes(8, "little"):
        raise _Refused("another number of numbers than was promised")
    data = file.read(storage.bytes)
    if len(data) < storage.bytes:
        raise _Refused("it ends too soon")
    return data


def _array(tensor: _Tensor, numbers: bytes) -> NDArray[Any]:
    dtype = tensor.storage.dtype
    steps = [step * dtype.itemsize for step in tensor.strides]
    # NumPy checks once more that the view stays within its numbers.
    return np.array(np.ndarray(tensor.shape, dtype, numbers, tensor.offset * dtype.itemsize, steps), order="C")


def _name(module: bytes, name: bytes) -> str:
    """Return the text of a global's two lines. pickletools would look for escapes, and warn of those it does not know.

    Raises ValueError where they are cut off.
    """
    if not name.endswith(b"\n"):
        raise ValueError("a name without an end")
    return f"{module[:-1].decode('ascii')} {name[:-1].decode('ascii')}"


def _load(pickles: io.BytesIO) -> Any:
    """Run one pickle, up to its end, and return the value that it builds."""
    machine = _Machine()
    try:
        while True:
            code = pickles.read(1)
            if not code:
                raise _Refused("its pickles do not end")
            name = NAMES.get(code.decode("latin-1"), f"of code {code[0]}")
            if name == "STOP":
                return machine.result()
            reader = ARGUMENTS.get(name)
            machine.run(name, reader(pickles) if reader else None)
    except (ValueError, IndexError, KeyError) as error:
        # An argument is cut off, or the stack or the memo lacks what an operation takes from it.
        raise _Refused("its pickles are not whole") from error


class _Machine:
    """The part of pickle's machine that builds tables of tensors; whatever else is asked of it is refused."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks that marks have put aside."""
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the one value that is left."""
        if self.below or len(self.stack) != 1:
            raise _Refused("its pickles are not whole")
        return self.stack[0]

    def run(self, name: str, argument: Any) -> None:
        """Carry out one operation. Raises _Refused for one that no table of tensors needs, and errors of the stack."""
        match name:
            case "PROTO":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                self.stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                self.stack.append(CONSTANTS[name])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "GLOBAL":
                self.stack.append(_Name(argument))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "TUPLE":
                values = self.marked()
                self.stack.append(tuple(values))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                values = [self.stack.pop() for _ in range(int(name[-1]))]
                self.stack.append(tuple(values[::-1]))
            case "APPEND":
                value = self.stack.pop()
                self.container(list).append(value)
            case "APPENDS":
                values = self.marked()
                self.container(list).extend(values)
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                self.fill([key, value])
            case "SETITEMS":
                self.fill(self.marked())
            case "BINPERSID":
                self.stack.append(_storage(self.stack.pop()))
            case "REDUCE":
                arguments, called = self.stack.pop(), self.stack.pop()
                self.stack.append(_built(called, arguments))
            case "BUILD":
                self.stack.pop()  # the versions of torch's layers, which a table carries beside its entries
                self.container(dict)
            case _:
                raise _Refused(f"the operation {name}")

    def marked(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def fill(self, values: list[Any]) -> None:
        """Put keys and values, in turn, into the dictionary on top.

        Keys are text: the hash of a tuple in a tuple in a tuple can take years, and numbers can be chosen to collide.
        """
        table = self.container(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) is not str:
                raise _Refused("a name that is no text")
            table[key] = value

    def container(self, kind: type) -> Any:
        """Return the list or dictionary that is on top."""
        if type(self.stack[-1]) is not kind:
            raise _Refused("values without a table")
        return self.stack[-1]


def _storage(description: Any) -> _Storage:
    """Return the storage that a persistent id describes: ("storage", type, key, device, size, view)."""
    match description:
        case ("storage", _Name(text=kind), str(key), str(), int(size), None) if kind in DTYPES:
            return _Storage(key, DTYPES[kind], size)
    raise _Refused("an unknown kind of numbers")


def _built(called: Any, arguments: Any) -> Any:
    """Return what the two calls that a table of tensors is made of would return."""
    match called, arguments:
        case _Name(text=name), () if name == TABLE:
            return {}
        case _Name(text=name), (_Storage() as storage, offset, tuple(shape), tuple(strides), *_) if name == REBUILD:
            return _Tensor(storage, offset, shape, strides)
    raise _Refused(f"a call of {called.text!r:.80}" if isinstance(called, _Name) else "a call")
