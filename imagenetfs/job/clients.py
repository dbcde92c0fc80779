"""Clients: how a mount that was born of ``run`` knows when its last user is gone.

The server listens on a socket in the private run directory. Each ``imagenetfs run`` holds one
connection for as long as its command runs, and is a client of the mount by that. A connection ends
with its process, whatever ends that, so no client can be left behind. Without clients such a mount
ends; a mount made by ``mount`` counts its clients too, and stays.

No client is lost: a run holds the mount's lock from before it connects until the server has
confirmed it, and the server decides to end only while it holds that lock itself. It then unlinks
its socket, so that the next run finds a mount on its way out, and waits for that.

Messages are JSON, one a packet (SOCK_SEQPACKET). On connecting the server says who it is:
``{"source", "mountpoint", "born", "pid", "settings"}``. To become a client a process asks
``{"ask": "lease"}`` (answer ``{"leases": n}``), and to be none any more ``{"ask": "leave"}``
(answer ``{"last": bool}``); until then it is only a visitor. A process that unmounts asks
``{"ask": "holders"}`` (answer ``{"holders": [pid]}``). The words are those of earlier versions,
whose servers may still run.
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
from imagenetfs.system.patience import PATIENCE
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
    """The first client's connection to a mount that is being started: its end, the server's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


# --- the server's side ----------------------------------------------------------------------------


class ClientRegistry:
    """Counts a mount's clients, as a task of its supervisor; one descriptor (epoll) has all."""

    def __init__(
        self, paths: MountPaths, identity: ServerInfo, first_client: socket.socket | None = None
    ) -> None:
        """Listen. The caller holds the mount's lock, so that a socket found there is a dead one."""
        self._place = paths
        self._identity = identity
        self._connections: dict[int, socket.socket] = {}
        self._clients: set[int] = set()
        self._over = False
        self._epoll = select.epoll()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        paths.socket_path.unlink(missing_ok=True)
        directory, name = _short_path(paths.socket_path)
        try:
            self._listener.bind(name)
        finally:
            os.close(directory)
        self._inode = paths.socket_path.stat().st_ino
        self._listener.listen(_BACKLOG)
        self._epoll.register(self._listener, select.EPOLLIN)
        if first_client is not None:
            self._clients.add(first_client.fileno())
            self._welcome(first_client)  # drops it again if its front is dead already

    async def run(self) -> None:
        """A task of the supervisor; returns when the mount shall end."""
        import trio  # the server has it; a command that only joins a mount does without

        while not self.ready():
            # Without a client the mount would have ended, had its lock been free: try again.
            is_undecided = self._identity.born == "run" and not self._clients
            with trio.move_on_after(_RETRY_SECONDS if is_undecided else math.inf):
                await trio.lowlevel.wait_readable(self._epoll.fileno())

    def ready(self) -> bool:
        """Something happened on a connection; True when the mount shall end."""
        # Those that have gone come first: a process that asks for the holders is not told of them.
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
                self._clients.add(fd)
                _send(connection, {"leases": len(self._clients)})
            elif message.get("ask") == "leave":
                self._clients.discard(fd)
                _send(connection, {"last": self._is_over()})
            elif message.get("ask") == "holders":
                pids = [peer_of(self._connections[client])[0] for client in self._clients]
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
        self._clients.discard(fd)
        connection = self._connections.pop(fd)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _is_over(self) -> bool:
        """Whether the mount shall end; if so no run can join it any more."""
        if self._over or self._identity.born != "run" or self._clients:
            return self._over
        try:
            lock = try_lock(self._place)
        except ImagenetfsError:  # the run directory was removed: no run can join either
            self._over = True
            return True
        if lock is not None:  # else a run is joining: the next look decides
            self._over = True
            self._unlink()
            lock.close()
        return self._over

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._place.socket_path.stat().st_ino == self._inode:
                self._place.socket_path.unlink()


# --- the client's side ----------------------------------------------------------------------------


class MountClient:
    """A connection to a mount's server. Raises OSError where the server is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.identity = ServerInfo(**self._receive())

    @classmethod
    def visit(cls, paths: MountPaths) -> Self | None:
        """Connect to the server of a mount, as a visitor; None where none listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            directory, name = _short_path(paths.socket_path)
            try:
                with PATIENCE.waiting(ANSWER_SECONDS) as seconds:
                    connection.settimeout(seconds)
                    connection.connect(name)
            finally:
                os.close(directory)
            return cls(connection)
        except (OSError, ValueError, TypeError):
            connection.close()
            return None

    def take(self) -> None:
        """Become a client by this connection. The caller holds the mount's lock."""
        _send(self._connection, {"ask": "lease"})
        self._receive()

    def leave(self) -> bool | None:
        """Be no client any more: True if it was the last and the mount now ends, None if no answer
        came because the server is gone.
        """
        try:
            _send(self._connection, {"ask": "leave"})
            return bool(self._receive()["last"])
        except (OSError, ValueError, KeyError):
            return None

    def holders(self) -> list[int]:
        """The processes that are clients (0 for one that is not seen from here); none
        where the server is gone.
        """
        try:
            _send(self._connection, {"ask": "holders"})
            return list(self._receive()["holders"])
        except (OSError, ValueError, KeyError):
            return []

    def close(self) -> None:
        """End the connection; this process is no client any more."""
        self._connection.close()

    def _receive(self) -> dict[str, Any]:
        with PATIENCE.waiting(ANSWER_SECONDS) as seconds:
            self._connection.settimeout(seconds)
            packet = self._connection.recv(_PACKET)
        if not packet:
            raise ConnectionResetError("the mount's server has gone")
        message = json.loads(packet)
        if not isinstance(message, dict):
            raise ValueError(message)
        return message
