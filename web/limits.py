"""How often one client may ask for what takes work."""

import time
from collections import OrderedDict

MOST_CLIENTS = 4096


class RateLimit:
    """A bucket of tokens for each client, refilled evenly; the clients that asked longest ago are forgotten."""

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, client: str, now: float | None = None) -> float:
        """Count one request; return 0 where it may be answered, else after how long the next may come."""
        now = time.monotonic() if now is None else now
        left, before = self._clients.pop(client, (float(self._a_minute), now))
        left = min(self._a_minute, left + (now - before) * self._a_minute / 60)
        allowed = left >= 1
        self._clients[client] = (left - 1 if allowed else left, now)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / self._a_minute
