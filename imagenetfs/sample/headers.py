"""Tar headers by the thousand: whole columns at a time in numpy.

POSIX ustar (IEEE Std 1003.1, "ustar Interchange Format") and its GNU cousin, regular files only:
names of up to 100 bytes, sizes below 8 GiB. Numbers are octal digits with a NUL behind them.

    name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100
    | magic and version 8 | owner 32 | group 32 | device numbers 16 | prefix 155 | 12 unused
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BLOCK = 512  # bytes: a header, and what data is rounded up to
RECORD = 10_240  # bytes: what GNU tar rounds a whole archive up to
END = 2 * BLOCK  # bytes of zeros after the last member

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

# Magic and version: what tells the two formats apart.
USTAR: Bytes = np.frombuffer(b"ustar\x0000", np.uint8)
GNU: Bytes = np.frombuffer(b"ustar  \x00", np.uint8)

_NAME = slice(0, 100)
_MODE = slice(100, 108)
_UID = slice(108, 116)
_GID = slice(116, 124)
_SIZE = slice(124, 136)
_MTIME = slice(136, 148)
_CHECKSUM = slice(148, 156)
_TYPE = 156
_MAGIC = slice(257, 265)
_OWNER = slice(265, 297)
_GROUP = slice(297, 329)


def headers(
    names: Sequence[str], sizes: Integers, mtimes: Integers, *, magic: Bytes, mode: int = 0o644
) -> Bytes:
    """The headers of regular files as an (n, 512) array; sizes in bytes, mtimes in seconds.

    ``magic`` is USTAR or GNU, or an (n, 8) array of them.
    """
    block = np.zeros((len(names), BLOCK), np.uint8)
    block[:, _NAME] = np.array(names, "S100").view(np.uint8).reshape(-1, 100)
    block[:, _MODE] = _octal(np.array([mode]), 7)
    block[:, _UID] = block[:, _GID] = _octal(np.array([0]), 7)
    block[:, _SIZE] = _octal(sizes, 11)
    block[:, _MTIME] = _octal(mtimes, 11)
    block[:, _TYPE] = ord("0")
    block[:, _MAGIC] = magic
    block[:, _OWNER] = block[:, _GROUP] = np.frombuffer(b"root".ljust(32, b"\0"), np.uint8)
    # The checksum is the sum of all bytes, its own eight counted as spaces; it ends in NUL, space.
    block[:, _CHECKSUM] = ord(" ")
    block[:, _CHECKSUM.start : _CHECKSUM.stop - 1] = _octal(block.sum(axis=1, dtype=np.int64), 6)
    return block


def _octal(values: Integers, digits: int) -> Bytes:
    """(n,) numbers as (n, digits + 1) ASCII octal digits and a NUL."""
    shifts = 3 * np.arange(digits - 1, -1, -1)
    text = np.zeros((len(values), digits + 1), np.uint8)
    text[:, :digits] = (values[:, None] >> shifts & 7) + ord("0")
    return text


def rounded(size: Any, unit: int) -> Any:
    """A size in bytes, or an array of them, rounded up to a multiple of ``unit``."""
    return -(-size // unit) * unit


def layout(sizes: Integers) -> tuple[Integers, int]:
    """Where the headers of members of these sizes stand, in bytes from the start of their tar,
    and the size of that tar with its end, padded to whole records."""
    ends = np.cumsum(BLOCK + rounded(sizes, BLOCK))
    starts = np.concatenate(([0], ends[:-1]))
    return starts, int(rounded(int(ends[-1]) + END, RECORD))
