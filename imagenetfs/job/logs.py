"""The server's log: a file of bounded size that several processes append
to, or the system's log.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import struct
from io import TextIOWrapper
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Any

from imagenetfs.config import Settings, at_home
from imagenetfs.config.value_types import SystemLog
from imagenetfs.errors import PlaceRefusedError
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.run_dir import digest
from imagenetfs.system.files import open_to_append
from imagenetfs.system.text import printable

ROTATE_BYTES = 1 << 20
STOP_BYTES = 16 << 20

SYSLOG_SOCKET = Path("/dev/log")
JOURNAL_SOCKET = Path("/run/systemd/journal/socket")

_JOURNAL_SECONDS = 1.0
"""A journal that does not listen must not hang the mount: a line is lost then."""

_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.DEBUG: 7}
"""syslog(3)'s numbers; 6, informational, for all others."""

FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


_KEEP_LOGS = 50

_OWN_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ [A-Z]+ ")


def is_own_line(line: str) -> bool:
    """Whether a line of the log was written by logging, and not by a helper or a library."""
    return _OWN_LINE.match(line) is not None


class LineFormatter(logging.Formatter):
    """A line for each record, whatever is in its message; a traceback's lines are indented, so that
    none of them looks like a record of ours.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(lines: str) -> str:
    return "\n".join(f"  {printable(line)}" for line in lines.split("\n"))


class BoundedFileHandler(logging.FileHandler):
    """Appends until the file has 16 MiB, then says so once and drops what follows.

    Rotating while running is no way out: the workers write to the same open file.
    """

    def _open(self) -> TextIOWrapper:
        opened = open_to_append(Path(self.baseFilename))
        return os.fdopen(opened, "a", encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        if self._size() >= STOP_BYTES:
            return
        super().emit(record)
        if self._size() >= STOP_BYTES:
            notice = "The log is full: nothing more is written until the next mount."
            super().emit(logging.makeLogRecord({"msg": notice, "name": __name__}))

    def _size(self) -> int:
        return os.fstat(self.stream.fileno()).st_size if self.stream is not None else 0


def prepare(paths: MountPaths, settings: Settings) -> Path:
    """Make the log's directory, set a long log aside, and see that it can be written.

    Raises PlaceRefusedError if a log file was asked for by name and cannot be written; where it
    was not, the log goes beside the locks instead (a full home must not stop a job).
    """
    wanted = log_path(paths, settings)
    try:
        if isinstance(settings.log, SystemLog):
            _system_handler(settings.log).close()
        return _prepare(wanted)
    except OSError as error:
        if isinstance(settings.log, SystemLog):
            raise PlaceRefusedError(
                f"There is no {settings.log} here to log to ({error.strerror}): choose a file."
            ) from error
        if settings.log is not None:
            raise PlaceRefusedError(
                f"The log file {wanted} cannot be written: {error.strerror}. "
                "Name another with --log."
            ) from error
    finally:
        if settings.log is None:
            forget_old_logs(wanted.parent)
    try:
        return _prepare(paths.own_log)
    except OSError as error:
        raise PlaceRefusedError(
            f"No log can be written, neither {wanted} nor below {paths.root}: {error.strerror}. "
            "Name a file with --log."
        ) from error


def _prepare(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = open_to_append(path)
    try:
        is_long = os.fstat(opened).st_size > ROTATE_BYTES
    finally:
        os.close(opened)
    if is_long:
        path.replace(path.with_name(path.name + ".1"))
        os.close(open_to_append(path))
    return path


def install(settings: Settings, path: Path) -> None:
    """Send this process's log, and that of the processes it forks, where the settings say: to the
    system's log, or to the prepared file."""
    if isinstance(settings.log, SystemLog):
        handler: logging.Handler = _system_handler(settings.log)
        handler.setFormatter(LineFormatter("%(levelname)s %(name)s: %(message)s"))
        _add(handler, settings.log_level)
    else:
        handler = BoundedFileHandler(path, encoding="utf-8", errors="backslashreplace")
        _install(handler, settings.log_level)


def _system_handler(log: SystemLog) -> logging.Handler:
    """Raises OSError where no log listens."""
    if log is SystemLog.JOURNAL:
        return JournalHandler()
    if not SYSLOG_SOCKET.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    handler = SysLogHandler(str(SYSLOG_SOCKET), SysLogHandler.LOG_DAEMON)
    handler.ident = f"imagenetfs[{os.getpid()}]: "
    return handler


class JournalHandler(logging.Handler):
    """One datagram of FIELD=value lines a record (systemd's native journal protocol)."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_JOURNAL_SECONDS)
        try:
            self._socket.connect(str(JOURNAL_SOCKET))
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        message = self.format(record).encode(errors="backslashreplace")
        lines = [
            b"SYSLOG_IDENTIFIER=imagenetfs",
            b"PRIORITY=%d" % _PRIORITIES.get(record.levelno, 6),
            # A value that may hold newlines: its length (u64, little-endian) and its bytes.
            b"MESSAGE\n" + struct.pack("<Q", len(message)) + message,
        ]
        try:
            self._socket.send(b"\n".join(lines) + b"\n")
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def to_stderr(level: str = "info") -> None:
    """Send this process's log to the terminal."""
    _install(logging.StreamHandler(), level)


def _install(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(LineFormatter(FORMAT))
    _add(handler, level)


def _add(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


# --- which file -----------------------------------------------------------------------------------


def log_directory() -> Path:
    """Where logs go unless a file is named."""
    from platformdirs import user_state_path

    return at_home(user_state_path("imagenetfs")) / "log"


def log_path(paths: MountPaths, settings: Settings) -> Path:
    """The log of the mount at a place: readable, and no two mounts share one."""
    if isinstance(settings.log, Path):
        return settings.log
    if settings.log is not None:
        return paths.own_log  # for what helpers say before they fail
    name = f"{paths.mountpoint}-{paths.job}" if paths.is_private else str(paths.mountpoint)
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name).strip("-.")[-80:]
    return log_directory() / f"{readable}-{digest(name)[:8]}.log"


def forget_old_logs(directory: Path) -> None:
    """Every job has a mountpoint of its own: keep the newest logs, not one for each job ever."""
    with contextlib.suppress(OSError):
        logs = sorted(directory.glob("*.log*"), key=lambda path: path.stat().st_mtime)
        for path in logs[:-_KEEP_LOGS]:
            path.unlink(missing_ok=True)
