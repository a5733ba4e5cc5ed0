"""What lecture.py has measured, kept in one JSON file, and the tables that are written from it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from report import machine

from index.files import replacing

Values = dict[str, Any]
PACKAGES = ("torch", "onnxruntime", "numpy", "scikit-image", "scikit-learn")


class Results:
    """Measurements by name, each with the settings that it was made with; what is there is not measured again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "results.json"
        self._known = self._read()

    def _read(self) -> dict[str, Values]:
        found: dict[str, Values] = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}
        return found

    def get(self, name: str) -> Values | None:
        """Return the values of a measurement, None where it was not made."""
        return self._known[name]["values"] if name in self._known else None

    def named(self, beginning: str) -> dict[str, Values]:
        """Return all measurements whose names begin like that, by the rest of their names."""
        return {
            name.removeprefix(beginning): entry["values"]
            for name, entry in self._known.items()
            if name.startswith(beginning)
        }

    def settings(self, beginning: str) -> list[Values]:
        """Return the settings of all measurements whose names begin like that."""
        return [entry["settings"] for name, entry in self._known.items() if name.startswith(beginning)]

    def times(self, beginning: str) -> tuple[float, float]:
        """Return the seconds, and those of the processor, that the measurements named like that took together."""
        entries = [entry for name, entry in self._known.items() if name.startswith(beginning)]
        return sum(entry["seconds"] for entry in entries), sum(entry["processor_seconds"] for entry in entries)

    def machines(self) -> list[str]:
        """Return what the measurements were made on, each once."""
        return sorted({entry["machine"] for entry in self._known.values()})

    def measure(
        self, name: str, settings: Values, function: Callable[[], Values], *, file: Path | None = None
    ) -> Values:
        """Return the values of a measurement, made now unless it was made before with these settings.

        It is made again too where the `file` that it leaves is not there.
        """
        settings = json.loads(json.dumps(settings))  # as they will be read back
        entry = self._known.get(name)
        if entry is None or not same(entry["settings"], settings) or (file and not file.is_file()):
            start, used = perf_counter(), process_time()
            values = function()
            entry = {
                "settings": settings,
                "values": values,
                "seconds": round(perf_counter() - start, 1),
                "processor_seconds": round(process_time() - used, 1),
                "machine": machine(PACKAGES),
                "date": datetime.now(UTC).date().isoformat(),
            }
            self._known = {**self._read(), name: entry}  # another run may have measured something else by now
            with replacing(self._path) as kept:
                kept.write(json.dumps(self._known, indent=1).encode())
        found: Values = entry["values"]
        return found


def same(before: Any, now: Any) -> bool:
    """Return whether settings are those of before; what a later version can set besides did nothing then."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(name in now and same(value, now[name]) for name, value in before.items())
    return bool(before == now)
