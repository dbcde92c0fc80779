"""Leases: which process indexes a group for all that share a directory, on NFS or Lustre, without
file locks.

A lease is a small file, made with O_EXCL, that says which process has it. Its holder sets the
file's time anew every ten seconds; without that for a minute it is dead, at once if its process
is known to have ended, and the next process that wants it removes it. Two processes may then hold
one lease for a moment: that costs work done twice, and never a wrong index, because index files are
published by rename.

How old a lease is, the file server's clock says: nodes' own clocks differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagenetfs.index.index_file import make_directory, temp_path
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.process_identity import ProcessIdentity, this_process

HEARTBEAT_SECONDS = 10.0
DEAD_SECONDS = 60.0

NAMELESS_SECONDS = 10.0
"""A lease without a name is just being written, or its holder was killed while it wrote."""

ServerTime = Callable[[Path], float]
"""The file server's clock beside a path, in seconds since 1970."""

_MOST_BYTES = 4096
_ATTEMPTS = 5
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a lease is. ``owner`` stands for a mount or a command, all its processes together."""

    owner: str
    token: str
    writer: ProcessIdentity | None

    def __str__(self) -> str:
        return f"{self.writer.host} (process {self.writer.pid})" if self.writer else "another node"


class HeldElsewhereError(Exception):
    """Another process has the lease: its ``holder``."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"the lease is held by {holder}")
        self.holder = holder


class Lease:
    """A lease that is held. Call ``heartbeat`` now and then, and ``release`` at the end."""

    def __init__(self, path: Path, holder: Holder, clock: Clock = SYSTEM_CLOCK) -> None:
        self.path = path
        self._holder = holder
        self._clock = clock
        self._next = clock.monotonic() + HEARTBEAT_SECONDS

    def heartbeat(self) -> None:
        """Show that the holder lives; to be called often, for it costs nothing most times."""
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + HEARTBEAT_SECONDS
        with contextlib.suppress(OSError):
            if self._is_ours():
                os.utime(self.path)

    def release(self) -> None:
        """Give it back. Nothing happens where another process has removed it."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                self.path.unlink()

    def _is_ours(self) -> bool:
        seen = _look(self.path)
        return seen is not None and seen[0].token == self._holder.token


def acquire(
    path: Path,
    owner: str,
    clock: Clock = SYSTEM_CLOCK,
    server_time: ServerTime | None = None,
) -> Lease:
    """The lease at ``path``. Raises HeldElsewhereError, and OSError where none can be made.

    ``server_time(path)``: the time by the clock that sets the times of files beside ``path``;
    by default the file system is asked for it.
    """
    make_directory(path)
    holder = Holder(owner, secrets.token_hex(8), this_process())
    found = None
    for _ in range(_ATTEMPTS):
        try:
            _make(path, holder)
            return Lease(path, holder, clock)
        except FileExistsError:
            pass
        found = _look(path)
        if found is not None and not _is_dead(path, *found, clock, server_time or _server_time):
            break
        if found is not None:
            _take_away(path, found[0])
    raise HeldElsewhereError(found[0] if found is not None else Holder("", "", None))


def _make(path: Path, holder: Holder) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        assert holder.writer is not None
        described = {
            "owner": holder.owner,
            "token": holder.token,
            "writer": holder.writer.as_dict(),
        }
        os.write(fd, json.dumps(described).encode())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _look(path: Path) -> tuple[Holder, float] | None:
    """Who has the lease, and when that was last shown (seconds by the server's clock)."""
    try:
        # By opening it: a network file system then asks the server, and not its own memory.
        fd = os.open(path, _READ_FLAGS)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        data = os.read(fd, _MOST_BYTES) if stat.S_ISREG(status.st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(fd)
    return _holder(data), status.st_mtime


def _holder(data: bytes) -> Holder:
    """From a lease's text; one that is just being written has no name."""
    try:
        described: dict[str, Any] = json.loads(data)
        writer = ProcessIdentity(**described["writer"])
        return Holder(str(described["owner"]), str(described["token"]), writer)
    except (ValueError, TypeError, KeyError):
        return Holder("", "", None)


def _is_dead(
    path: Path, holder: Holder, beaten: float, clock: Clock, server_time: ServerTime
) -> bool:
    if holder.writer is not None and holder.writer.is_dead:
        return True
    limit = DEAD_SECONDS if holder.writer is not None else NAMELESS_SECONDS
    if 0 <= clock.time() - beaten < limit / 2:
        return False  # about right is enough here
    return server_time(path) - beaten > limit


def _server_time(path: Path) -> float:
    """What the clock says that sets the times of files beside ``path``; 0
    where that cannot be asked.
    """
    probe = temp_path(path)
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            return os.fstat(fd).st_mtime
        finally:
            os.close(fd)
            probe.unlink()
    except OSError:
        return 0.0


def _take_away(path: Path, dead: Holder) -> None:
    """Remove a dead lease; a newer one that another process has made there is put back."""
    aside = temp_path(path)
    try:
        path.rename(aside)
    except OSError:
        return
    found = _look(aside)
    if found is not None and found[0].token != dead.token:
        with contextlib.suppress(OSError):
            path.hardlink_to(aside)
    aside.unlink(missing_ok=True)
