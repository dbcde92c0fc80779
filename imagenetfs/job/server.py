"""What the server process does around ``serve``: leases, lock, its directory, tidying up.

Runs in a forked process (daemon.py) or, for ``mount --foreground``, in the command itself. The
place's lock is held when it starts; it is given back when the mount can be read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.config import Settings
from imagenetfs.errors import ImagenetfsError
from imagenetfs.job.daemon import Ready
from imagenetfs.job.leases import Born, Identity, LeaseWatcher
from imagenetfs.job.places import Place, locked, unlock

_TIDY_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRequest:
    """Everything that a server needs to know. ``made``: the mountpoint goes with the mount."""

    place: Place
    source: Path
    settings: Settings
    born: Born
    made: bool = False
    fuse_options: tuple[str, ...] = ()
    log: Path | None = None


def serve_mount(
    request: MountRequest, lock: int, ready: Ready, first_lease: socket.socket | None = None
) -> None:
    """Mount and serve until the end; raises ImagenetfsError if it cannot mount."""
    # numpy's linear algebra starts threads when it is imported, and a server that forks its
    # workers must have one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.serve.supervisor import MountPlan, serve

    place, settings = request.place, request.settings
    run_dir = place.server_directory()
    run_dir.mkdir(mode=0o700)
    plan = MountPlan(
        source=request.source,
        mountpoint=place.mountpoint,
        fuse_options=request.fuse_options,
        workers=settings.workers,
        in_flight=settings.in_flight,
        index_dir=settings.index_dir,
        run_dir=run_dir,
        read_timeout=settings.read_timeout,
        prefer=settings.prefer,
        views=settings.view,
        log_path=request.log,
    )
    identity = Identity(str(request.source), str(place.mountpoint), request.born, os.getpid())
    watcher = LeaseWatcher(place, identity, first_lease)

    is_mounted = False

    def mounted(warnings: list[str]) -> None:
        nonlocal is_mounted
        is_mounted = True
        # Not by closing: the workers have inherited the descriptor.
        unlock(lock)
        ready(warnings)

    try:
        serve(plan, ready=mounted, watchers=[watcher])
    finally:
        watcher.close()
        shutil.rmtree(run_dir, ignore_errors=True)
        if is_mounted and request.made:
            _remove_mountpoint(place)


def _remove_mountpoint(place: Place) -> None:
    """Remove the directory, unless a newer mount lies there."""
    try:
        # Under the lock: a front that is starting a mount may just have seen the directory.
        with locked(place, _TIDY_SECONDS), contextlib.suppress(OSError):
            place.mountpoint.rmdir()  # refused while something is mounted there
    except ImagenetfsError as error:
        _log.info("the mountpoint stays: %s", error)
