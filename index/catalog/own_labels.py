"""Labels that the user has taught: of each a linear classifier of embeddings, what it learned from, what it says.

The probabilities of all indexed photos lie in the table `labels`, beside those of the model's classes. They are
computed when a label is stored and when a photo is, in the same transaction.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog.catalog import Catalog
from index.catalog.queries import BATCH, absolute_path
from index.catalog.rows import pack_embedding, unpack_embeddings
from index.catalog.schema import OWN
from index.errors import IndexFormatError
from index.object_path import as_path
from index.records import OwnLabel, SearchResult

LEAST_STORED = 0.05
"""Probability from which on one is stored: in a large index, most photos show nothing of a label."""
SURE = 0.5
"""Probability from which on a photo counts as one of a label."""


@dataclass(frozen=True, eq=False)
class LabelExample:
    """A photo that a label was learned from: absolute path, embedding (dim,), and whether it shows what is meant."""

    path: Path
    embedding: NDArray[np.float32]
    positive: bool


@dataclass(frozen=True, eq=False)
class LabelScorer:
    """The labels of an index: names, weights (labels, dim), bias (labels,)."""

    names: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each label (n, labels), each by itself, of embeddings (n, dim)."""
        scores = embeddings @ self.weights.T + self.bias
        found: NDArray[np.float32] = 1 / (1 + np.exp(-scores))
        return found


def rename_examples(connection: sqlite3.Connection, renamed: Callable[[bytes], bytes]) -> None:
    """Let the photos that labels were learned from have the paths that `renamed` makes of theirs."""
    known = connection.execute("SELECT name, path FROM own_label_examples").fetchall()
    connection.executemany(
        "UPDATE OR REPLACE own_label_examples SET path = ? WHERE name = ? AND path = ?",
        [(now, name, path) for name, path in known if (now := renamed(path)) != path],
    )


class OwnLabels:
    """The labels of one index; those who change them hold the lock of a writer."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def names(self) -> list[str]:
        """List the names, sorted."""
        return [name for (name,) in self._catalog.rows("SELECT name FROM own_labels ORDER BY name")]

    def all(self) -> list[OwnLabel]:
        """Describe the labels, sorted by name."""
        rows = self._catalog.rows(
            "SELECT name, created,"
            " (SELECT count(*) FROM own_label_examples AS e WHERE e.name = l.name AND positive),"
            " (SELECT count(*) FROM own_label_examples AS e WHERE e.name = l.name AND NOT positive),"
            f" (SELECT count(*) FROM labels WHERE class = '{OWN}' || l.name AND probability >= ?)"
            " FROM own_labels AS l ORDER BY name",
            (SURE,),
        )
        return [
            OwnLabel(name, photos, examples, counterexamples, datetime.fromisoformat(created))
            for name, created, examples, counterexamples, photos in rows
        ]

    def examples(self, name: str) -> list[LabelExample]:
        """Read what a label was learned from, by path; nothing for one that there is not. Raises IndexFormatError."""
        rows = self._catalog.rows(
            "SELECT path, embedding, positive FROM own_label_examples WHERE name = ? ORDER BY path", (name,)
        )
        embeddings = unpack_embeddings([stored for _, stored, _ in rows], self._catalog.state().dim)
        return [
            LabelExample(as_path(path), embedding, bool(positive))
            for (path, _, positive), embedding in zip(rows, embeddings, strict=True)
        ]

    def scorer(self) -> LabelScorer:
        """Read the classifiers. Raises IndexFormatError."""
        rows = self._catalog.rows("SELECT name, weights, bias FROM own_labels ORDER BY name")
        return _scorer(rows, self._catalog.state().dim)

    def put(self, name: str, examples: Sequence[LabelExample], weights: NDArray[np.floating], bias: float) -> None:
        """Store a label, in place of one of its name, and the probabilities of all photos, in one transaction."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stored = weights.astype("<f4").tobytes()
        dim = self._catalog.state().dim
        scorer = _scorer([(name, stored, bias)], dim)
        with self._catalog.writing() as connection:
            _remove(connection, name)
            connection.execute("INSERT INTO own_labels VALUES (?, ?, ?, ?)", (name, stored, bias, now))
            connection.executemany(
                "INSERT INTO own_label_examples VALUES (?, ?, ?, ?)",
                [(name, os.fsencode(e.path), e.positive, pack_embedding(e.embedding)) for e in examples],
            )
            cursor = connection.execute("SELECT id, embedding FROM photos WHERE embedding IS NOT NULL")
            while rows := cursor.fetchmany(BATCH):
                _store(connection, scorer, rows, dim)

    def remove(self, name: str) -> None:
        """Remove a label and what photos have of it."""
        with self._catalog.writing() as connection:
            _remove(connection, name)

    def least_sure(self, name: str, k: int) -> list[SearchResult]:
        """Find the k photos whose probability is nearest to one half, and which it was not learned from."""
        rows = self._catalog.rows(
            "SELECT roots.path, photos.path, probability FROM labels"
            " JOIN photos ON photos.id = photo_id JOIN roots ON roots.id = root_id"
            " WHERE class = ? ORDER BY abs(probability - ?), roots.path, photos.path LIMIT ?",
            (OWN + name, SURE, k + len(known := {example.path for example in self.examples(name)})),
        )
        found = [SearchResult(absolute_path(root, path), probability) for root, path, probability in rows]
        return [result for result in found if result.path not in known][:k]


def score_photos(connection: sqlite3.Connection, root_id: int, paths: Sequence[bytes]) -> None:
    """Store the probabilities of photos that were just put, inside a transaction of the caller."""
    labels = connection.execute("SELECT name, weights, bias FROM own_labels").fetchall()
    if not labels:
        return
    [(dim,)] = connection.execute("SELECT value FROM meta WHERE key = 'dim'")
    rows = []
    for path in paths:
        rows += connection.execute(
            "SELECT id, embedding FROM photos WHERE root_id = ? AND path = ? AND embedding IS NOT NULL", (root_id, path)
        ).fetchall()
    _store(connection, _scorer(labels, dim), rows, dim)


def _store(connection: sqlite3.Connection, scorer: LabelScorer, rows: Sequence[tuple[int, bytes]], dim: int) -> None:
    # An embedding that is damaged is reported by `fc7 check`, which has it computed again: it stops nothing here.
    rows = [(id, stored) for id, stored in rows if len(stored) == 2 * dim]
    if not rows:
        return
    embeddings = np.frombuffer(b"".join(stored for _, stored in rows), "<f2").reshape(-1, dim).astype(np.float32)
    probabilities = scorer.probabilities(embeddings)
    enough = np.argwhere(probabilities >= LEAST_STORED)
    connection.executemany(
        "INSERT OR REPLACE INTO labels (class, photo_id, probability) VALUES (?, ?, ?)",
        [(OWN + scorer.names[label], rows[row][0], float(probabilities[row, label])) for row, label in enough.tolist()],
    )


def _remove(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM labels WHERE class = ?", (OWN + name,))
    connection.execute("DELETE FROM own_label_examples WHERE name = ?", (name,))
    connection.execute("DELETE FROM own_labels WHERE name = ?", (name,))


def _scorer(rows: Sequence[tuple[str, bytes, float]], dim: int) -> LabelScorer:
    if any(len(weights) != 4 * dim for _, weights, _ in rows):
        raise IndexFormatError(
            "a label of your own in the index is damaged",
            hint="remove it with `fc7 label remove NAME` and add it again",
        )
    weights = np.frombuffer(b"".join(weights for _, weights, _ in rows), "<f4").reshape(len(rows), dim)
    return LabelScorer(tuple(name for name, _, _ in rows), weights, np.array([bias for *_, bias in rows], np.float32))
