"""The search for copies behind the page: one that fails is said to have failed, whatever it failed by."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the page needs the extra web")
import web.copies
from index.errors import PhotoError, PhotoIndexError
from web.copies import CopySearch, Groups, Running


@pytest.mark.parametrize("failure", [PhotoIndexError("gone"), PhotoError("not read"), OSError("no more files")])
@pytest.mark.parametrize("waited", [True, False], ids=["while somebody waits", "between two questions"])
def test_a_search_that_fails_is_not_waited_for_forever(
    failure: Exception, waited: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search = CopySearch(tmp_path)
    outcomes: list[Exception | Groups] = [failure, Groups((), 0)]

    def outcome(*_: object) -> Groups:
        found = outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def ask() -> Groups | Running:
        if not waited:
            assert await search.ask("altered", wait=0) == Running(0, 0)
            [task] = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait([task])
        with pytest.raises(type(failure), match=str(failure)):
            await search.ask("altered", wait=60)
        return await search.ask("altered", wait=60)

    monkeypatch.setattr(web.copies.CopySearch, "_state", lambda _: 1)
    monkeypatch.setattr(web.copies.CopySearch, "_find", outcome)
    assert asyncio.run(ask()) == Groups((), 0)
    assert not outcomes
