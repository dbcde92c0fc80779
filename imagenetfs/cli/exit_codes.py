"""What each exit code means, and what to do: for the help, the man page and the docs."""

from __future__ import annotations

from imagenetfs.errors import ExitCode

_NAMED: dict[ExitCode, tuple[str, str]] = {
    ExitCode.OK: ("done", ""),
    ExitCode.INTERNAL: ("a bug in imagenetfs", "the log has a traceback; please report it"),
    ExitCode.USAGE: (
        "a wrong option, or options that do not go together",
        "the sentence names the right one",
    ),
    ExitCode.SOURCE_MISSING: (
        "the source is not there",
        "check the path, and that its file system is mounted on this node",
    ),
    ExitCode.SOURCE_UNREADABLE: (
        "the source, or a file in it, may not be read",
        "the sentence says whose permission is missing",
    ),
    ExitCode.SOURCE_UNKNOWN: (
        "the source holds no known version of ImageNet",
        "[layouts.md](layouts.md); usually another directory is meant",
    ),
    ExitCode.ARCHIVE_BROKEN: (
        "an archive is damaged (`index`: what is whole is still shown), or nothing of the source "
        "can be shown",
        "have the archive replaced",
    ),
    ExitCode.INDEX_WRONG: (
        "`index check`: an index does not fit its archives, or is not there",
        "`imagenetfs index` makes it",
    ),
    ExitCode.REQUIREMENT_NOT_MET: (
        "`mount`, `run`: the source does not have what `--require` names, or less than all of it",
        "the sentence has both numbers",
    ),
    ExitCode.MOUNTPOINT_MISSING: ("the mountpoint does not exist", "`mkdir` it, or use `--make`"),
    ExitCode.MOUNTPOINT_NOT_DIRECTORY: ("the mountpoint is not a directory", "name another"),
    ExitCode.MOUNTPOINT_NOT_EMPTY: (
        "the mountpoint is not empty: a mount would hide what is in it",
        "name another",
    ),
    ExitCode.MOUNTPOINT_IN_USE: (
        "something is mounted at the mountpoint already",
        "`imagenetfs umount` it, or name another",
    ),
    ExitCode.MOUNTPOINT_STALE: (
        "a dead mount is at the mountpoint, and could not be removed",
        "`imagenetfs umount --lazy`",
    ),
    ExitCode.NOT_MOUNTED: (
        "`umount`, `status`: no mount of imagenetfs is there",
        "`imagenetfs status` lists yours",
    ),
    ExitCode.STILL_BUSY: (
        "the mount is in use, by open files or by a `run`",
        "end what uses it (it is named), or `umount --lazy`",
    ),
    ExitCode.PLACE_REFUSED: (
        "a directory or log file cannot be used: the sentence says why",
        "name another",
    ),
    ExitCode.FUSE_UNAVAILABLE: (
        "no usable FUSE: /dev/fuse or fusermount3 is missing",
        "[troubleshooting](troubleshooting.md#no-usable-fuse)",
    ),
    ExitCode.FUSE_REFUSED: ("the kernel refused the mount", "the sentence has the kernel's reason"),
    ExitCode.NO_SPACE: (
        "no space: a disk or the cache is full, or the cache's directory cannot be written to; or "
        "a limit of open files or of memory is too low",
        "make room, or name another directory; `ulimit -n`, `--mem`",
    ),
    ExitCode.MISSING_PACKAGE: (
        "a package that this command needs is missing (`sample`, `show --sheet`: Pillow)",
        "`pip install` it",
    ),
    ExitCode.DOCTOR_YELLOW: ("`doctor`: a line is yellow: it works, with a limit", ""),
    ExitCode.DOCTOR_RED: ("`doctor`: a line is red: it does not work", "the line says what to do"),
    ExitCode.VERIFY_FAILED: ("`verify`: something is not as documented", ""),
    ExitCode.RUN_FAILED: ("`run`: any of the failures above but 15", "the sentence is the same"),
    ExitCode.COMMAND_NOT_EXECUTABLE: ("`run`: the command could not be executed", ""),
    ExitCode.COMMAND_NOT_FOUND: (
        "`run`: the command was not found",
        "a pipe needs a shell: `sh -c '...'`",
    ),
}

_SIGNAL = (
    "128+n",
    "ended by signal n (130: Ctrl-C, 141: a closed pipe, 143: SIGTERM)",
    "",
)

EXIT_CODES: tuple[tuple[str, str, str], ...] = (
    *((str(int(code)), *_NAMED[code]) for code in ExitCode),
    _SIGNAL,
)
"""(code, what it means, what to do), in order; every code that there is."""
