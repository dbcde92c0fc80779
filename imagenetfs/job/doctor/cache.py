"""The read cache: whether there is one, and how much of the data it can hold."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagenetfs.cache.directory import CacheDirectory, unfit_type
from imagenetfs.config import Settings
from imagenetfs.errors import ImagenetfsError
from imagenetfs.job import preflight
from imagenetfs.job.doctor.directories import file_system_of
from imagenetfs.job.doctor.findings import Finding, green, red, yellow
from imagenetfs.system import child_call, mounts
from imagenetfs.system.mounts import Reach
from imagenetfs.system.work_watch import call_watched
from imagenetfs.units import in_bytes

_SECONDS = 10.0
_ABOUT = "read cache"
_LOCAL = tuple(map(Path, ("/localscratch", "/scratch", "/local", "/tmp", "/var/tmp")))
"""Where nodes have a disk of their own, where $SLURM_TMPDIR does not say it."""

_THROUGH = {Reach.NETWORK: "over the network", Reach.PROGRAM: "through the program that shows it"}
_OTHER = "name another directory of this node with --cache-dir"


def cache(settings: Settings, sizes: Mapping[str, int]) -> Iterator[Finding]:
    """A line on the cache. ``sizes``: bytes of each split's archives, as far as they are known."""
    place = settings.cache_dir
    if place is None:
        yield _none(settings)
        return
    try:
        room, held = call_watched(lambda: _room(place, settings), _SECONDS)
    except (OSError, child_call.NoAnswerError) as error:
        yield red(_ABOUT, f"{place} cannot be used: {child_call.reason_of(error)}", _OTHER)
        return
    facts: dict[str, Any] = {"path": str(place), "room": room, "held": held}
    what = f"{place} has room for {in_bytes(room)}"
    what += f", of which {in_bytes(held)} are filled" if held else ""
    largest = max(sizes, key=lambda title: sizes[title], default=None)
    if largest is None:
        yield green(_ABOUT, what, **facts)
    elif sizes[largest] <= room:
        yield green(_ABOUT, f"{what}: {largest} ({in_bytes(sizes[largest])}) fits", **facts)
    else:
        part = 100 * room / sizes[largest]
        yield yellow(
            _ABOUT,
            f"{what}: {part:.0f} % of {largest} ({in_bytes(sizes[largest])})",
            "the rest is read from the source in each epoch; raise --cache-size, lower "
            f"--keep-free, or {_OTHER}",
            **facts,
        )


def _none(settings: Settings) -> Finding:
    """That there is no cache: it costs nothing where the source is a disk of this node."""
    try:
        kind = file_system_of(settings.source or preflight.default_source())
    except ImagenetfsError:
        kind = "unknown"  # a line on the source says so
    reach = mounts.reach_of(kind)
    if reach is Reach.NODE:
        return green(_ABOUT, "none is set, and a source on this node needs none")
    place = next(filter(_is_fit, _LOCAL), None)
    name = f"{place}/$USER-imagenet" if place is not None else "DIR, on a disk of this node,"
    return yellow(
        _ABOUT,
        f"none is set, so each epoch reads all of the source {_THROUGH[reach]} ({kind})",
        f"in the job: --cache-dir {name} keeps what was read; `imagenetfs cache clear` removes it",
    )


def _is_fit(place: Path) -> bool:
    """Whether a cache can be made below a directory, on a disk of this node."""
    return unfit_type(place) is None and place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _room(place: Path, settings: Settings) -> tuple[int, int]:
    """(bytes that the cache may have, bytes that it has). Makes nothing."""
    held = 0
    if place.is_dir():
        directory = CacheDirectory(place)
        try:
            held = sum(segment.allocated for segment in directory.segments())
        finally:
            directory.close()
    existing = next(path for path in (place, *place.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    status = os.statvfs(existing)
    free, whole = (blocks * status.f_frsize for blocks in (status.f_bavail, status.f_blocks))
    left = max(0, free - settings.keep_free.of(whole))
    return min(settings.cache_size.of(free + held), left + held), held
