"""What a user is told: the message of an error with the hint that the command line adds."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from index.errors import UserError


@contextmanager
def told(kind: type[UserError], match: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """As `pytest.raises`, where the pattern is looked for in message and hint."""
    with pytest.raises(kind) as caught:
        yield caught
    assert re.search(match, caught.value.with_hint), caught.value.with_hint
