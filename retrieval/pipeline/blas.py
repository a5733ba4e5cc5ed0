"""Threads of matrix products, which would fight with those that call them for the same cores."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_limit = ExitStack()
_users = 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let each matrix product of the process take one thread, until the last of those who asked for it has ended."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            from threadpoolctl import threadpool_limits

            _limit.enter_context(threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limit.close()
