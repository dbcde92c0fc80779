"""The files of the mount at one mountpoint, and its lock.

    <root>/.run/<key>.lock     held while a mount at one mountpoint starts, is joined, or ends
    <root>/.run/<key>.sock     the mount's server listens here for clients (clients.py)

``key`` is a digest of the mountpoint's resolved path.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.config import Settings
from imagenetfs.errors import NoSpaceError, StillBusyError
from imagenetfs.job import signals
from imagenetfs.job.run_dir import (
    Say,
    digest,
    ensure_private,
    find_root,
    is_removable,
    prepare_root,
    usable_roots,
)

LOCK_SECONDS = 300.0  # longer than any start takes

_OPEN_TRIES = 100


@dataclass(frozen=True, slots=True)
class MountPaths:
    """What belongs to the mount at one mountpoint (an absolute, resolved path)."""

    mountpoint: Path
    root: Path
    job: str = ""
    """In a namespace, where all mountpoints are alike: whose it is."""

    @property
    def is_private(self) -> bool:
        """Whether the mount is seen from within its namespace only."""
        return bool(self.job)

    @property
    def key(self) -> str:
        return digest(str(self.mountpoint))

    @property
    def lock_path(self) -> Path:
        return self.root / ".run" / f"{self.key}.lock"

    @property
    def files(self) -> list[Path]:
        """The lock, the socket and the log, those that there are."""
        return sorted(self.lock_path.parent.glob(f"{self.key}.*"))

    @property
    def socket_path(self) -> Path:
        return self.root / ".run" / f"{self.key}.sock"

    @property
    def own_log(self) -> Path:
        """A log beside the lock, where no file is named."""
        return self.lock_path.with_suffix(".log")

    @property
    def is_below_root(self) -> bool:
        """Whether the mountpoint is one of those that ``run`` makes, and removes with the mount."""
        return self.mountpoint.parent == self.root


def find_paths(mountpoint: Path, settings: Settings) -> MountPaths:
    """The paths of a mount below the root that has files of it, else below the usual root."""
    places = [MountPaths(mountpoint, root) for root in usable_roots(settings)]
    known = (paths for paths in places if paths.lock_path.exists() or paths.socket_path.exists())
    return next(known, None) or MountPaths(mountpoint, find_root(settings))


def prepare_paths(mountpoint: Path, settings: Settings, say: Say | None = None) -> MountPaths:
    """The paths of a mount; makes the root, and refuses one that others could reach into."""
    return MountPaths(mountpoint, prepare_root(settings, say))


# --- the lock -------------------------------------------------------------------------------------


class MountLock:
    """The lock of one mount, held; it belongs to an opening of its file (flock(2)).

    A forked child shares it: it lasts until one of the processes calls :meth:`release`, or each of
    them has closed it or ended. So a front closes its own, and the server that it has started
    releases it when the mount can be read.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        """``fd``: an opening of the lock's file, locked; it is this object's from now on."""
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor, for a process that is to keep it open."""
        return self._fd

    def release(self) -> None:
        """Give the lock back for all processes that share it; it is still to be closed."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @property
    def closed(self) -> bool:
        """Whether this process has let go of it."""
        return self._fd < 0

    def close(self) -> None:
        """Let go of it in this process; once is enough: a server in the front's own process closes
        it before the front does.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@contextlib.contextmanager
def locked(paths: MountPaths, seconds: float = LOCK_SECONDS) -> Iterator[MountLock]:
    """Hold the mount's lock for a block, and close it then; raises StillBusyError after
    ``seconds``. Where no server listens when it is closed, the lock's file goes too.
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as undo:
        while (lock := _enter(paths, undo)) is None:
            if time.monotonic() > deadline:
                raise StillBusyError(
                    f"Another process has been starting or ending the mount at "
                    f"{paths.mountpoint} for {seconds:.0f} s."
                )
            time.sleep(0.02)
        yield lock


def _enter(paths: MountPaths, undo: contextlib.ExitStack) -> MountLock | None:
    """Take the lock, if it is free, and have it given back; a signal comes
    before both or after both.
    """
    with signals.blocked():
        lock = try_lock(paths)
        if lock is not None:
            undo.callback(_give_back, paths, lock)
        return lock


def _give_back(paths: MountPaths, lock: MountLock) -> None:
    with signals.blocked():
        # Closing only: if the server that was started here still holds the lock, it shall.
        lock.close()
        if not paths.socket_path.exists():
            forget(paths)


def try_lock(paths: MountPaths) -> MountLock | None:
    """The mount's lock, if it is free; the caller closes it."""
    fd = _open_lock(paths)
    if _take(fd, paths):
        return MountLock(fd)
    os.close(fd)
    return None


def _open_lock(paths: MountPaths) -> int:
    for _ in range(_OPEN_TRIES):
        try:
            return os.open(paths.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # The last mount of this user has just ended, and taken the directory with it.
            ensure_private(paths.root)
            ensure_private(paths.lock_path.parent)
        except OSError as error:
            raise NoSpaceError(
                f"{paths.lock_path} could not be written: {error.strerror}. "
                "Set IMAGENETFS_RUN_DIR to a directory on a local disk that has room."
            ) from error
    raise StillBusyError(f"{paths.lock_path.parent} is removed again and again by another process.")


def _take(fd: int, paths: MountPaths) -> bool:
    """Lock unless another process has; a lock on a file that has been removed since is none."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), paths.lock_path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def forget(paths: MountPaths) -> None:
    """Remove the lock file unless a process holds it, and the directories if they are empty."""
    with contextlib.suppress(OSError):
        fd = os.open(paths.lock_path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not _take(fd, paths):
                return
            paths.lock_path.unlink()
        finally:
            os.close(fd)
        paths.lock_path.parent.rmdir()
        if is_removable(paths.root):
            paths.root.rmdir()
