"""Tables of weights as `torch.save` wrote them before version 1.6, read without torch: tensors, and nothing else.

Such a file is a row of pickles, then the raw numbers of each storage. A pickle is a program for a small machine with a
stack. Of that machine only what builds a table of tensors is here: no name is ever looked up or called, so a file can
do no more than fail. The layout: `_legacy_save` in torch/serialization.py; the machine: Python's pickletools.
"""

import math
import os
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MOST_BYTES = 1 << 30
"""Of a file, of its tensors together, and of a table in memory."""

LONGEST_NAME = 256
"""Bytes of a line in a pickle, the name of a global."""

DTYPES: dict[str, np.dtype[Any]] = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ByteStorage": np.dtype("u1"),
}
TABLE, REBUILD = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


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


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if any(type(number) is not int or number < 0 for number in numbers) or len(self.shape) != len(self.strides):
            raise _Refused("a tensor of an impossible shape")
        last = sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and self.offset + last >= self.storage.size:
            raise _Refused("a tensor that reaches beyond its numbers")
        if math.prod(self.shape) * self.storage.dtype.itemsize > MOST_BYTES:
            raise _Refused("a tensor that is too large")


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file by name, each an array of its own.

    Raises CheckpointError for a file that is missing, damaged, or holds anything but one table of tensors.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise _Refused("more than a gigabyte")
            return _read(file)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); make it readable") from error
    except (_Refused, ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged, or no table of tensors ({str(error) or type(error).__name__}), "
            "and nothing of it is loaded; install its package again"
        ) from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    if _load(file) != MAGIC or _load(file) != PROTOCOL:
        raise _Refused("it does not begin as a file of torch does")
    system = _load(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _Refused("its numbers are not little-endian")
    table, keys = _load(file), _load(file)
    if not isinstance(table, dict) or not isinstance(keys, list):
        raise _Refused("no table")
    if not all(isinstance(name, str) and isinstance(found, _Tensor) for name, found in table.items()):
        raise _Refused("something other than tensors")
    storages = {found.storage.key: found.storage for found in table.values()}
    if len(set(keys)) < len(keys) or storages.keys() != set(keys):
        raise _Refused("a tensor without numbers")
    numbers = {key: _read_storage(file, storages[key]) for key in keys}
    if sum(math.prod(found.shape) * found.storage.dtype.itemsize for found in table.values()) > MOST_BYTES:
        raise _Refused("tensors that are too large together")
    return {name: _array(found, numbers[found.storage.key]) for name, found in table.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> NDArray[Any]:
    size = int.from_bytes(file.read(8), "little")
    if size != storage.size:
        raise _Refused(f"{size} numbers where {storage.size} were promised")
    data = file.read(size * storage.dtype.itemsize)
    return np.frombuffer(data, storage.dtype, count=size)


def _array(tensor: _Tensor, numbers: NDArray[Any]) -> NDArray[Any]:
    steps = [step * tensor.storage.dtype.itemsize for step in tensor.strides]
    return np.array(np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps), order="C")


def _load(file: BinaryIO) -> Any:
    """Run one pickle of the file, up to its end, and return the value that it builds."""
    machine = _Machine()
    for operation, argument, _ in pickletools.genops(_Bounded(file)):  # type: ignore[arg-type]
        if operation.name == "STOP":
            return machine.result()
        machine.run(operation.name, argument)
    raise _Refused("it ends too soon")


class _Bounded:
    """A file of which no operation asks for more than is left: a few bytes can promise terabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if size > self._size - self._file.tell():
            raise _Refused("it ends too soon")
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline(LONGEST_NAME)


class _Machine:
    """The part of pickle's machine that builds tables of tensors; whatever else is asked of it is refused."""

    MARK = object()

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the one value that is left."""
        [value] = self.stack
        return value

    def run(self, name: str, argument: Any) -> None:
        """Carry out one operation. Raises _Refused for one that no table of tensors needs."""
        stack = self.stack
        match name:
            case "PROTO":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                stack.append(CONSTANTS[name])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "MARK":
                stack.append(self.MARK)
            case "GLOBAL":
                stack.append(_Name(argument))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "TUPLE":
                stack.append(tuple(self.marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND":
                value = stack.pop()
                self.container(list).append(value)
            case "APPENDS":
                values = self.marked()
                self.container(list).extend(values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.container(dict)[key] = value
            case "SETITEMS":
                values = self.marked()
                self.container(dict).update(zip(values[::2], values[1::2], strict=True))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, called = stack.pop(), stack.pop()
                stack.append(_built(called, arguments))
            case "BUILD":
                stack.pop()  # the versions of torch's layers, which a table carries beside its entries
                self.container(dict)
            case _:
                raise _Refused(f"the operation {name}")

    def marked(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        start = len(self.stack) - 1
        while self.stack[start] is not self.MARK:
            start -= 1
            if start < 0:
                raise _Refused("a mark is missing")
        values = self.stack[start + 1 :]
        del self.stack[start:]
        return values

    def container(self, kind: type) -> Any:
        """Return the list or dictionary that is on top."""
        if type(self.stack[-1]) is not kind:
            raise _Refused("values without a table")
        return self.stack[-1]


def _storage(description: Any) -> _Storage:
    """Return the storage that a persistent id describes: ("storage", type, key, device, size, view)."""
    match description:
        case ("storage", _Name() as kind, str(), str(), int(), None) if kind.text in DTYPES:
            key, size = str(description[2]), int(description[4])
            if 0 <= size <= MOST_BYTES:
                return _Storage(key, DTYPES[kind.text], size)
    raise _Refused("an unknown kind of numbers")


def _built(called: Any, arguments: Any) -> Any:
    """Return what the two calls that a table of tensors is made of would return."""
    match called, arguments:
        case _Name(text=str(name)), () if name == TABLE:
            return {}
        case _Name(text=str(name)), (_Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if (
            name == REBUILD
        ):
            return _Tensor(storage, offset, shape, strides)
    raise _Refused(f"a call of {called.text}" if isinstance(called, _Name) else "a call")
