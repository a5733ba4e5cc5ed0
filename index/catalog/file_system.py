"""What kind of file system a folder lies on: SQLite's write-ahead log needs memory that all its programs share."""

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_FUSE = "ceph davfs davfs2 glusterfs gvfsd-fuse juicefs rclone s3fs sshfs vmhgfs-fuse"
_KERNEL = "9p afs beegfs ceph cifs coda glusterfs gpfs lustre ncpfs nfs nfs4 orangefs prl_fs smb3 smbfs vboxsf virtiofs"
NETWORK = frozenset([*_KERNEL.split(), *(f"fuse.{name}" for name in _FUSE.split())])
"""As Linux calls them: disks of other machines, and those of its host in a virtual one (9p is Windows' in WSL)."""


def on_network_drive(folder: Path) -> bool:
    """Tell whether a folder lies on another machine's disk, as far as the system says: Linux does."""
    try:
        mounts = MOUNTS.read_bytes()
    except OSError:
        return False
    return file_system_type(os.fsencode(os.path.realpath(folder)), mounts) in NETWORK


def file_system_type(path: bytes, mounts: bytes) -> str:
    """Return the type of the file system that an absolute path lies on, from what proc(5) describes as mountinfo.

    It is the mount with the longest path around it, the last of several on one another; "" where there is none.
    """
    found, longest = "", -1
    for line in mounts.splitlines():
        before, separator, after = line.partition(b" - ")
        if not separator:
            continue
        place = _unescaped(before.split(b" ")[4]).rstrip(b"/")
        if (path == place or path.startswith(place + b"/")) and len(place) >= longest:
            found, longest = after.split(b" ")[0].decode("ascii", "replace"), len(place)
    return found


def _unescaped(text: bytes) -> bytes:
    """Read \\040 and the like, by which spaces and line ends are written."""
    return re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), text)
