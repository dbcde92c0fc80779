"""Directories of our own: where ``run`` mounts, where locks and sockets live, where logs go.

    <root>/                    ours, and nobody else can write to it
    <root>/<name>/             a mountpoint that ``run`` makes
    <root>/.run/<key>.lock     held while a mount at one mountpoint starts, is joined, or ends
    <root>/.run/<key>.sock     the mount's server listens here for leases (leases.py)

The root is the first of these that can be used. Others may have taken a name in /tmp before us,
with a directory or with a file system that never answers; so nothing is asked of a root before the
mount table.

- $IMAGENETFS_RUN_DIR, or ``run_dir`` in the user's file, alone: itself where it is ours, else,
  where many may write to it (/tmp), its part ``imagenetfs-<uid>``;
- ``run_dir`` of the site: always its part ``imagenetfs-<uid>``; what follows, /tmp last;
- /tmp/imagenetfs-<uid>; imagenetfs in $XDG_RUNTIME_DIR, else in /run/user/<uid>; for root
  /run/imagenetfs-0.

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.config import Settings, at_home, site_config_path
from imagenetfs.errors import NoSpaceError, PlaceRefusedError, RunDirRefusedError, StillBusyError
from imagenetfs.job import signals
from imagenetfs.system import files, mounts

LOCK_SECONDS = 300.0  # longer than any start takes

_KEEP_LOGS = 50
_OPEN_TRIES = 100
_OTHERS_WRITE = 0o022

Say = Callable[[str], None]


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


# --- the root -------------------------------------------------------------------------------------


def prepare_root(settings: Settings, say: Say | None = None) -> Path:
    """The root of all places, made and resolved, with its directory of locks.

    ``say`` is told where it is not the usual one. Raises PlaceRefusedError, RunDirRefusedError
    where the user has named none.
    """
    refusals: list[PlaceRefusedError] = []
    for root in _roots(settings):
        try:
            ensure_private(root)
            ensure_private(root / ".run")
        except PlaceRefusedError as error:
            refusals.append(error)
            continue
        if refusals and say is not None:
            say(f"{refusals[0]} Until then {root} is used.")
        return root.resolve()
    if _is_named_by_user(settings):
        raise refusals[0]
    raise RunDirRefusedError(str(refusals[0]))


def usable_roots(settings: Settings) -> list[Path]:
    """The roots that :func:`prepare_root` may have come to, or would make; nothing is made here."""
    return [root for root in _roots(settings) if _problem(root) is None]


def find_root(settings: Settings) -> Path:
    """The root that :func:`prepare_root` would come to; where all are refused, the first."""
    return next(iter(usable_roots(settings)), None) or _roots(settings)[0]


def find_paths(mountpoint: Path, settings: Settings) -> MountPaths:
    """The place of a mountpoint below the root that has files of it, or below the usual root."""
    places = [MountPaths(mountpoint, root) for root in usable_roots(settings)]
    known = (place for place in places if place.lock_path.exists() or place.socket_path.exists())
    return next(known, None) or MountPaths(mountpoint, find_root(settings))


def prepare_paths(mountpoint: Path, settings: Settings, say: Say | None = None) -> MountPaths:
    """The place of a mountpoint; makes the root, and refuses one that others could reach into."""
    return MountPaths(mountpoint, prepare_root(settings, say))


def _is_named_by_user(settings: Settings) -> bool:
    return settings.run_dir is not None and not _is_sites(settings)


def _is_sites(settings: Settings) -> bool:
    return settings.origins.get("run_dir") == str(site_config_path(os.environ))


def _part() -> str:
    """What a user's part of a directory for all is called."""
    return f"imagenetfs-{os.geteuid()}"


def _roots(settings: Settings) -> list[Path]:
    """Where the root may be, the usual place first."""
    # Not $TMPDIR: every process of this user on this node must come to the same place.
    in_tmp, in_run = Path("/tmp") / _part(), _in_runtime_directory()
    if settings.run_dir is None:
        return [in_tmp, *in_run]
    if _is_sites(settings):  # which has a reason not to take /tmp
        return [settings.run_dir / _part(), *in_run, in_tmp]
    return [_itself_or_part(settings.run_dir)]


def _in_runtime_directory() -> list[Path]:
    """Places in /run, where nobody but root makes names."""
    uid = os.geteuid()
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(named)] if named.startswith("/") else []
    found.append(Path(f"/run/user/{uid}"))
    places = []
    for directory in dict.fromkeys(found):
        status = _status(directory)
        if status is not None and status.st_uid == uid and stat.S_ISDIR(status.st_mode):
            places.append(directory / "imagenetfs")
    return places if uid != 0 else [*places, Path("/run") / _part()]


def _itself_or_part(named: Path) -> Path:
    """A directory that the user has named, or this user's part of it where it is for many."""
    status = _status(named)
    if status is None or _problem_of(status) is None or not stat.S_ISDIR(status.st_mode):
        return named
    return named / _part() if _keeps_parts(status) else named


def _keeps_parts(status: os.stat_result) -> bool:
    """Whether what a user makes in a directory stays that user's: nobody else can move it away."""
    is_kept = not status.st_mode & _OTHERS_WRITE or bool(status.st_mode & stat.S_ISVTX)
    return status.st_uid in (0, os.geteuid()) and is_kept


def ensure_private(directory: Path) -> None:
    """Make a directory 0700, or see that it is one of ours; raises PlaceRefusedError.

    What exists is left as it is.
    """
    advice = "Set IMAGENETFS_RUN_DIR to a directory on a local disk that is yours alone."
    problem = _problem(directory)
    if problem is None:
        try:
            _make(directory)
        except OSError as error:
            problem = f"could not be made or used: {error.strerror}"
        else:
            problem = _problem(directory)  # another may have been quicker
    if problem is not None:
        raise PlaceRefusedError(f"{directory} {problem}. {advice}")


def _make(directory: Path) -> None:
    with contextlib.suppress(FileExistsError):
        if directory.name == _part():  # a part of what is there already: nobody could share it else
            directory.mkdir(mode=0o700)
        else:
            directory.mkdir(mode=0o700, parents=True)
        with _looked_at(directory) as fd:
            if os.fstat(fd).st_mode & 0o700 != 0o700:  # a strict umask
                Path(f"/proc/self/fd/{fd}").chmod(0o700)


def _problem(directory: Path) -> str | None:
    """What is wrong with a directory of ours; None where there is nothing, or it is not there."""
    entry = mounts.covering_mount(directory)
    is_mountpoint = entry is not None and entry.mountpoint == str(directory)
    if entry is not None and (mounts.is_others(entry) or (is_mountpoint and entry.is_fuse)):
        return f"lies under the mount of another program ({entry.fstype} at {entry.mountpoint})"
    if directory.name == _part():
        above = _status(directory.parent)
        if above is not None and not _keeps_parts(above):
            return f"could be moved away by others: {directory.parent} needs the mode 1777 (chmod)"
    try:
        with _looked_at(directory) as fd:
            if mounts.is_others(mounts.mount_of_descriptor(fd)):
                return "lies under the mount of another user"
            return _problem_of(os.fstat(fd))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"could not be made or used: {error.strerror}"


def _problem_of(status: os.stat_result) -> str | None:
    problem = files.directory_problem(status)
    if problem is None and status.st_mode & _OTHERS_WRITE:
        return f"can be written to by others (its mode is {stat.S_IMODE(status.st_mode):o})"
    return problem


def _status(directory: Path) -> os.stat_result | None:
    """The status of a path itself; None where it is not there, or may not be asked."""
    if mounts.is_others(mounts.covering_mount(directory)):
        return None
    try:
        with _looked_at(directory) as fd:
            if mounts.is_others(mounts.mount_of_descriptor(fd)):
                return None
            return os.fstat(fd)
    except OSError:
        return None


@contextlib.contextmanager
def _looked_at(path: Path) -> Iterator[int]:
    """A descriptor that stands for a path. The file system that lies there is not asked for it."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


# --- locks ----------------------------------------------------------------------------------------


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
        if place.root.name == _part() or place.root in _in_runtime_directory():
            place.root.rmdir()  # one that the user has named stays


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
