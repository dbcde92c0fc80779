"""Leases: how a mount that was born of ``run`` knows when its last user is gone.

The server listens on a socket in the private run directory. Each front process (``imagenetfs
run``) holds one connection, its lease, for as long as its command runs. A connection ends when its
front ends, by whatever cause, so no lease can be left behind. Without leases such a mount ends; a
mount made by ``mount`` counts leases too, and stays.

No joiner is lost: a front holds the place's lock from before it connects until its lease is
confirmed, and the server makes up its mind to end only while it holds that lock itself. It then
unlinks its socket, so whoever comes next finds a mount on its way out, and waits for that.

Messages are JSON, one a packet (SOCK_SEQPACKET). On connecting the server says who it is:
``{"source", "mountpoint", "born", "pid", "settings"}``. The front asks ``{"ask": "lease"}``
(answer ``{"leases": n}``) or ``{"ask": "leave"}`` (answer ``{"last": bool}``); without asking for
a lease it is only a visitor. Whoever wants to unmount asks ``{"ask": "holders"}`` (answer
``{"holders": [pid]}``).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from imagenetfs.errors import ImagenetfsError
from imagenetfs.job.mount_paths import MountPaths, try_lock
from imagenetfs.system.process import peer_of

Born = Literal["run", "mount"]

ANSWER_SECONDS = 10.0

_PACKET = 1 << 16
_BACKLOG = 1024
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself; ``settings`` are those that it was started with, as text."""

    source: str
    mountpoint: str
    born: Born
    pid: int
    settings: dict[str, str] = field(default_factory=dict)


def _send(connection: socket.socket, message: object) -> None:
    connection.send(json.dumps(message).encode())


def _short_path(path: Path) -> tuple[int, str]:
    """A descriptor of the directory, and a name that fits into a socket address's 107 bytes."""
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return fd, f"/proc/self/fd/{fd}/{path.name}"


def pair() -> tuple[socket.socket, socket.socket]:
    """The first lease of a mount that is about to be started: the front's end, the server's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


# --- the server's side ----------------------------------------------------------------------------


class ClientRegistry:
    """Counts leases in the server, within ``serve``'s loop; one descriptor (epoll) for them all."""

    def __init__(
        self, place: MountPaths, identity: ServerInfo, first_lease: socket.socket | None = None
    ) -> None:
        """Listen. The caller holds the place's lock, so that a socket found there is a dead one."""
        self._place = place
        self._identity = identity
        self._connections: dict[int, socket.socket] = {}
        self._leases: set[int] = set()
        self._over = False
        self._epoll = select.epoll()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        place.socket_path.unlink(missing_ok=True)
        directory, name = _short_path(place.socket_path)
        try:
            self._listener.bind(name)
        finally:
            os.close(directory)
        self._inode = place.socket_path.stat().st_ino
        self._listener.listen(_BACKLOG)
        self._epoll.register(self._listener, select.EPOLLIN)
        if first_lease is not None:
            self._leases.add(first_lease.fileno())
            self._welcome(first_lease)  # drops it again if its front is dead already

    async def run(self) -> None:
        """A task of the supervisor; returns when the mount shall end."""
        import trio  # the server has it; a command that only joins a mount does without

        while not self.ready():
            # Without a lease the mount would have ended, had its lock been free: look again.
            is_undecided = self._identity.born == "run" and not self._leases
            with trio.move_on_after(_RETRY_SECONDS if is_undecided else math.inf):
                await trio.lowlevel.wait_readable(self._epoll.fileno())

    def ready(self) -> bool:
        """Something happened on a connection; True when the mount shall end."""
        # Those that have gone come first: whoever asks for the holders shall not be told of them.
        for fd, _ in sorted(self._epoll.poll(0), key=lambda one: not one[1] & select.EPOLLHUP):
            if fd == self._listener.fileno():
                self._accept()
            elif fd in self._connections:
                self._serve(fd)
        return self._is_over()

    def close(self) -> None:
        """Stop listening, and take the socket away unless a newer server has put its own there."""
        # Not under the lock: the inode tells ours from a newer server's socket well enough here,
        # where the name is gone already unless the mount was ended by force.
        self._unlink()
        for fd in list(self._connections):
            self._drop(fd)
        self._epoll.close()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # ECONNABORTED, or no descriptors left: the visitor tries again
                return
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        fd = connection.fileno()
        self._connections[fd] = connection
        self._epoll.register(fd, select.EPOLLIN)
        try:
            _send(connection, asdict(self._identity))
        except OSError:
            self._drop(fd)

    def _serve(self, fd: int) -> None:
        connection = self._connections[fd]
        try:
            packet = connection.recv(_PACKET)
            message = json.loads(packet) if packet else None
            if not isinstance(message, dict):
                self._drop(fd)
            elif message.get("ask") == "lease":
                self._leases.add(fd)
                _send(connection, {"leases": len(self._leases)})
            elif message.get("ask") == "leave":
                self._leases.discard(fd)
                _send(connection, {"last": self._is_over()})
            elif message.get("ask") == "holders":
                pids = [peer_of(self._connections[lease])[0] for lease in self._leases]
                _send(connection, {"holders": sorted(pids)})
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        # Workers inherit copies of the connection, and epoll watches what all copies stand for:
        # closing ours alone would leave it reporting for ever.
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        self._leases.discard(fd)
        connection = self._connections.pop(fd)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _is_over(self) -> bool:
        """Whether the mount shall end; if so nobody can join any more."""
        if self._over or self._identity.born != "run" or self._leases:
            return self._over
        try:
            lock = try_lock(self._place)
        except ImagenetfsError:  # somebody cleaned the run directory away: nobody can join either
            self._over = True
            return True
        if lock is not None:  # else somebody is joining: look again at the next tick
            self._over = True
            self._unlink()
            os.close(lock)
        return self._over

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._place.socket_path.stat().st_ino == self._inode:
                self._place.socket_path.unlink()


# --- the front's side -----------------------------------------------------------------------------


class MountClient:
    """A front's connection to a mount's server. Raises OSError where the server is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(ANSWER_SECONDS)
        self.identity = ServerInfo(**self._receive())

    @classmethod
    def visit(cls, place: MountPaths) -> Self | None:
        """Connect to the server of a place, as a visitor; None if none listens there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(ANSWER_SECONDS)
        try:
            directory, name = _short_path(place.socket_path)
            try:
                connection.connect(name)
            finally:
                os.close(directory)
            return cls(connection)
        except (OSError, ValueError, TypeError):
            connection.close()
            return None

    def take(self) -> None:
        """Make this connection a lease. The caller holds the place's lock."""
        _send(self._connection, {"ask": "lease"})
        self._receive()

    def leave(self) -> bool | None:
        """Give the lease back: True if it was the last and the mount now ends, None if no answer
        came because the server is gone."""
        try:
            _send(self._connection, {"ask": "leave"})
            return bool(self._receive()["last"])
        except (OSError, ValueError, KeyError):
            return None

    def holders(self) -> list[int]:
        """The processes that have a lease (0 for one that is not seen from here); none
        where the server is gone.
        """
        try:
            _send(self._connection, {"ask": "holders"})
            return list(self._receive()["holders"])
        except (OSError, ValueError, KeyError):
            return []

    def close(self) -> None:
        """End the connection, and with it the lease."""
        self._connection.close()

    def _receive(self) -> dict[str, Any]:
        packet = self._connection.recv(_PACKET)
        if not packet:
            raise ConnectionResetError("the mount's server has gone")
        message = json.loads(packet)
        if not isinstance(message, dict):
            raise ValueError(message)
        return message
