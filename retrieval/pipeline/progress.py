"""How long-running work reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """Called from the main thread as work is done; `total` may grow while the work is still being found."""

    def __call__(self, done: int, total: int, /) -> object: ...
