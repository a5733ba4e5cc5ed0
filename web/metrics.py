"""What Prometheus may know of a server: how many requests, how long they took, how many pictures ran together."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
METHODS = frozenset({"GET", "HEAD", "POST"})


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("fc7_requests", "Requests", ["method", "route", "status"], registry=self._registry)
        self._seconds = Histogram("fc7_seconds", "Time to answer", ["route"], buckets=SECONDS, registry=self._registry)
        self._batches = Histogram(
            "fc7_batch_pictures", "Pictures in one run", buckets=(1, 2, 4, 8, 16), registry=self._registry
        )

    def batch(self, pictures: int) -> None:
        """Count a run of the network."""
        self._batches.observe(pictures)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request. A route is a template: what clients write must not make new series."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Write all, as Prometheus reads it."""
        return generate_latest(self._registry)


class Counting:
    """A middleware that counts requests."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = 499, time.perf_counter()  # 499 where the client left

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(scope["method"], route, status, time.perf_counter() - begun)
