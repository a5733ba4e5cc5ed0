"""A collection of Milvus that holds photos: made, opened, filled, asked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexFormatError
from index.milvus.calls import PATIENCE, TIMEOUT, Calls, holds_anything, not_there, require_pymilvus
from index.milvus.filters import ID, PATH, PHOTOS, STATE_ID, ids_between
from index.milvus.place import Consistency, MilvusPlace
from index.milvus.rows import ALL_COLUMNS, EMBEDDING, RemotePhoto, schema_for, unpacked
from index.milvus.state import FLAT, KINDS, METRIC, CollectionState, foreign

Row = dict[str, Any]

MOST = 16_384
"""Rows that Milvus returns in an answer, and results of a search, at most."""
PAGE = MOST // 2
PAGE_WITH_VECTORS = 1024
ROWS_AT_ONCE = 512
"""Rows that are sent in a call."""
ANSWER_BYTES = 16 << 20
"""What an answer to a search may take, about."""
OTHER_BYTES = 1024
"""Of a row, without its vector."""
EFFORT = 128
"""HNSW's ef: how many candidates its walk keeps. The more, the better the recall and the slower."""


class MilvusCollection:
    """The photos of one collection; a context manager's `close` ends the connection."""

    def __init__(self, calls: Calls, state: CollectionState, *, consistency: Consistency) -> None:
        """Use `open` or `create`."""
        self.place, self.state = calls.place, state
        self._calls = calls
        self._consistency = consistency.capitalize()

    @classmethod
    def open(
        cls,
        place: MilvusPlace,
        *,
        consistency: Consistency = "bounded",
        patience: float = PATIENCE,
        timeout: float = TIMEOUT,
    ) -> "MilvusCollection":
        """Open a collection that there is. `patience`: the seconds that calls are repeated in.

        Raises IndexNotFoundError, IndexFormatError for one of another program, and what `Calls` does.
        """
        require_pymilvus(place)
        if place.is_file and not holds_anything(place):
            raise not_there(place)  # connecting would make it
        calls = Calls(place, patience=patience, timeout=timeout)
        try:
            if not calls("has_collection", place.collection):
                raise not_there(place)
            _check_columns(calls)
            _load(calls)
            # Strong costs a moment more, and a search needs it right after a push only.
            ways = ("Strong",) if consistency == "strong" else ("Bounded", "Strong")
            if (state := _read_state(calls, *ways)) is None:
                raise not_there(place)
            return cls(calls, state, consistency=consistency)
        except BaseException:
            calls.close()
            raise

    @classmethod
    def create(cls, place: MilvusPlace, first: CollectionState, *, patience: float = PATIENCE) -> "MilvusCollection":
        """Open a collection, or make one in the state `first`. Raises what `open` does, except IndexNotFoundError."""
        calls = Calls(place, patience=patience)
        try:
            if not calls("has_collection", place.collection):
                schema = schema_for(first.dim)
                calls("create_collection", place.collection, schema=schema, consistency_level="Bounded", long=True)
            _check_columns(calls)
            if not calls("list_indexes", place.collection):
                # A kill may have come between the two.
                kind, options = KINDS[first.kind]
                _make_index(calls, kind, options)
            _load(calls)
            collection = cls(calls, _read_state(calls, "Strong") or first, consistency="strong")
            if collection.state is first:
                collection.put_state(first)
            return collection
        except BaseException:
            calls.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._calls.close()

    def drop(self) -> None:
        """Remove the collection with all that is in it."""
        self._calls("drop_collection", self.place.collection, long=True)

    def put_state(self, state: CollectionState) -> None:
        """Store the state."""
        self._calls("upsert", self.place.collection, [state.values()])
        self.state = state

    def reread(self) -> CollectionState:
        """Read the state again, which another process may have changed. Raises IndexNotFoundError."""
        if (state := _read_state(self._calls, "Strong")) is None:
            raise not_there(self.place)
        self.state = state
        return state

    def upsert(self, photos: Sequence[RemotePhoto]) -> None:
        """Store photos, each in place of the one with its id. Raises ValueError for an embedding of another length."""
        for start in range(0, len(photos), ROWS_AT_ONCE):
            block = photos[start : start + ROWS_AT_ONCE]
            if any(photo.embedding.shape != (self.state.dim,) or photo.id <= STATE_ID for photo in block):
                raise ValueError(f"a photo needs an id from 1 on and {self.state.dim} values")
            if (last := max(photo.id for photo in block)) > self.state.last_id:
                self.put_state(replace(self.state, last_id=last))
            # Never insert: of an id that is there already it makes a second row.
            self._calls("upsert", self.place.collection, [photo.values() for photo in block], long=True)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove the photos with these ids, those that there are."""
        for start in range(0, len(ids), PAGE):
            block = [int(id) for id in ids[start : start + PAGE] if id > STATE_ID]
            if block:
                self._calls("delete", self.place.collection, ids=block, long=True)

    def get(self, ids: Sequence[int]) -> list[RemotePhoto]:
        """Read the photos with these ids, sorted by id, those that there are."""
        wanted = sorted({int(id) for id in ids if id > STATE_ID})
        found: list[RemotePhoto] = []
        for start in range(0, len(wanted), PAGE_WITH_VECTORS):
            condition = f"{ID} in {wanted[start : start + PAGE_WITH_VECTORS]}"
            found += map(unpacked, self._query(condition, ALL_COLUMNS))
        return sorted(found, key=lambda photo: photo.id)

    def count(self, condition: str = PHOTOS) -> int:
        """Count the photos of which a condition (index/milvus/filters.py) is true."""
        [row] = self._calls(
            *("query", self.place.collection),
            filter=condition or PHOTOS,
            output_fields=["count(*)"],
            consistency_level=self._consistency,
        )
        return int(row["count(*)"])

    def first(self, condition: str, columns: Sequence[str] = (PATH,)) -> Row | None:
        """Read a row of which a condition is true, if there is one."""
        return next(iter(self._query(condition, columns, limit=1)), None)

    def rows(
        self, condition: str, columns: Sequence[str], after: int = STATE_ID, last: int | None = None
    ) -> Iterator[list[Row]]:
        """Read the id and these columns of all photos of which a condition is true, "" for all, by id, in lists.

        Their ids are greater than `after`, up to `last`. Each list is of one state of the collection.
        """
        page = PAGE_WITH_VECTORS if EMBEDDING in columns else PAGE
        ranges = [(after, self.state.last_id if last is None else last)]
        while ranges:
            after, last = ranges.pop()
            if after >= last:
                continue
            asked = " and ".join(filter(None, [ids_between(after, last), condition]))
            # An answer has no order and a limit, so a range of ids is halved until all of it fits.
            count = page if last - after <= page else self.count(asked)
            if 0 < count <= page and len(found := self._query(asked, [ID, *columns])) < MOST:
                if found:
                    yield sorted(found, key=lambda row: int(row[ID]))
            elif count:
                middle = (after + last) // 2
                ranges += [(middle, last), (after, middle)]

    def search(
        self, queries: NDArray[np.float32], k: int, *, condition: str = "", columns: Sequence[str] = ()
    ) -> list[list[tuple[float, Row]]]:
        """Find for each query (m, dim) the k rows with the largest inner product, best first, with these columns.

        The row of the state is among them. An HNSW finds most of the best, not always all. Raises ValueError for k
        beyond MOST.
        """
        if not 1 <= k <= MOST:
            raise ValueError(f"cannot find the best {k}")
        options = {} if self.state.kind == FLAT else {"ef": max(EFFORT, k)}
        row_bytes = OTHER_BYTES + (4 * self.state.dim if EMBEDDING in columns else 0)
        at_once = max(1, ANSWER_BYTES // (k * row_bytes))
        found: list[list[tuple[float, Row]]] = []
        for start in range(0, len(queries), at_once):
            answers = self._calls(
                *("search", self.place.collection),
                data=[query.tolist() for query in queries[start : start + at_once]],
                anns_field=EMBEDDING,
                limit=k,
                filter=condition,
                output_fields=list(columns),
                search_params={"metric_type": METRIC, "params": options},
                consistency_level=self._consistency,
            )
            found += [[(float(hit["distance"]), {ID: hit["id"], **hit["entity"]}) for hit in hits] for hits in answers]
        return found

    def flush(self) -> None:
        """Have the server write all that it was sent to its disk, and index it."""
        self._calls("flush", self.place.collection, long=True)

    def _query(self, condition: str, columns: Sequence[str], *, limit: int = MOST) -> list[Row]:
        return list(
            self._calls(
                *("query", self.place.collection),
                filter=condition,
                output_fields=list(dict.fromkeys(columns)),
                limit=limit,
                consistency_level=self._consistency,
            )
        )


def _check_columns(calls: Calls) -> None:
    """Raise IndexFormatError for a collection that fc7 did not make."""
    described = calls("describe_collection", calls.place.collection)
    if {field["name"] for field in described["fields"]} != set(ALL_COLUMNS):
        raise foreign(_where(calls.place))


def _read_state(calls: Calls, *consistencies: str) -> CollectionState | None:
    """Read the state; None where there is none yet, because whoever made the collection was killed."""
    for consistency in consistencies:
        rows = calls(
            *("query", calls.place.collection),
            filter=f"{ID} == {STATE_ID}",
            output_fields=ALL_COLUMNS,
            limit=1,
            consistency_level=consistency,
        )
        if rows:
            state = CollectionState.read(rows[0], _where(calls.place))
            if not state.complete and consistency != consistencies[-1]:
                continue  # it may have been completed a moment ago
            if len(rows[0][EMBEDDING]) != state.dim:
                raise IndexFormatError(f"{_where(calls.place)} is damaged: its vectors do not have {state.dim} values")
            return state
    return None


def _make_index(calls: Calls, kind: str, options: dict[str, int]) -> None:
    from pymilvus import MilvusClient

    index = MilvusClient.prepare_index_params()
    index.add_index(field_name=EMBEDDING, index_type=kind, metric_type=METRIC, params=options)
    calls("create_index", calls.place.collection, index, long=True)


def _load(calls: Calls) -> None:
    """Have the collection loaded, without which nothing in it can be found."""
    state = calls("get_load_state", calls.place.collection)["state"]
    if getattr(state, "name", state) != "Loaded":
        calls("load_collection", calls.place.collection, long=True)


def _where(place: MilvusPlace) -> str:
    return place.server if place.is_file else f"collection {place.collection} in {place.server}"
