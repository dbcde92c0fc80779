"""Root without the right to read what modes forbid: then `chmod 0` closes a file to it too."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION = 0x20080522
_OVERRIDE = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _call(name: str, sets: ctypes.Array[_Sets]) -> None:
    if getattr(_libc, name)(ctypes.byref(_Header(_VERSION, 0)), sets):
        raise OSError(ctypes.get_errno(), name)


def drop_override() -> int:
    """Take it from this thread, and from what it starts by fork; the effective set as it was."""
    sets = (_Sets * 2)()
    _call("capget", sets)
    before = int(sets[0].effective)
    sets[0].effective &= ~_OVERRIDE
    _call("capset", sets)
    return before


@contextlib.contextmanager
def without_override() -> Iterator[None]:
    """This thread, for a while; nothing changes for an ordinary user."""
    before = drop_override() if os.geteuid() == 0 else 0
    try:
        yield
    finally:
        if before:
            sets = (_Sets * 2)()
            _call("capget", sets)
            sets[0].effective = before
            _call("capset", sets)
