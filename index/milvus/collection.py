"""A collection of Milvus that holds photos: made, opened, filled, asked."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexFormatError
from index.milvus.calls import PATIENCE, TIMEOUT, Calls, holds_anything, not_there, require_pymilvus
from index.milvus.filters import ID, PATH, PHOTOS, STATE_ID, ids_between
from index.milvus.place import Consistency, MilvusPlace, WriterConsistency
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
ID_BYTES = 64
"""Of a row of which the id alone is asked for."""
INDEXING_SECONDS = 900.0
"""How long a push waits for the server's index at most."""
LOOK_EVERY = 1.0
SETTLED_LOOKS = 5
SMALL_SEGMENT = 1024
"""Rows of a segment up to which a server makes no index but compares all (minSegmentNumRowsToEnableIndex)."""
EFFORT = 128
"""HNSW's ef: how many candidates its walk keeps. The more, the better the recall and the slower."""


class MilvusCollection:
    """The photos of one collection; a context manager's `close` ends the connection."""

    def __init__(self, calls: Calls, state: CollectionState, *, consistency: Consistency | WriterConsistency) -> None:
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
    def create(
        cls,
        place: MilvusPlace,
        first: CollectionState,
        *,
        patience: float = PATIENCE,
        consistency: WriterConsistency = "strong",
    ) -> "MilvusCollection":
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
            collection = cls(calls, _read_state(calls, "Strong") or first, consistency=consistency)
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

    def reread(self, consistency: Consistency = "strong") -> CollectionState:
        """Read the state again, which another process may have changed. Raises IndexNotFoundError."""
        if (state := _read_state(self._calls, consistency.capitalize())) is None:
            raise not_there(self.place)
        self.state = state
        return state

    def upsert(self, photos: Sequence[RemotePhoto]) -> None:
        """Store photos, each in place of the one with its id. Raises ValueError for a wrong id or shape."""
        for start in range(0, len(photos), ROWS_AT_ONCE):
            block = photos[start : start + ROWS_AT_ONCE]
            if any(photo.embedding.shape != (self.state.dim,) or not _is_right(photo) for photo in block):
                raise ValueError(f"a photo needs an id from 1 on, below 0 if skipped, and {self.state.dim} values")
            if (last := max(abs(photo.id) for photo in block)) > self.state.last_id:
                self.put_state(replace(self.state, last_id=last))
            # Never insert: of an id that is there already it makes a second row.
            self._calls("upsert", self.place.collection, [photo.values() for photo in block], long=True)

    def delete(self, ids: Sequence[int]) -> None:
        """Remove the photos with these ids, those that there are."""
        for start in range(0, len(ids), PAGE):
            block = [int(id) for id in ids[start : start + PAGE] if id != STATE_ID]
            if block:
                self._calls("delete", self.place.collection, ids=block, long=True)

    def get(self, ids: Sequence[int]) -> list[RemotePhoto]:
        """Read the photos with these ids, sorted by id, those that there are."""
        return [unpacked(row) for row in self.rows_with_ids(ids, ALL_COLUMNS)]

    def rows_with_ids(self, ids: Iterable[int], columns: Sequence[str]) -> list[Row]:
        """Read the id and these columns of the photos with these ids, sorted by id, those that there are."""
        wanted = sorted({int(id) for id in ids if id != STATE_ID})
        page = PAGE_WITH_VECTORS if EMBEDDING in columns else PAGE
        found: list[Row] = []
        for start in range(0, len(wanted), page):
            found += self._query(f"{ID} in {wanted[start : start + page]}", [ID, *columns])
        return sorted(found, key=lambda row: int(row[ID]))

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
        self,
        condition: str,
        columns: Sequence[str],
        after: int = STATE_ID,
        last: int | None = None,
        *,
        page: int | None = None,
    ) -> Iterator[list[Row]]:
        """Read the id and these columns of all photos of which a condition is true, "" for all, by id, in lists.

        Their ids are greater than `after`, up to `last`. Each list is of one state of the collection, and has at most
        `page` rows.
        """
        page = page or (PAGE_WITH_VECTORS if EMBEDDING in columns else PAGE)
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

    def skipped_rows(self, condition: str, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Read, as `rows`, photos that were skipped; their ids are below 0."""
        return self.rows(condition, columns, -self.state.last_id - 1, STATE_ID - 1)

    def search(
        self, queries: NDArray[np.float32], k: int, *, condition: str = "", columns: Sequence[str] = ()
    ) -> list[list[tuple[float, Row]]]:
        """Find for each query (m, dim) the k rows with the largest inner product, best first, with these columns.

        The row of the state and skipped photos can be among them. An HNSW finds most of the best, not always all.
        Raises ValueError for k beyond MOST.
        """
        if not 1 <= k <= MOST:
            raise ValueError(f"cannot find the best {k}")
        options = {} if self.state.kind == FLAT else {"ef": max(EFFORT, k)}
        row_bytes = (OTHER_BYTES if columns else ID_BYTES) + (4 * self.state.dim if EMBEDDING in columns else 0)
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

    def wait_until_indexed(
        self, *, seconds: float = INDEXING_SECONDS, say: Callable[[str], None] | None = None
    ) -> bool:
        """Wait until the server searches all that was flushed by its index; False if that takes longer than `seconds`.

        Until then it searches a rough one, which finds fewer of the best. `say` is called with how far it is.
        """
        if self.place.is_file or self.state.kind == FLAT:
            return True
        end, settled = time.monotonic() + seconds, 0
        while True:
            rows, indexed = self._count_loaded()
            total = self.count(f"{ID} >= {-self.state.last_id}")
            # Not all servers say what of it they have loaded; but all say what they have still to index.
            described = self._calls("describe_index", self.place.collection, EMBEDDING) or {}
            settled = settled + 1 if described.get("pending_index_rows") == 0 else 0
            if total <= SMALL_SEGMENT or indexed == rows >= total or settled >= SETTLED_LOOKS:
                return True
            if time.monotonic() > end:
                return False
            if say is not None:
                say(f"the server has indexed {min(indexed, total):,} of {total:,}")
            time.sleep(LOOK_EVERY)

    def _count_loaded(self) -> tuple[int, int]:
        """Count the rows that are loaded from the server's disk, and those of them that are searched by an index."""
        segments = self._calls("list_loaded_segments", self.place.collection)
        # Of the smallest segments, all rows are compared.
        indexed = [one.num_rows for one in segments if one.index_id or one.num_rows <= SMALL_SEGMENT]
        return sum(one.num_rows for one in segments), sum(indexed)

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


def _is_right(photo: RemotePhoto) -> bool:
    return photo.id < STATE_ID if photo.skipped is not None else photo.id > STATE_ID


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
