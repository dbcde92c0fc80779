"""What is looked at before mounting: each failure is one sentence and one exit code.

Nothing is mounted here, and nothing is changed but for dead mounts of ours, which are taken away.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import shlex
import stat
from collections.abc import Callable, Mapping
from enum import Enum, auto
from itertools import islice
from pathlib import Path

from imagenetfs.errors import (
    FuseUnavailableError,
    GroupNeededError,
    ImagenetfsError,
    MountpointInUseError,
    MountpointMissingError,
    MountpointNotDirectoryError,
    MountpointNotEmptyError,
    MountpointStaleError,
    PlaceRefusedError,
    SourceMissingError,
    SourceUnreadableError,
)
from imagenetfs.job import primary_group
from imagenetfs.job.nfs_access import User
from imagenetfs.system import child_call, mounts, namespaces
from imagenetfs.system.patience import PATIENCE, ask

SOURCE_SECONDS = 60.0
ANSWER_SECONDS = 5.0
ENDING_SECONDS = 0.3
FUSE_DEVICE = Path("/dev/fuse")
DEFAULT_SOURCES = (Path("/datashare/imagenet"), Path("/datashare/ImageNet"))

NOT_MOUNTED_FILE = "NOT_MOUNTED"
"""May lie beneath a mount: it tells a user who looks there that nothing is mounted."""

NOT_MOUNTED_TEXT = """\
imagenetfs is not mounted here at the moment, on this node. A mount is seen on no other node than
its own: imagenetfs mount SOURCE THIS_DIRECTORY makes one here.
"""

_MOST_NAMES = 10_000
"""Of a directory in which a name is looked for that is like one that is not there."""

Say = Callable[[str], None]


# --- the source -----------------------------------------------------------------------------------


def default_source(mountpoint: Path | None = None) -> Path:
    """The source where none is named; raises SourceMissingError with what to do.

    ``mountpoint``: the one path that was given. It may have been meant as the source.
    """
    for candidate in DEFAULT_SOURCES:
        try:
            if ask(candidate.is_dir, SOURCE_SECONDS):
                return candidate
        except child_call.NoAnswerError as error:
            raise _silent("source", candidate, error) from error
    if mountpoint is not None:
        raise SourceMissingError(
            f"No source is named, and {mountpoint} is taken for the mountpoint. If it is the "
            f"source, say where to mount it: imagenetfs mount {shlex.quote(str(mountpoint))} "
            "MOUNTPOINT. A source of its own is named before it, or in $IMAGENETFS_SOURCE."
        )
    raise SourceMissingError(
        "No source is named: give the directory that holds ImageNet's archives as SOURCE or in "
        f"$IMAGENETFS_SOURCE (neither {' nor '.join(map(str, DEFAULT_SOURCES))} is on this node)."
    )


def mount_command(mountpoint: Path | str) -> str:
    """What makes a mount at a mountpoint."""
    return f"imagenetfs mount SOURCE {shlex.quote(str(mountpoint))}"


def check_source(source: Path) -> Path:
    """See that the source is a directory that can be listed, and give its path without links.
    Raises Source*Error.
    """
    try:
        resolved, served, (is_directory, is_empty) = ask(
            lambda: _question_of_source(source), SOURCE_SECONDS
        )
        if served is not None:
            raise _served_by_another(source, served)
        hidden = _behind_a_hidden_group(source)
    except child_call.NoAnswerError as error:
        raise _silent("source", source, error) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _absence(source) from error
    except PermissionError as error:
        raise _refusal(source) from error
    except OSError as error:
        raise SourceUnreadableError(
            f"The source {source} could not be read: {error.strerror}."
        ) from error
    if hidden is not None:
        raise hidden
    if is_empty:
        raise SourceMissingError(
            f"The source {source} is empty: its file system is not mounted on this node. If it is "
            f"a mountpoint of imagenetfs, mount here first: {mount_command(source)}"
        )
    if not is_directory:
        raise SourceMissingError(
            f"The source {source} is a file: name the directory that holds ImageNet's archives."
        )
    return Path(resolved)


def _absence(source: Path) -> SourceMissingError:
    """That a source is not there, and which name near it is; or that it can be no directory."""
    if _elsewhere(source):
        return SourceMissingError(
            f"The source {source} looks like the address of another machine, and imagenetfs reads "
            "directories of this one: mount that file system or download the archives, and give "
            "the directory."
        )
    return SourceMissingError(
        f"The source {source} is not there: its file system is not mounted on this node, or "
        f"the data set has another path here: give that as the source.{_near(source)}"
    )


def _elsewhere(source: Path) -> bool:
    """Whether it was typed as https://host/path, s3://bucket or host:/path: a path keeps all but
    the second slash.
    """
    here = Path.cwd()
    typed = source.relative_to(here) if source.is_relative_to(here) else source
    return len(typed.parts) > 1 and typed.parts[0].endswith(":")


def _near(source: Path) -> str:
    """A question for the directory beside it whose name is most like its own."""
    with contextlib.suppress(OSError, child_call.NoAnswerError):
        names = ask(lambda: _directories(source.parent), ANSWER_SECONDS)
        near = difflib.get_close_matches(source.name, names, n=1)
        return f" Did you mean {source.parent / near[0]}?" if near else ""
    return ""


def _directories(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return [entry.name for entry in islice(entries, _MOST_NAMES) if entry.is_dir()]


def check_order(source: Path, mountpoint: Path) -> None:
    """Raise SourceMissingError where source and mountpoint are most probably swapped: the first is
    an empty directory, or not there, and the second has something in it.
    """
    try:
        is_swapped = ask(lambda: _is_bare(source) and not _is_bare(mountpoint), ANSWER_SECONDS)
    except (OSError, child_call.NoAnswerError):
        return  # the checks that follow say what is wrong
    if is_swapped:
        raise SourceMissingError(
            f"The source {source} is empty, and the mountpoint {mountpoint} is not: the source "
            f"comes first. Did you mean: imagenetfs mount {shlex.quote(str(mountpoint))} "
            f"{shlex.quote(str(source))}"
        )


def _is_bare(directory: Path) -> bool:
    """Whether an existing directory has nothing in it; raises OSError where it cannot be listed."""
    with os.scandir(directory) as entries:
        return all(entry.name == NOT_MOUNTED_FILE for entry in entries)


def _question_of_source(source: Path) -> tuple[str, str | None, tuple[bool, bool]]:
    """Its path without links; what serves it, where root must not ask it; and what it is."""
    resolved = mounts.resolve(source)
    served = others_program(resolved) if os.geteuid() == 0 else None
    return str(resolved), served, (True, False) if served is not None else _look_into(source)


def _silent(name: str, path: Path, error: child_call.NoAnswerError) -> SourceUnreadableError:
    """That nothing came of a file system within the time that this user waits."""
    return SourceUnreadableError(
        f"The {name} {path} does not answer: nothing came within {error.seconds:.0f} s. Its file "
        "server may be down."
    )


def resolved(name: str, path: Path | str) -> Path:
    """A path without links; raises PlaceRefusedError where a file system on the way is silent."""
    try:
        return Path(ask(lambda: str(mounts.resolve(path)), ANSWER_SECONDS))
    except child_call.NoAnswerError as error:
        raise PlaceRefusedError(
            f"The {name} {path} does not answer: nothing came within {error.seconds:.0f} s. Choose "
            "another place."
        ) from error


def _refusal(source: Path) -> SourceUnreadableError:
    try:
        found = primary_group.refusal(source)
    except (OSError, child_call.NoAnswerError):
        found = None
    return found or SourceUnreadableError(
        f"The source {source} may not be read by this user: access has to be granted first, "
        "or the group that has it is not among those that `id` shows."
    )


def _behind_a_hidden_group(source: Path) -> GroupNeededError | None:
    """Whether a part of the source needs a group that the server does not hear of."""
    if not User.here().hidden:
        return None
    found = primary_group.refusal(source)
    return found if isinstance(found, GroupNeededError) else None


def others_program(path: Path) -> str | None:
    """What serves a resolved path, where it is the program of another user: such a one may never
    answer. The mount table alone is asked.
    """
    entry = mounts.covering_mount(path)
    return f"{entry.fstype} at {entry.mountpoint}" if entry and mounts.is_others(entry) else None


def refuse_others_source(source: Path) -> None:
    """For what reads a source to its end, as long as that takes: raise SourceUnreadableError where
    root would have to ask a program of another user, which serves it or something below it.
    """
    if os.geteuid() != 0 or namespaces.in_user_namespace():
        return
    where = mounts.resolve(source)
    served = others_program(where)
    below = (
        f"{entry.fstype} at {entry.mountpoint}"
        for entry in mounts.read_table()
        if mounts.is_others(entry) and where in Path(entry.mountpoint).parents
    )
    served = served or next(below, None)
    if served is not None:
        raise _served_by_another(source, served)


def _served_by_another(source: Path, served: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        f"The source {source} lies in a file system that a program of another user serves, or has "
        f"one in it ({served}), and root waits for no such program: do this as that user, or as a "
        "service account."
    )


def _look_into(source: Path) -> tuple[bool, bool]:
    """Whether it is a directory, and an empty one."""
    if not stat.S_ISDIR(source.stat().st_mode):
        return False, False
    with os.scandir(source) as entries:
        return True, next(entries, None) is None


# --- mounts that are there ------------------------------------------------------------------------


class Health(Enum):
    """Whether a mount's server is alive."""

    LIVE = auto()
    DEAD = auto()
    SILENT = auto()


def health(entry: mounts.MountEntry) -> Health:
    """Ask a mount something that the kernel cannot answer for it, under a time-out."""
    try:
        ask(lambda: os.statvfs(entry.mountpoint).f_bsize, ANSWER_SECONDS)
    except child_call.NoAnswerError:
        return Health.SILENT
    except OSError as error:
        if mounts.is_of_dead_server(error):
            return Health.DEAD
    return Health.LIVE


def remove_dead_mount(entry: mounts.MountEntry, say: Say) -> None:
    """Take a dead mount away, and say so; raises MountpointStaleError where that fails."""
    if wait_unmounted(entry, ENDING_SECONDS):
        return  # it was just being unmounted
    try:
        mounts.detach(entry, lazy=True)
    except ImagenetfsError as error:
        if mounts.find_mount(entry.mountpoint) == entry:
            raise MountpointStaleError(
                f"A dead mount (its server has gone) lies at {entry.mountpoint} and could not be "
                f"taken away: {error}"
            ) from error
    wait_unmounted(entry, ANSWER_SECONDS)
    say(f"took away a dead mount at {entry.mountpoint} (its server had gone).")


def wait_unmounted(entry: mounts.MountEntry, wanted: float) -> bool:
    """Wait until a mount has left the table, no longer than this user waits."""
    with PATIENCE.waiting(wanted) as seconds:
        return mounts.wait_unmounted(entry, seconds)


# --- the mountpoint -------------------------------------------------------------------------------


def refuse_others_program(name: str, path: Path) -> None:
    """Raise PlaceRefusedError where a resolved path lies in another user's program."""
    served = others_program(path)
    if served is not None:
        raise PlaceRefusedError(
            f"The {name} {path} lies in a file system that a program of another user serves "
            f"({served}) and that may never answer. Choose a place outside of it."
        )


def check_mountpoint(mountpoint: Path, source: Path, say: Say) -> None:
    """See that a mount may be made at ``mountpoint``; both paths are resolved. A dead mount of ours
    is taken away.

    Raises Mountpoint*Error or PlaceRefusedError.
    """
    while (entry := mounts.find_mount(mountpoint)) is not None and entry.is_ours:
        _refuse_unless_dead(entry)
        remove_dead_mount(entry, say)
    if mountpoint == source:
        return  # the mount lies over what it shows
    if entry is not None:
        raise MountpointInUseError(
            f"Something is mounted at {mountpoint} already ({entry.fstype}, {entry.source}): name "
            "an empty directory."
        )
    if source in mountpoint.parents:
        raise PlaceRefusedError(
            f"The mountpoint {mountpoint} lies within the source {source}, so the mount would show "
            "itself. Mount elsewhere, or over the source itself."
        )
    refuse_others_program("mountpoint", mountpoint)
    _check_empty_directory(mountpoint)


def _refuse_unless_dead(entry: mounts.MountEntry) -> None:
    state = health(entry)
    if state is Health.LIVE:
        raise MountpointInUseError(
            f"{entry.source} is mounted at {entry.mountpoint} already "
            f"(imagenetfs umount {entry.mountpoint} takes it away)."
        )
    if state is Health.SILENT:
        raise MountpointInUseError(
            f"A mount at {entry.mountpoint} does not answer "
            f"(imagenetfs umount --lazy {entry.mountpoint} takes it away)."
        )


def _check_empty_directory(mountpoint: Path) -> None:
    try:
        occupied = ask(lambda: _is_occupied(mountpoint), ANSWER_SECONDS)
    except child_call.NoAnswerError as error:
        raise MountpointMissingError(
            f"The mountpoint {mountpoint} does not answer: nothing came within "
            f"{error.seconds:.0f} s. Choose another place."
        ) from error
    except FileNotFoundError as error:
        raise MountpointMissingError(
            f"The mountpoint {mountpoint} does not exist: make it with mkdir first, or with "
            "`imagenetfs mount --make`."
        ) from error
    except NotADirectoryError as error:
        raise MountpointNotDirectoryError(
            f"The mountpoint {mountpoint} is not a directory: name an empty directory."
        ) from error
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise MountpointStaleError(
                f"A dead mount of another kind lies at or above {mountpoint}: "
                "take it away with fusermount3 -uz."
            ) from error
        raise MountpointMissingError(
            f"The mountpoint {mountpoint} could not be looked at: {error.strerror}."
        ) from error
    if occupied:
        raise MountpointNotEmptyError(
            f"The mountpoint {mountpoint} is not empty, and the mount would hide what is in it: "
            "name an empty directory."
        )


def remove_made(mountpoint: Path) -> None:
    """Remove a mountpoint that `mount --make` has made, once nothing is mounted there."""
    with contextlib.suppress(OSError):
        if mounts.find_mount(mountpoint) is None:  # else the name would be looked up in the mount
            (mountpoint / NOT_MOUNTED_FILE).unlink(missing_ok=True)
        mountpoint.rmdir()  # refused while something is mounted there


def is_made(mountpoint: Path) -> bool:
    """Whether a directory where nothing is mounted was made by `mount --make`, and holds nothing
    else.
    """
    sign = mountpoint / NOT_MOUNTED_FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return list(mountpoint.iterdir()) == [sign] and sign.read_text() == NOT_MOUNTED_TEXT
    return False


def _is_occupied(mountpoint: Path) -> bool:
    with os.scandir(mountpoint) as entries:
        return any(entry.name != NOT_MOUNTED_FILE for entry in entries)


def check_places(mountpoint: Path, places: Mapping[str, Path | None]) -> None:
    """Refuse directories of our own under the mountpoint: a server that waits for itself never
    wakes. ``places`` maps what to call it to where it is; raises PlaceRefusedError."""
    for name, place in places.items():
        if place is None:
            continue
        where = resolved(name, place)
        if where == mountpoint or mountpoint in where.parents:
            raise PlaceRefusedError(
                f"The {name} {place} lies under the mountpoint {mountpoint}: the mount would wait "
                "for itself. Choose a place outside of it."
            )
        if os.geteuid() == 0:
            refuse_others_program(name, where)
            _check_answers(name, where)


def _check_answers(name: str, place: Path) -> None:
    """See that what is asked of a place comes back; what it says is looked at where it is used."""
    with contextlib.suppress(OSError):
        try:
            ask(lambda: bool(place.lstat()), ANSWER_SECONDS)
        except child_call.NoAnswerError as error:
            raise PlaceRefusedError(
                f"The {name} {place} does not answer: nothing came within {error.seconds:.0f} s. "
                "Choose another place."
            ) from error


# --- FUSE -----------------------------------------------------------------------------------------


def check_fuse(*, needs_helper: bool) -> None:
    """See that this user can mount by FUSE here, by fusermount3 or without; raises
    FuseUnavailableError."""
    try:
        os.close(os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError as error:
        raise FuseUnavailableError(
            f"There is no {FUSE_DEVICE} here: an administrator loads the kernel's module (modprobe "
            "fuse), or starts the container with that device."
        ) from error
    except PermissionError as error:
        raise FuseUnavailableError(_closed_device()) from error
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise FuseUnavailableError(
                f"{FUSE_DEVICE} is there, but this kernel has no FUSE behind it (modprobe fuse)."
            ) from error
        raise FuseUnavailableError(
            f"{FUSE_DEVICE} could not be opened: {error.strerror}."
        ) from error
    if needs_helper and mounts.find_fusermount() is None:
        raise FuseUnavailableError(
            "There is no fusermount3 on this machine, and only root can mount without it: use "
            "imagenetfs run --namespace, or have an administrator install the package fuse3."
        )


def _closed_device() -> str:
    """Why the device may not be opened, though it is there."""
    for_all = stat.S_IROTH | stat.S_IWOTH
    if FUSE_DEVICE.stat().st_mode & for_all == for_all:
        return (
            f"{FUSE_DEVICE} may not be opened here, though its mode lets all users do so: a "
            "container has bound it without devices (leave out --bind /dev/fuse), or the job's "
            "control group does not let it in."
        )
    return f"{FUSE_DEVICE} may not be opened by this user: an administrator sets its mode to 0666."
