"""What a server is told: where it listens, whom it answers, and how much it takes."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from index.errors import OptionError
from index.milvus.place import IndexLocation
from retrieval.models.runtime import Device

LEAST_TOKEN = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """Where a server listens, and its limits.

    `token` is what a request must know, None where everyone who reaches the address may ask: that is for loopback only.
    `hosts` are further names that a browser may have for this server, such as `photos.example.org` behind a proxy.
    Raises OptionError for an address that needs a token, and for a token that is none.
    """

    index: IndexLocation
    model: Path | None = None
    """A model file or the name of one, None for that of the index."""
    device: Device = "auto"
    cache: Path | None = None
    """The folder for optimised graphs, and for thumbnails."""
    host: str = "127.0.0.1"
    port: int = 8707
    token: str | None = None
    hosts: tuple[str, ...] = ()
    max_upload_bytes: int = 64 << 20
    max_upload_pixels: int = 100_000_000
    upload_seconds: float = 30.0
    """How long a request's body may take to arrive."""
    decode_seconds: float = 20.0
    """How long an uploaded picture may take to decode, before the process that does it is ended."""
    uploads_a_minute: int = 600
    """Of one client address; more are refused with status 429."""
    batch_seconds: float = 0.004
    """How long a picture waits for others that are embedded in the same run."""

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise OptionError(
                f"without a token only this machine may ask, so {self.host} is no address to listen on",
                hint="put a long secret into a file and name it with --token-file",
            )
        if self.token is not None and (
            len(self.token) < LEAST_TOKEN or not self.token.isascii() or self.token.split() != [self.token]
        ):
            raise OptionError(f"a token has {LEAST_TOKEN} characters or more, of ASCII, without spaces")

    @property
    def known_hosts(self) -> frozenset[str]:
        """The names, in lower case and without a port, that the Host of a request may have."""
        return frozenset(name.lower() for name in (*LOOPBACK_NAMES, self.host, *self.hosts))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
