"""Results that are kept, and computed once for all who ask meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from web.recent import Recent


class Work:
    """Counts how often it is begun; ends when `go` is set."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = asyncio.Event()

    def of(self, key: str, error: Exception | None = None) -> Callable[[], Coroutine[Any, Any, str]]:
        async def work() -> str:
            self.begun.append(key)
            await self.go.wait()
            if error is not None:
                raise error
            return f"result of {key}"

        return work


def test_who_asks_meanwhile_or_later_gets_the_same_result() -> None:
    async def main() -> None:
        recent, work = Recent[str](2), Work()
        asking = [asyncio.create_task(recent.get("a", work.of("a"))) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()  # the one that began leaves; the others still wait
        with suppress(asyncio.CancelledError):
            await asking[0]
        work.go.set()
        assert await asyncio.gather(*asking[1:]) == ["result of a"] * 2
        assert await recent.get("a", work.of("a")) == "result of a"
        assert work.begun == ["a"]

    asyncio.run(main())


def test_what_failed_is_tried_again() -> None:
    async def main() -> None:
        recent, work = Recent[str](2), Work()
        work.go.set()
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                await recent.get("a", work.of("a", ValueError("broken")))
        assert await recent.get("a", work.of("a")) == "result of a"
        assert work.begun == ["a"] * 3

    asyncio.run(main())


def test_what_was_asked_for_longest_ago_is_forgotten() -> None:
    async def main() -> None:
        recent, work = Recent[str](2), Work()
        work.go.set()
        for key in "abaca":
            await recent.get(key, work.of(key))
        assert work.begun == ["a", "b", "c"]
        await recent.get("b", work.of("b"))
        assert work.begun == ["a", "b", "c", "b"]

    asyncio.run(main())
