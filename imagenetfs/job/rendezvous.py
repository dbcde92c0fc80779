"""Doors: how the runs of one job find the namespace that one of them has made.

A door is a listening socket with an abstract name (unix(7)): no file, so nothing is left of it
whatever killed its owner. Its name says whose it is, which job, and by a digest what is mounted
how. Whoever can bind the name is the one to start the mount; the others connect meanwhile and wait.
The mount's server answers them with one JSON packet ``{"pid", "root", "mountpoint"}`` and hangs up;
when it could not start, the kernel ends their connections, and one of them is the next to bind.

Anybody may connect to an abstract socket, or bind its name first: both sides
look at who the other is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.job.run_dir import LOCK_SECONDS
from imagenetfs.system.process import peer_of

_SOCKETS = Path("/proc/net/unix")
_PACKET = 1 << 16
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class RendezvousAddress:
    """A door's name: ``digest`` stands for source, place and views, and for
    where they are seen from.
    """

    job: str
    digest: str

    def as_socket(self) -> str:
        """The name as bind(2) takes it: the leading NUL makes it abstract."""
        return f"\0imagenetfs/{os.geteuid()}/{self.job}/{self.digest}"


@dataclass(frozen=True, slots=True)
class NamespaceServer:
    """Behind a door: the server's process in the namespace, the private
    directory, the mountpoint.
    """

    pid: int
    root: str
    mountpoint: str


class ForeignSocketError(Exception):
    """Another user's process has this name."""


# --- from outside ---------------------------------------------------------------------------------


def listen(address: RendezvousAddress) -> socket.socket | None:
    """Become the one to start; None if somebody is already."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(address.as_socket())
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        return None
    return listener


def connect(address: RendezvousAddress) -> NamespaceServer | None:
    """Ask who is behind a door, and wait while the mount is being started; None if nobody is (any
    more). Raises ForeignDoorError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(LOCK_SECONDS)
    with connection:
        try:
            connection.connect(address.as_socket())
            if peer_of(connection)[1] != os.geteuid():
                raise ForeignSocketError
            return NamespaceServer(**json.loads(connection.recv(_PACKET)))
        except (OSError, ValueError, TypeError):
            return None


def list_addresses() -> list[RendezvousAddress]:
    """The doors of this user on this node (proc_pid_net(5))."""
    own = re.compile(rf"@imagenetfs/{os.geteuid()}/([^/\s]+)/(\w+)$")
    found = filter(None, map(own.search, _SOCKETS.read_text().splitlines()))
    return sorted(
        {RendezvousAddress(*match.groups()) for match in found}, key=lambda address: address.job
    )


# --- the server's side ----------------------------------------------------------------------------


class RendezvousListener:
    """Answers at the door, within ``serve``'s loop."""

    def __init__(self, listener: socket.socket, host: NamespaceServer) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._answer = json.dumps({n: getattr(host, n) for n in host.__slots__}).encode()

    def fileno(self) -> int:
        return self._listener.fileno()

    def ready(self) -> bool:
        """Somebody is at the door; never ends the mount."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    if peer_of(connection)[1] == os.geteuid():
                        connection.send(self._answer)
        return False

    def tick(self) -> bool:
        return False

    def close(self) -> None:
        """Nobody is let in any more, though workers may still hold copies of the socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
