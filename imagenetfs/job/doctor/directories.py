"""Directories of our own: whether they can be written to, how much room they
have, how fast they are.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from imagenetfs.config import Settings
from imagenetfs.job.doctor.findings import Finding, green, red, yellow
from imagenetfs.job.logs import log_directory
from imagenetfs.job.run_dir import find_root
from imagenetfs.system import child_call, mounts
from imagenetfs.system.work_watch import call_watched
from imagenetfs.units import GIB, MIB, in_bytes

_TRIAL_BYTES = 8 * MIB
_TRIAL_SECONDS = 10.0

LITTLE = {"index": 64 * MIB, "temporary files": 2 * GIB, "run directory": MIB, "log": MIB}
"""Bytes below which a place is nearly full: an index has 24 MB for
ImageNet's train, an array 1.2 GB.
"""


def places(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """A line for each place."""
    temporary = environ.get("SLURM_TMPDIR") or tempfile.gettempdir()
    named = {
        "index": settings.index_dir,
        "temporary files": Path(temporary),
        "run directory": find_root(settings),
        "log": _log_place(settings),
    }
    for name, place in named.items():
        if place is None:
            yield yellow(
                name, "kept in memory only", "give --index-dir to index once for all mounts"
            )
        else:
            yield look_at(name, place)


def _log_place(settings: Settings) -> Path:
    return settings.log.parent if isinstance(settings.log, Path) else log_directory()


def look_at(name: str, place: Path) -> Finding:
    """One place, tried out with a file of a few MiB that is taken away again."""
    advice = {
        "index": "give another directory with --index-dir",
        "temporary files": "set TMPDIR to a local directory with room",
        "run directory": "set IMAGENETFS_RUN_DIR to a local directory of yours",
        "log": "give another file with --log",
    }[name]
    try:
        free, speed = call_watched(lambda: _try(place), _TRIAL_SECONDS)
    except child_call.NoAnswerError as error:
        if not error.is_asked:
            return yellow(name, f"{place}: {child_call.reason_of(error)}")
        return red(name, f"{place} does not answer within {_TRIAL_SECONDS:.0f} s", advice)
    except OSError as error:
        return red(name, f"{place} cannot be written to: {error.strerror}", advice)
    kind = file_system_of(place)
    facts = {"path": str(place), "free": free, "bytes_per_second": speed, "type": kind}
    what = f"{place}: {in_bytes(free)} free, {in_bytes(speed)}/s, {kind}"
    if free < LITTLE[name]:
        return yellow(name, f"{what}; nearly full", advice, **facts)
    if kind in mounts.IN_MEMORY and name == "index":
        return yellow(name, f"{what}: it takes memory, and is lost at a reboot", advice, **facts)
    return green(name, what, **facts)


def _try(place: Path) -> tuple[int, float]:
    """(bytes free, bytes a second written and synced); OSError where it cannot be written to."""
    existing = next(p for p in (place, *place.parents) if p.exists())
    fd, name = tempfile.mkstemp(prefix=".imagenetfs-doctor-", dir=existing)
    try:
        Path(name).unlink()
        room = os.statvfs(existing)
        free = room.f_bavail * room.f_frsize
        size = min(_TRIAL_BYTES, free // 4)
        start = time.monotonic()
        os.write(fd, bytes(size))
        os.fsync(fd)
        return free, size / max(time.monotonic() - start, 1e-6)
    finally:
        os.close(fd)


def file_system_of(path: Path) -> str:
    """The type of the file system that a path lies in."""
    entry = mount_of(path)
    return entry.fstype if entry is not None else "unknown"


def mount_of(path: Path) -> mounts.MountEntry | None:
    """The mount that a path lies in; nothing is touched."""
    resolved, table = mounts.resolve(path), mounts.read_table()
    for directory in (resolved, *resolved.parents):
        entry = mounts.find_mount(directory, table)
        if entry is not None:
            return entry
    return None
