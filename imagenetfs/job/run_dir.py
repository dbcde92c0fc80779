"""The run directory of a user: where ``run`` mounts, where locks and sockets live.

    <root>/                    ours, and no other user can write to it
    <root>/<name>/             a mountpoint that ``run`` makes
    <root>/.run/<key>.*        the lock and the socket of a mount (mount_paths.py)

The root is the first of these that can be used. Others may have taken a name in /tmp before us,
with a directory or with a file system that never answers; so nothing is asked of a root before the
mount table.

- $IMAGENETFS_RUN_DIR, or ``run_dir`` in the user's file, alone: itself where it is ours, else,
  where many may write to it (/tmp), its part ``imagenetfs-<uid>``;
- ``run_dir`` of the site: always its part ``imagenetfs-<uid>``; what follows, /tmp last;
- /tmp/imagenetfs-<uid>; imagenetfs in $XDG_RUNTIME_DIR, else in /run/user/<uid>; for root
  /run/imagenetfs-0.

All of it is local to the node: flock and sockets do not carry over a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from imagenetfs.config import Settings, site_config_path
from imagenetfs.errors import PlaceRefusedError, RunDirRefusedError
from imagenetfs.system import files, mounts

_OTHERS_WRITE = 0o022

Say = Callable[[str], None]


def digest(text: str) -> str:
    """Sixteen hexadecimal digits that stand for a text in a file name."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def job_name(environ: Mapping[str, str]) -> str:
    """The name below the root at which ``run`` mounts: the job's step, the job, or `imagenet`."""
    # A server dies with the step that started it, so each step has a mount of its own.
    parts = [environ.get("SLURM_JOB_ID", ""), environ.get("SLURM_STEP_ID", "")]
    name = ".".join(part for part in parts if part) if parts[0] else "imagenet"
    return re.sub(r"[^A-Za-z0-9_+.-]", "_", name).lstrip(".") or "imagenet"


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
    """Directories in /run, where only root makes names."""
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
    """Whether what a user makes in a directory stays that user's: no other can move it away."""
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
        if directory.name == _part():  # a part of what exists, which is made for all to share
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


def is_removable(root: Path) -> bool:
    """Whether a root goes with the last mount in it: one that the user has named stays."""
    return root.name == _part() or root in _in_runtime_directory()
