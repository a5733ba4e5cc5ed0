"""ICC profiles of three primaries and one curve, written here byte by byte (ICC.1:2022), and what they mean."""

import struct

import numpy as np
from numpy.typing import NDArray

WHITES = {"D50": (0.3457, 0.3585), "D65": (0.3127, 0.3290)}
PRIMARIES: dict[str, tuple[tuple[float, float], ...]] = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "Display P3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    "ProPhoto RGB": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
}
SPACES = {
    "Adobe RGB": ("D65", 2.19921875),
    "Display P3": ("D65", None),
    "ProPhoto RGB": ("D50", 1.8),
    "sRGB": ("D65", None),
}
"""White, and the exponent of the curve; None for the curve of sRGB."""
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def to_xyz(name: str) -> NDArray[np.float64]:
    """The matrix (3, 3) from linear values of a space to XYZ under D50, as a profile has it."""
    white, _ = SPACES[name]
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in PRIMARIES[name]]).T
    whites = {key: np.array([x / y, 1.0, (1 - x - y) / y]) for key, (x, y) in WHITES.items()}
    matrix = columns * np.linalg.solve(columns, whites[white])
    scale = (BRADFORD @ whites["D50"]) / (BRADFORD @ whites[white])
    adapted: NDArray[np.float64] = np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ matrix
    return adapted


def profile(name: str) -> bytes:
    """An ICC profile (version 4) of one of these spaces."""
    matrix, (_, gamma) = to_xyz(name), SPACES[name]
    curve = (
        b"para"
        + bytes(4)
        + (fixed(0, kind=3) + fixed(*SRGB_CURVE) if gamma is None else fixed(0, kind=0) + fixed(gamma))
    )
    text = name.encode("utf-16-be")
    words = b"mluc" + bytes(4) + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(text), 28) + text
    tags = {
        b"desc": words,
        b"cprt": words,
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        **{kind + b"XYZ": b"XYZ " + bytes(4) + fixed(*matrix[:, i]) for i, kind in enumerate((b"r", b"g", b"b"))},
        **{kind + b"TRC": curve for kind in (b"r", b"g", b"b")},
    }
    return assembled(tags, b"RGB ")


def fixed(*values: float, kind: int | None = None) -> bytes:
    """Numbers of 16 bits before the point and after it; or what a parametric curve begins with."""
    if kind is not None:
        return struct.pack(">HH", kind, 0)
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = start + len(data)
    head = struct.pack(">I", size) + bytes(4) + struct.pack(">I", 0x04400000) + b"mntr" + space + b"XYZ " + bytes(12)
    head += b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def in_srgb(pixels: NDArray[np.uint8], name: str) -> NDArray[np.float64]:
    """What colours (..., 3) of a space are in sRGB, from 0 to 255; what sRGB has not is cut off."""
    gamma = SPACES[name][1]
    values = pixels / 255
    linear = values**gamma if gamma else np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    mixed = np.clip(linear @ (np.linalg.inv(to_xyz("sRGB")) @ to_xyz(name)).T, 0, 1)
    return 255 * np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
