"""Numbers with their units, as people read them: bytes and seconds."""

from __future__ import annotations

MIB, GIB = 1 << 20, 1 << 30


def in_bytes(count: float) -> str:
    """``1500`` -> ``1.5 kB``: in powers of 1000, as options are read and disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


_MOST_OF_A_UNIT = 100_000
"""So many of a unit and more are not what a user writes: 75,379,188 KiB is a part of a disk."""


def as_given(count: int) -> str:
    """A limit in the unit in which it was most probably given: ``3G`` as 3 GB, ``3Gi`` as 3 GiB.
    One that was computed, a part of a disk or what is left of it, is rounded.
    """
    for base, units in ((1000, "kB MB GB TB"), (1024, "KiB MiB GiB TiB")):
        for power, unit in reversed(list(enumerate(units.split(), start=1))):
            if count and count % base**power == 0 and count // base**power < _MOST_OF_A_UNIT:
                return f"{count // base**power:,} {unit}"
    return in_bytes(count)


def in_time(seconds: float) -> str:
    """``3725`` -> ``1 h 02 min``; below an hour minutes and seconds."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"
