"""Directories of our own: where ``run`` mounts, where locks and sockets live, where logs go.

    <root>/                    0700, ours: $IMAGENETFS_RUN_DIR, else /tmp/imagenetfs-<uid>
    <root>/<name>/             a mountpoint that ``run`` makes
    <root>/.run/<key>.lock     held while a mount at one mountpoint starts, is joined, or ends
    <root>/.run/<key>.sock     the mount's server listens here for leases (leases.py)

``key`` is a digest of the mountpoint's resolved path. All of it is local to the node: flock and
sockets do not carry over a network.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.config import Settings, at_home
from imagenetfs.errors import NoSpaceError, PlaceRefusedError, StillBusyError
from imagenetfs.job import signals

LOCK_SECONDS = 300.0  # longer than any start takes

_KEEP_LOGS = 50
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
        """Whether this place is seen from within its namespace only."""
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
        """A log beside the lock, where there is no better place."""
        return self.lock_path.with_suffix(".log")

    @property
    def is_below_root(self) -> bool:
        """Whether the mountpoint is one of those that ``run`` makes and removes by itself."""
        return self.mountpoint.parent == self.root


def digest(text: str) -> str:
    """Sixteen hexadecimal digits that stand for a text in a file name."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def root_of(settings: Settings) -> Path:
    """The root of all places, not made yet."""
    # Not $TMPDIR: every process of this user on this node must come to the same place.
    return settings.run_dir or _default_root()


def _default_root() -> Path:
    return Path(f"/tmp/imagenetfs-{os.geteuid()}")


def prepare_paths(mountpoint: Path, settings: Settings) -> MountPaths:
    """The place of a mountpoint; makes the root, and refuses one that others could reach into."""
    root = root_of(settings)
    ensure_private(root)
    root = root.resolve()
    ensure_private(root / ".run")
    return MountPaths(mountpoint, root)


def ensure_private(directory: Path) -> None:
    """Make a directory 0700, or see that it is one of ours; raises PlaceRefusedError."""
    advice = "Set IMAGENETFS_RUN_DIR to a directory on a local disk that is yours alone."
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no directory"
            raise PlaceRefusedError(f"{directory} is {kind}. {advice}")
        if status.st_uid != os.geteuid():
            raise PlaceRefusedError(f"{directory} belongs to another user. {advice}")
        if status.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise PlaceRefusedError(
            f"{directory} could not be made or used: {error.strerror}. {advice}"
        ) from error


def job_name(environ: Mapping[str, str]) -> str:
    """The name below the root at which ``run`` mounts: the job's step, the job, or `imagenet`."""
    # A server dies with the step that started it, so each step has a mount of its own.
    parts = [environ.get("SLURM_JOB_ID", ""), environ.get("SLURM_STEP_ID", "")]
    name = ".".join(part for part in parts if part) if parts[0] else "imagenet"
    return re.sub(r"[^A-Za-z0-9_+.-]", "_", name).lstrip(".") or "imagenet"


@contextlib.contextmanager
def locked(place: MountPaths, seconds: float = LOCK_SECONDS) -> Iterator[int]:
    """Hold the place's lock and yield its descriptor; raises StillBusyError after ``seconds``.

    A forked child shares the lock: it lasts until one of the two unlocks it, or both have ended.
    Where no server listens when it is given back, the lock file goes too.
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as undo:
        while (fd := _enter(place, undo)) is None:
            if time.monotonic() > deadline:
                raise StillBusyError(
                    f"Another process has been starting or ending the mount at "
                    f"{place.mountpoint} for {seconds:.0f} s."
                )
            time.sleep(0.02)
        yield fd


def _enter(place: MountPaths, undo: contextlib.ExitStack) -> int | None:
    """Take the lock, if it is free, and have it given back; a signal comes
    before both or after both.
    """
    with signals.blocked():
        fd = try_lock(place)
        if fd is not None:
            undo.callback(_give_back, place, fd)
        return fd


def _give_back(place: MountPaths, fd: int) -> None:
    with signals.blocked():
        # Closing only: if the server that was started here still holds the lock, it shall.
        os.close(fd)
        if not place.socket_path.exists():
            forget(place)


def try_lock(place: MountPaths) -> int | None:
    """The place's lock as a descriptor of its own, if it is free."""
    fd = _open_lock(place)
    if _take(fd, place):
        return fd
    os.close(fd)
    return None


def _open_lock(place: MountPaths) -> int:
    for _ in range(_OPEN_TRIES):
        try:
            return os.open(place.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # The last mount of this user has just ended, and taken the directory with it.
            ensure_private(place.root)
            ensure_private(place.lock_path.parent)
        except OSError as error:
            raise NoSpaceError(
                f"{place.lock_path} could not be written: {error.strerror}. "
                "Set IMAGENETFS_RUN_DIR to a directory on a local disk that has room."
            ) from error
    raise StillBusyError(f"{place.lock_path.parent} is removed again and again by somebody.")


def _take(fd: int, place: MountPaths) -> bool:
    """Lock if nobody else has; a lock on a file that has been removed meanwhile is none."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), place.lock_path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def forget(place: MountPaths) -> None:
    """Remove the lock file if nobody holds it, and the directories that nobody uses any more."""
    with contextlib.suppress(OSError):
        fd = os.open(place.lock_path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not _take(fd, place):
                return
            place.lock_path.unlink()
        finally:
            os.close(fd)
        place.lock_path.parent.rmdir()
        if place.root == _default_root():  # one that somebody has named stays
            place.root.rmdir()


def unlock(fd: int) -> None:
    """Release the lock for all who share this descriptor's opening."""
    fcntl.flock(fd, fcntl.LOCK_UN)


# --- logs -----------------------------------------------------------------------------------------


def log_directory() -> Path:
    """Where logs go unless a file is named."""
    from platformdirs import user_state_path

    return at_home(user_state_path("imagenetfs")) / "log"


def log_path(place: MountPaths, settings: Settings) -> Path:
    """The log of the mount at a place: readable, and no two mounts share one."""
    if isinstance(settings.log, Path):
        return settings.log
    if settings.log is not None:
        return place.own_log  # for what helpers say before they fail
    name = f"{place.mountpoint}-{place.job}" if place.is_private else str(place.mountpoint)
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name).strip("-.")[-80:]
    return log_directory() / f"{readable}-{digest(name)[:8]}.log"


def forget_old_logs(directory: Path) -> None:
    """Every job has a mountpoint of its own: keep the newest logs, not one for each job ever."""
    with contextlib.suppress(OSError):
        logs = sorted(directory.glob("*.log*"), key=lambda path: path.stat().st_mtime)
        for path in logs[:-_KEEP_LOGS]:
            path.unlink(missing_ok=True)
