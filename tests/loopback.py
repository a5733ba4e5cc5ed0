"""A network namespace of its own, as `unshare --net` gives it, begins without a loopback interface that is on."""

import fcntl
import socket
import struct

NAMESPACE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""What a command begins with that is to have the loopback interface alone, and to take its processes with it."""


def switch_loopback_on() -> None:
    """As `ip link set lo up` does (netdevice(7))."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xh", fcntl.ioctl(any_socket, get_flags, request))
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))
