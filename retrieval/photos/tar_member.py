"""Pictures in uncompressed tar archives, as paths that are read where they lie."""

import os
from io import BytesIO
from pathlib import Path, PosixPath
from typing import Any

from index.errors import PhotoError
from index.records import FileStamp


class TarMember(PosixPath):
    """A file in a tar archive, named ARCHIVE/NAME: `size` bytes from `offset` on. Nothing is ever unpacked."""

    archive: str
    offset: int
    size: int

    @classmethod
    def at(cls, archive: str, name: str, offset: int, size: int) -> "TarMember":
        """Name a file in an archive."""
        member = cls(archive, name.lstrip("/"))
        member.archive, member.offset, member.size = archive, offset, size
        return member

    def __reduce__(self) -> tuple[Any, ...]:
        name = os.path.relpath(self, self.archive)
        return TarMember.at, (self.archive, name, self.offset, self.size)

    def is_file(self, **_: Any) -> bool:
        """Return whether its archive is there."""
        return os.path.isfile(self.archive)

    def stat(self, **_: Any) -> os.stat_result:
        """Return its size, and all else of its archive. Raises OSError."""
        mode, inode, device, links, user, group, _size, *times = os.stat(self.archive)[:10]
        return os.stat_result((mode, inode, device, links, user, group, self.size, *times))

    def open(self, *_: Any, **__: Any) -> Any:
        """Open it for reading bytes. Raises OSError."""
        with open(self.archive, "rb") as file:
            return BytesIO(os.pread(file.fileno(), self.size, self.offset))

    def read(self) -> tuple[bytes, FileStamp, FileStamp]:
        """Return its bytes, and its stamp before and after they were read. Raises PhotoError, OSError."""
        before = os.stat(self.archive).st_mtime_ns
        data = self.open().read()
        if len(data) != self.size:
            raise PhotoError(f"{Path(self.archive).name} was cut short")
        return data, FileStamp(self.size, before), FileStamp(self.size, os.stat(self.archive).st_mtime_ns)
