"""PNG files of a size that is known beforehand: the pixels stand in one stored deflate block.

stat must tell a file's size before the file is made. A PNG (W3C Recommendation, 3rd edition) whose
zlib stream (RFC 1950) is a single stored block (RFC 1951, 3.2.4) has a length that depends on width
and height alone: 268 bytes for 8 x 8 pixels, 852 for 16, 3,172 for 32, 12,420 for 64.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

MAX_SIDE = 147
"""The largest square whose scan lines fit one stored block of 65,535 bytes."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = b"\x78\x01"
_BIT_DEPTH, _TRUECOLOUR = 8, 2


def png_size(side: int) -> int:
    """Bytes of the file for a square of ``side`` pixels."""
    frame = _frame(side)
    return len(frame.head) + side * (1 + 3 * side) + 8 + len(frame.tail)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all files of one size have in common: all before the pixels, and all behind the sums."""

    head: bytes
    tail: bytes
    crc: int


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(maxsize=8)
def _frame(side: int) -> _Frame:
    if not 1 <= side <= MAX_SIDE:
        raise ValueError(f"a side of {side} pixels does not fit one stored block")
    raw = side * (1 + 3 * side)
    stored = _ZLIB_HEADER + struct.pack("<BHH", 1, raw, raw ^ 0xFFFF)
    header = struct.pack(">IIBBBBB", side, side, _BIT_DEPTH, _TRUECOLOUR, 0, 0, 0)
    begun = b"IDAT" + stored
    return _Frame(
        _SIGNATURE + _chunk(b"IHDR", header) + struct.pack(">I", len(stored) + raw + 4) + begun,
        _chunk(b"IEND", b""),
        zlib.crc32(begun),
    )


def encode(planes: bytes | npt.NDArray[np.uint8], side: int) -> bytes:
    """The PNG of one row: ``3 * side * side`` bytes, the R plane, then G, then B, line by line.

    Every scan line has filter type 0. Raises ValueError where the row has another length.
    """
    frame = _frame(side)
    pixels = np.frombuffer(planes, dtype=np.uint8).reshape(3, side, side)
    lines = np.zeros((side, 1 + 3 * side), dtype=np.uint8)
    lines[:, 1:].reshape(side, side, 3)[...] = pixels.transpose(1, 2, 0)
    raw = lines.tobytes()
    adler = struct.pack(">I", zlib.adler32(raw))
    crc = zlib.crc32(adler, zlib.crc32(raw, frame.crc))
    return b"".join((frame.head, raw, adler, struct.pack(">I", crc), frame.tail))
