"""Photos as Milvus stores them: the columns of a collection, and how they are packed."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexFormatError
from index.milvus.filters import CLASSES, HASH, ID, NAMES, PATH, TAKEN, decoded_path, encoded
from index.records import FileStamp

if TYPE_CHECKING:
    from pymilvus import CollectionSchema

EMBEDDING, DIGEST, MODIFIED = "embedding", "digest", "modified"
PROBABILITIES = "probabilities"
LABELS, SKIPPED = "labels", "skipped"
"""In `classes`: what the catalogue stores of labels, and why a photo has no vector; each where there is one."""
FILE_COLUMNS = [ID, PATH, "size", MODIFIED, HASH, "width", "height", TAKEN]
ALL_COLUMNS = [*FILE_COLUMNS, CLASSES, DIGEST, EMBEDDING]
LONGEST = 65_535
"""Bytes of a text in Milvus, at most; of a path there are 4,096 at most, encoded three times as many."""


@dataclass(frozen=True, slots=True, eq=False)
class RemotePhoto:
    """A photo of a collection: what the catalogue's row has, under the catalogue's id where there is a catalogue.

    `path` is absolute (os.fsencode), `classes` the stored probabilities by class, as in the catalogue's table `labels`,
    the embedding (dim,) of unit length, `taken` as `pack_taken` encodes it, and `labels` as `pack_labels`. A photo that
    was `skipped`, for that reason, has an id below 0 and zeros for an embedding, so that no search ranks it high.
    """

    id: int
    path: bytes
    stamp: FileStamp
    content_hash: bytes | None
    width: int
    height: int
    classes: Mapping[str, float]
    embedding: NDArray[np.float32]
    taken: str = ""
    labels: str | None = None
    skipped: str | None = None

    def values(self) -> dict[str, Any]:
        """Pack it as a row of Milvus."""
        classes = {encoded(name): float(probability) for name, probability in sorted(self.classes.items())}
        row: dict[str, Any] = {
            ID: self.id,
            PATH: encoded(self.path),
            "size": self.stamp.size,
            MODIFIED: self.stamp.mtime_ns,
            HASH: (self.content_hash or b"").hex(),
            "width": self.width,
            "height": self.height,
            TAKEN: encoded(self.taken),
            CLASSES: {NAMES: list(classes), PROBABILITIES: list(classes.values())},
        }
        for name, text in ((LABELS, self.labels), (SKIPPED, self.skipped)):
            if text is not None:
                row[CLASSES][name] = encoded(text) if name == SKIPPED else text
        row[DIGEST] = digest_of(row, self.embedding)
        row[EMBEDDING] = self.embedding
        return row


def digest_of(row: Mapping[str, Any], embedding: NDArray[np.float32]) -> int:
    """Compute 63 bits of a hash of a packed row with its embedding (dim,): equal rows need not be sent again."""
    held = row[CLASSES]
    more = [held[name] for name in (LABELS, SKIPPED) if name in held]
    text = json.dumps([*(row[name] for name in FILE_COLUMNS), held[NAMES], held[PROBABILITIES], *more])
    digest = hashlib.blake2b(text.encode("ascii"), digest_size=8)
    digest.update(np.ascontiguousarray(embedding, "<f4").tobytes())
    return int.from_bytes(digest.digest(), "little") >> 1


def unpacked(row: Mapping[str, Any]) -> RemotePhoto:
    """Read a row of Milvus that has all columns, or all but the digest. Raises IndexFormatError."""
    try:
        return RemotePhoto(
            id=int(row[ID]),
            path=decoded_path(row[PATH]),
            stamp=FileStamp(int(row["size"]), int(row[MODIFIED])),
            content_hash=hash_in(row),
            width=int(row["width"]),
            height=int(row["height"]),
            classes=classes_in(row),
            embedding=np.asarray(row[EMBEDDING], np.float32),
            taken=decoded_path(row[TAKEN]).decode("ascii"),
            labels=row[CLASSES].get(LABELS),
            skipped=skipped_in(row),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IndexFormatError(
            f"the row {row.get(PATH) or row.get(ID)} in Milvus is damaged ({error!r})",
            hint="`fc7 forget` that photo, then run again what fills the index, `fc7 push` or `fc7 index`",
        ) from error


def skipped_in(row: Mapping[str, Any]) -> str | None:
    """Read why a photo was skipped, None if it was not."""
    stored = row[CLASSES].get(SKIPPED)
    return None if stored is None else decoded_path(stored).decode("utf-8", "surrogatepass")


def hash_in(row: Mapping[str, Any]) -> bytes | None:
    """Read the hash of a photo's content."""
    return bytes.fromhex(row[HASH]) or None


def classes_in(row: Mapping[str, Any]) -> dict[str, float]:
    """Read the probabilities of a row by `encoded` class."""
    stored = row[CLASSES]
    return dict(zip(stored[NAMES], stored[PROBABILITIES], strict=True))


def classes_of(labels: str | None) -> dict[str, float]:
    """Return the probability of each class, as the catalogue's triggers do (index/catalog/schema.py)."""
    try:
        stored: list[tuple[str, str | None, float]] = json.loads(labels or "[]", parse_constant=_no_json)
    except ValueError:
        return {}
    classes: defaultdict[str, float] = defaultdict(float)
    for name, id, probability in stored:
        classes[name if id is None else id] += probability
    return dict(classes)


def schema_for(dim: int) -> "CollectionSchema":
    """Return the columns of a collection; ids are ours, so a row that is sent again replaces itself."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, DataType.INT64, is_primary=True)
    schema.add_field(PATH, DataType.VARCHAR, max_length=LONGEST)
    for name in ("size", MODIFIED, "width", "height", DIGEST):
        schema.add_field(name, DataType.INT64)
    schema.add_field(HASH, DataType.VARCHAR, max_length=128)
    schema.add_field(TAKEN, DataType.VARCHAR, max_length=128)
    schema.add_field(CLASSES, DataType.JSON)
    schema.add_field(EMBEDDING, DataType.FLOAT_VECTOR, dim=dim)
    return schema


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
