"""The project's own errors, and the exit codes that the commands promise.

No errno here: one table in ``fuse/errnos.py`` maps these classes to errno. Every message is one
sentence, or two, that says what is wrong and what to do; commands print it as it stands.
Exit codes are part of the interface: documented in docs/exit-codes.md, never renumbered.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What the commands exit with. ``run`` passes its command's code on, and uses the last three
    for its own failures, as timeout(1), env(1) and container runtimes do."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    SOURCE_MISSING = 10
    SOURCE_UNREADABLE = 11
    SOURCE_UNKNOWN = 12
    ARCHIVE_BROKEN = 13
    INDEX_WRONG = 14
    REQUIREMENT_NOT_MET = 15
    MOUNTPOINT_MISSING = 20
    MOUNTPOINT_NOT_DIRECTORY = 21
    MOUNTPOINT_NOT_EMPTY = 22
    MOUNTPOINT_IN_USE = 23
    MOUNTPOINT_STALE = 24
    NOT_MOUNTED = 25
    STILL_BUSY = 26
    PLACE_REFUSED = 27
    FUSE_UNAVAILABLE = 30
    FUSE_REFUSED = 31
    NO_SPACE = 32
    MISSING_PACKAGE = 33
    DOCTOR_YELLOW = 40
    DOCTOR_RED = 41
    VERIFY_FAILED = 42
    RUN_FAILED = 125
    COMMAND_NOT_EXECUTABLE = 126
    COMMAND_NOT_FOUND = 127


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that names the known word which is most like this one, to end a sentence's line;
    empty where none is like it.
    """
    by_small = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_small, n=1)
    return f" Did you mean {by_small[near[0]]}?" if near else ""


class ImagenetfsError(Exception):
    """Base of all errors of this project; ``str(error)`` is a sentence for the user."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL


# --- the source ---------------------------------------------------------------------------------


class SourceMissingError(ImagenetfsError):
    """The source directory is not there."""

    exit_code = ExitCode.SOURCE_MISSING


class SourceUnreadableError(ImagenetfsError):
    """The source directory or a file in it may not be read by this user.

    ``path``: the file, relative to the source, where it is about one.
    """

    exit_code = ExitCode.SOURCE_UNREADABLE

    def __init__(self, reason: str, path: bytes | None = None) -> None:
        super().__init__(reason)
        self.path = path


class SourceRefusedError(SourceUnreadableError):
    """A file of the source that was read before may not be read any more;
    the process that found that has said so.
    """


class GroupNeededError(SourceUnreadableError):
    """It may be read, but only by a process whose primary group is ``group`` (a name)."""

    def __init__(self, reason: str, group: str) -> None:
        super().__init__(reason)
        self.group = group

    def __reduce__(self) -> tuple[Any, ...]:
        """With all arguments: a pool of processes waits forever for an error it cannot load."""
        return type(self), (str(self), self.group), {"path": self.path}


class SourceUnknownError(ImagenetfsError):
    """The directory holds no known version of ImageNet."""

    exit_code = ExitCode.SOURCE_UNKNOWN


class SourceReadError(ImagenetfsError):
    """Reading the source failed, or gave fewer bytes than the file has.

    ``path``: the file, relative to the source, where it is about one.
    """

    exit_code = ExitCode.SOURCE_UNREADABLE

    def __init__(self, reason: str, path: bytes | None = None) -> None:
        super().__init__(reason)
        self.path = path


class SourceChangedError(SourceReadError):
    """A file of the source is no longer the one that was indexed."""


class DamagedMemberError(SourceReadError):
    """A member's content is not what its archive's checksum says."""


class SourceReplacedError(SourceChangedError):
    """Another file stands in its place: said in the log once, when it was
    found, and not for each read.
    """


class SourceGoneError(SourceReplacedError):
    """Nothing stands in its place any more. It may come back."""


class ArchiveError(ImagenetfsError):
    """This is no sound archive: the one exception of every format reader.

    ``offset`` is the byte of the file at which it went wrong; members before it are sound.
    """

    exit_code = ExitCode.ARCHIVE_BROKEN

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} (at byte {self.offset:,})"


class HelperDiedError(ImagenetfsError):
    """A process of our own that was to read a file could not work: no verdict on the file."""


class BrokenArchivesError(ImagenetfsError):
    """Some archives are broken; what is whole in them is served all the same."""

    exit_code = ExitCode.ARCHIVE_BROKEN


class IndexWrongError(ImagenetfsError):
    """An index does not describe its archives, or is not there."""

    exit_code = ExitCode.INDEX_WRONG


class RequirementError(ImagenetfsError):
    """The source does not have what ``--require`` asks for."""

    exit_code = ExitCode.REQUIREMENT_NOT_MET


# --- names in the tree --------------------------------------------------------------------------


class TreeError(ImagenetfsError):
    """A name or an inode that the tree cannot answer for."""


class NoEntryError(TreeError):
    """No such name, or no such inode."""


class NotDirectoryError(TreeError):
    """A directory was asked for; this is a file."""


class IsDirectoryError(TreeError):
    """A file was asked for; this is a directory."""


class NoAttributeError(TreeError):
    """No such extended attribute."""


class NotLinkError(TreeError):
    """A symbolic link was asked for; this is none."""


class TreeClosedError(TreeError, ValueError):
    """A tree that was closed was asked for something; a ValueError, as for Python's own files."""


# --- the mount ----------------------------------------------------------------------------------


class UsageError(ImagenetfsError):
    """A wrong option, or options that do not go together."""

    exit_code = ExitCode.USAGE


class MountpointMissingError(ImagenetfsError):
    """The mountpoint does not exist."""

    exit_code = ExitCode.MOUNTPOINT_MISSING


class MountpointNotDirectoryError(ImagenetfsError):
    """The mountpoint is not a directory."""

    exit_code = ExitCode.MOUNTPOINT_NOT_DIRECTORY


class MountpointNotEmptyError(ImagenetfsError):
    """The mountpoint has files in it that the mount would hide."""

    exit_code = ExitCode.MOUNTPOINT_NOT_EMPTY


class MountpointInUseError(ImagenetfsError):
    """Something is mounted there already."""

    exit_code = ExitCode.MOUNTPOINT_IN_USE


class MountpointStaleError(ImagenetfsError):
    """A dead mount lies there and could not be taken away."""

    exit_code = ExitCode.MOUNTPOINT_STALE


class NotMountedError(ImagenetfsError):
    """No mount of imagenetfs is there."""

    exit_code = ExitCode.NOT_MOUNTED


class StillBusyError(ImagenetfsError):
    """The mount is in use and was not taken away in the time given."""

    exit_code = ExitCode.STILL_BUSY


class PlaceRefusedError(ImagenetfsError):
    """A directory of ours (index, cache, log, run) lies where it must not."""

    exit_code = ExitCode.PLACE_REFUSED


class RunDirRefusedError(PlaceRefusedError):
    """No place for mountpoints and locks can be used, and the user has named none."""


class FuseUnavailableError(ImagenetfsError):
    """This machine has no usable FUSE: no /dev/fuse, no fusermount3."""

    exit_code = ExitCode.FUSE_UNAVAILABLE


class FuseRefusedError(ImagenetfsError):
    """The kernel or fusermount3 refused the mount."""

    exit_code = ExitCode.FUSE_REFUSED


class NoSpaceError(ImagenetfsError):
    """A directory that must be written to is full."""

    exit_code = ExitCode.NO_SPACE


class LimitTooLowError(ImagenetfsError):
    """A limit of this process or node (open files, memory) is too low."""

    exit_code = ExitCode.NO_SPACE


class MissingPackageError(ImagenetfsError):
    """An optional package is needed for this command."""

    exit_code = ExitCode.MISSING_PACKAGE
