"""What mounts of this user have left on the node that were killed with all their processes.

A dead mount, an empty mountpoint, a socket at which no server listens: the next start takes them
away, whatever job they were of. It touches only what lies below the run directory, and only where
no process holds the lock.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from imagenetfs.errors import ImagenetfsError
from imagenetfs.job import preflight
from imagenetfs.job.clients import MountClient
from imagenetfs.job.mount_paths import MountPaths, locked
from imagenetfs.job.start import Say
from imagenetfs.system import mounts


def remove_dead_mounts(root: Path, own: MountPaths, say: Say) -> None:
    """Clear every mountpoint below ``root`` but the own one, whose lock the caller holds."""
    for directory in root.iterdir():
        paths = MountPaths(directory, root)
        if paths != own and paths.files:  # else it is none of ours
            with contextlib.suppress(ImagenetfsError), locked(paths, 0.0):
                _clear(paths, say)


def clear_dead_mount(entry: mounts.MountEntry, paths: MountPaths, say: Say) -> None:
    """Take a dead mount away, and what its server could not any more: its files, and the
    mountpoint that `mount --make` made. Raises MountpointStaleError.
    """
    preflight.remove_dead_mount(entry, say)
    with contextlib.suppress(ImagenetfsError), locked(paths, 0.0):
        _clear(paths, say)
        if mounts.find_mount(paths.mountpoint) is None and preflight.is_made(paths.mountpoint):
            preflight.remove_made(paths.mountpoint)


def _clear(paths: MountPaths, say: Say) -> None:
    """Under the lock of these paths: no process starts or joins a mount there until it is done."""
    visit = MountClient.visit(paths)
    if visit is not None:
        visit.close()
        return
    entry = mounts.find_mount(paths.mountpoint)
    if entry is not None:
        if not entry.is_ours or preflight.health(entry) is not preflight.Health.DEAD:
            return
        preflight.remove_dead_mount(entry, say)
    if paths.is_below_root:
        with contextlib.suppress(OSError):
            paths.mountpoint.rmdir()
    for path in paths.files:
        if path != paths.lock_path:
            with contextlib.suppress(OSError):
                path.unlink()
