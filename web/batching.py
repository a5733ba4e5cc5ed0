"""Pictures of several requests through the network in one run."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 16


class Batcher(Generic[Item, Result]):
    """Collects what arrives within some milliseconds, up to MAX_BATCH, and computes it together in a thread.

    While a batch is computed the next one collects, so that waiting costs nothing on a busy server.
    """

    def __init__(self, compute: Callable[[Sequence[Item]], Sequence[Result]], *, seconds: float) -> None:
        self._compute = compute
        self._seconds = seconds
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Return the result of one item. Raises what `compute` raised for its batch."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        await asyncio.sleep(self._seconds)
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            # Whoever asked may have left meanwhile.
            batch = [(item, future) for item, future in batch if not future.done()]
            if not batch:
                continue
            try:
                results = await asyncio.to_thread(self._compute, [item for item, _ in batch])
                found = zip(batch, results, strict=True)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in found:
                if not future.done():
                    future.set_result(result)
