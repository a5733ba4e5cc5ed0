"""The optimised graphs of model files, kept so that a model is optimised once and not at each start.

Each is a folder: the graph, its weights in a file of their own, which is mapped rather than read, and a record of what
they were made from. What cannot be read or written is as if it were not there, for there is always the model itself.
"""

import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

GRAPH, WEIGHTS, RECORD = "graph.onnx", "weights", "made-from.json"

VERSION = 1
"""Of how graphs are written; with another one all are made again."""

LIMIT = 1 << 30
"""Bytes that all graphs may take."""

IDLE = 3600
"""Seconds after its last use from which a graph gives way to another."""

SETTLED = 2
"""Seconds after which one more change of a file is sure to change its times, whatever the file system."""


@dataclass(frozen=True)
class CachedGraph:
    """The place of one model file's optimised graph, and what must be true of one that lies there."""

    model: Path
    stat: os.stat_result
    maker: str
    folder: Path

    @classmethod
    def of(cls, model: Path, *, cache: Path, runtime: str) -> "CachedGraph | None":
        """Return the place below `cache` for a model file and what optimises it; None where nothing can be kept."""
        processor = _processor()
        if not processor or not cache.is_absolute():
            return None
        model, maker = model.resolve(), f"{VERSION}, {runtime}, {processor}"
        name = zlib.crc32(f"{model}, {maker}".encode(errors="surrogateescape"))
        return cls(model, model.stat(), maker, cache / "graphs" / f"{name:08x}")

    def find(self) -> Path | None:
        """Return the file of the graph, if it lies there whole and was made from the present model file."""
        with suppress(OSError):
            if (self.folder / RECORD).read_bytes() == self._record(self.folder):
                with suppress(OSError):
                    os.utime(self.folder)  # the time of its last use
                return self.folder / GRAPH
        return None

    def make(self, write: Callable[[Path], bool]) -> Path | None:
        """Have `write` write the graph, with WEIGHTS beside it; return its file, None where it cannot be kept.

        `write` returns whether it could.
        """
        self.remove()
        if time.time() - max(self.stat.st_mtime, self.stat.st_ctime) < SETTLED:
            return None
        places = self.folder.parent
        with suppress(OSError):  # no room, no permission, or another process was quicker
            places.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Weights of float16 become float32.
            if not _make_room(places, 2 * self.stat.st_size):
                return None
            with TemporaryDirectory(dir=places, ignore_cleanup_errors=True) as made:
                folder = Path(made)
                if not write(folder / GRAPH):
                    return None
                (folder / WEIGHTS).touch()
                (folder / RECORD).write_bytes(self._record(folder))
                for file in folder.iterdir():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
                folder.rename(self.folder)
        return self.find()

    def remove(self) -> None:
        """Remove what lies there, if anything does."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record(self, folder: Path) -> bytes:
        """Return what the record of a graph in `folder` says if all of it is there. Raises OSError."""
        known = self.stat
        facts = {
            "model": str(self.model),
            "model stamp": [known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns],
            "made by": self.maker,
            "graph": zlib.crc32((folder / GRAPH).read_bytes()),
            "weights": (folder / WEIGHTS).stat().st_size,
        }
        return json.dumps(facts, indent=1).encode()


def _processor() -> str:
    """What the processor can do, as `numpy.show_runtime` has it: graphs are optimised for that. Empty if not known."""
    features: dict[str, bool] = getattr(sys.modules.get("numpy._core._multiarray_umath"), "__cpu_features__", {})
    return " ".join(name for name, has in features.items() if has)


def _make_room(places: Path, needed: int) -> bool:
    """Remove the graphs that were not used for longest; return whether there is room for as many bytes. Raises OSError.

    What a killed process left half made is one of them.
    """
    kept = sorted(
        (place.stat().st_mtime, sum(file.stat().st_size for file in place.iterdir()), place)
        for place in places.iterdir()
    )
    taken = sum(size for _, size, _ in kept)
    for used, size, place in kept:
        if taken + needed <= LIMIT or time.time() - used < IDLE:
            break
        shutil.rmtree(place)
        taken -= size
    # The last of the disk is for others.
    return taken + needed <= LIMIT and needed <= shutil.disk_usage(places).free // 4
