"""What a collection stores about itself, as JSON in the row with the id 0: Milvus has no other place that lasts."""

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from index.catalog.catalog import CatalogState
from index.errors import IndexFormatError, OptionError, PhotoIndexError
from index.milvus.filters import CLASSES, HASH, ID, NAMES, PATH, STATE_ID, TAKEN, decoded_path, encoded
from index.milvus.rows import DIGEST, EMBEDDING, LONGEST, MODIFIED, PROBABILITIES
from index.object_path import as_path

FORMAT = 2
"""1 had no labels of photos but their classes, and was written by `push` alone."""
METRIC = "IP"
"""The inner product: of unit vectors the cosine."""
HNSW, FLAT = "HNSW", "Flat"
KINDS: dict[str, tuple[str, dict[str, int]]] = {
    HNSW: ("HNSW", {"M": 16, "efConstruction": 128}),
    FLAT: ("FLAT", {}),
}
"""Kinds of index by the names that `fc7 index --kind` has for them: what Milvus calls them, and how they are built."""
NEWER = ("writer", "exclude", "generation")
"""What format 1 has not."""
_KEY = "state"


def check_kind(kind: str) -> None:
    """Raise OptionError for what is no kind of index here."""
    if kind not in KINDS:
        raise OptionError(f"there is no kind of index {kind!r} in Milvus", hint=f"name {' or '.join(KINDS)}")


@dataclass(frozen=True, slots=True)
class CollectionState:
    """The state of a collection: which catalogue it is a copy of, which model its vectors are of, what was copied.

    `roots` (absolute), `model_path` ("" for the built-in model), `own_labels` and `exclude` are `encoded`; `last_id` is
    no smaller than any id; `complete` is False while photos are added, and stays so if that is interrupted;
    `generation` counts the runs that changed something. One with a `writer` is filled by `fc7 index`, of which this is
    the last run that began, and is the copy of no catalogue.
    """

    identity: str
    model_name: str
    fingerprint: str
    dim: int
    kind: str = HNSW
    metric: str = METRIC
    format: int = FORMAT
    model_path: str = ""
    created: str = ""
    roots: tuple[str, ...] = ()
    own_labels: tuple[str, ...] = ()
    photos: int = 0
    last_id: int = 0
    complete: bool = False
    writer: str = ""
    exclude: tuple[str, ...] = ()
    generation: int = 0

    @classmethod
    def of(cls, catalog: CatalogState, *, kind: str) -> "CollectionState":
        """Return the state of a new collection for this catalogue."""
        return cls(
            identity=catalog.identity,
            model_name=catalog.model_name,
            fingerprint=catalog.fingerprint,
            dim=catalog.dim,
            kind=kind,
            model_path=encoded(catalog.model_path),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def fresh(cls, *, model_name: str, fingerprint: str, dim: int, kind: str) -> "CollectionState":
        """Return the state of a new collection that `fc7 index` fills."""
        catalog = CatalogState.fresh(model_name=model_name, fingerprint=fingerprint, dim=dim)
        return replace(cls.of(catalog, kind=kind), writer="none yet", complete=True)

    @property
    def root_paths(self) -> list[Path]:
        """The indexed folders, as absolute paths."""
        return [as_path(decoded_path(root)) for root in self.roots]

    def values(self) -> dict[str, Any]:
        """Pack it as a row of Milvus, of which no condition on photos is true. Raises PhotoIndexError if too long."""
        held = {NAMES: [], PROBABILITIES: [], _KEY: asdict(self)}
        if len(json.dumps(held)) > LONGEST:
            raise PhotoIndexError(f"there are too many folders for an index in Milvus: {len(self.roots):,}")
        embedding = np.zeros(self.dim, np.float32)
        embedding[0] = 1
        numbers = dict.fromkeys(("size", MODIFIED, "width", "height", DIGEST), 0)
        return {ID: STATE_ID, PATH: "", HASH: "", TAKEN: "", **numbers, CLASSES: held, EMBEDDING: embedding}

    @classmethod
    def read(cls, row: dict[str, Any], where: str) -> "CollectionState":
        """Read it from its row. Raises IndexFormatError for one of another program, or of a newer fc7."""
        try:
            stored = row[CLASSES][_KEY]
            if stored["format"] > FORMAT:
                raise IndexFormatError(
                    f"{where} was written by a newer fc7", hint="run `pip install --upgrade fc7`, or name another index"
                )
            known: dict[str, Any] = {
                field.name: stored.get(field.name, field.default) if field.name in NEWER else stored[field.name]
                for field in fields(cls)
            }
        except (KeyError, TypeError) as error:
            raise foreign(where) from error
        return cls(
            **known | {"format": FORMAT} | {name: tuple(known[name]) for name in ("roots", "own_labels", "exclude")}
        )


def foreign(where: str) -> IndexFormatError:
    """Return the error for a collection that fc7 did not make."""
    return IndexFormatError(f"{where} belongs to another program", hint="name another collection")
