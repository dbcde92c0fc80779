"""How the runs of one job find the namespace that one of them has made.

They meet at a listening socket with an abstract name (unix(7)): it is no file, so nothing is left
of it whatever killed its owner. The name says which user and which job it is of, and by a digest
what is mounted how. The run that can bind the name starts the mount; the others connect and wait.
The mount's server answers them with one JSON packet ``{"pid", "root", "mountpoint"}`` and hangs up;
when it could not start, the kernel ends their connections, and one of them is the next to bind.

Any process of the node may connect to an abstract socket, or bind its name first. So both sides
check whose the other is before anything else; a name that another user's process has is left to it,
and the next one is taken.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.job.mount_paths import LOCK_SECONDS
from imagenetfs.system.patience import PATIENCE
from imagenetfs.system.process import peer_of

_SOCKETS = Path("/proc/net/unix")
_PACKET = 1 << 16
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 64
"""Others may connect as fast as they can: the server's other work gets its turn in between."""

_LEAVING_SECONDS = 2.0
"""In that time a process of ours that leaves a name has left it on an idle machine."""

_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class RendezvousAddress:
    """The name of a socket: ``digest`` stands for source, mountpoint and views, and for where they
    are seen from. ``number``: the first name is 0; the next ones are for where other users have
    taken those before.
    """

    job: str
    digest: str
    number: int = 0

    def as_socket(self) -> str:
        """The name as bind(2) takes it: the leading NUL makes it abstract."""
        name = f"\0imagenetfs/{os.geteuid()}/{self.job}/{self.digest}"
        return f"{name}/{self.number}" if self.number else name


@dataclass(frozen=True, slots=True)
class NamespaceServer:
    """Where a namespace is: the server's process in it, the private
    directory, the mountpoint.
    """

    pid: int
    root: str
    mountpoint: str


class ForeignSocketError(Exception):
    """Another user's process has this name."""


# --- from outside ---------------------------------------------------------------------------------


def listen(address: RendezvousAddress) -> socket.socket | None:
    """Bind the name, to start the mount; None where another process has it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(address.as_socket())
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        return None
    return listener


def connect(address: RendezvousAddress) -> NamespaceServer | None:
    """Ask for the namespace, and wait while its mount is being started; None where no process
    listens (any more). Raises ForeignSocketError.
    """
    connection = connect_own(address)
    return None if connection is None else answer(connection)


def connect_own(address: RendezvousAddress) -> socket.socket | None:
    """A connection to a process of this user's; None where none listens.

    Raises ForeignSocketError.
    """
    start, wait = time.monotonic(), NameWait(address)
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(LOCK_SECONDS)
        try:
            connection.connect(address.as_socket())
            if peer_of(connection)[1] != os.geteuid():
                raise ForeignSocketError
            return connection
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError):
                raise
            if error.errno != errno.EAGAIN:
                return None
        # So many wait to be let in that no more may.
        if time.monotonic() - start > LOCK_SECONDS:
            raise ForeignSocketError
        wait.wait()


def answer(connection: socket.socket) -> NamespaceServer | None:
    """What the process at the other end, which is ours, has to say; None if it ends first."""
    with connection:
        try:
            return NamespaceServer(**json.loads(connection.recv(_PACKET)))
        except (OSError, ValueError, TypeError):
            return None


class NameWait:
    """For a name that cannot be bound or reached though it is there: its last owner is on its way
    out, or another user's process holds it for no use. The latter is part of what root waits for in
    all; a process of our own is waited for as long as its start may take.
    """

    def __init__(self, address: RendezvousAddress) -> None:
        self._address = address
        self._since = time.monotonic()

    def wait(self) -> None:
        """Pause; raises ForeignSocketError where it is not one of ours."""
        waited = time.monotonic() - self._since
        if waited > PATIENCE.seconds(_LEAVING_SECONDS) and not is_held_by_us(self._address):
            PATIENCE.spend(waited)
            raise ForeignSocketError
        time.sleep(_PAUSE)


def list_addresses() -> list[RendezvousAddress]:
    """The names on this node that look like this user's (proc_pid_net(5)); any user may have bound
    them.
    """
    own = re.compile(
        rf"@imagenetfs/{os.geteuid()}/([A-Za-z0-9_+.-]+)/([0-9a-f]{{16}})(?:/(\d))?", re.ASCII
    )
    found = (own.fullmatch(name) for _, name in _bound())
    addresses = {RendezvousAddress(m[1], m[2], int(m[3] or 0)) for m in found if m is not None}
    return sorted(addresses, key=lambda one: (one.job, one.digest, one.number))


def is_held_by_us(address: RendezvousAddress) -> bool:
    """Whether a process of this user has a socket of this name open, as far as that can be seen."""
    name = address.as_socket().replace("\0", "@", 1)
    sockets = {f"socket:[{inode}]" for inode, bound in _bound() if bound == name}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid != os.geteuid():
                continue
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        return True
    return False


def _bound() -> list[tuple[str, str]]:
    """(inode, name) of the Unix sockets of this network namespace; names may hold any bytes."""
    lines = _SOCKETS.read_bytes().decode(errors="backslashreplace").split("\n")
    columns = (line.split(maxsplit=7) for line in lines)
    return [(found[6], found[7]) for found in columns if len(found) == 8]


# --- the server's side ----------------------------------------------------------------------------


class RendezvousListener:
    """Tells the runs of a job where its namespace is, as a task of the supervisor."""

    def __init__(self, listener: socket.socket, host: NamespaceServer) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._answer = json.dumps({n: getattr(host, n) for n in host.__slots__}).encode()

    async def run(self) -> None:
        """A task of the supervisor; never returns, for no caller here ends the mount."""
        import trio  # the server has it; a command that only joins a mount does without

        while True:
            await trio.lowlevel.wait_readable(self._listener)
            self.answer_waiting()

    def answer_waiting(self) -> None:
        """Answer the processes that have connected, up to a number of them."""
        with contextlib.suppress(OSError):
            for _ in range(_ACCEPTED_AT_ONCE):
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    if peer_of(connection)[1] == os.geteuid():
                        connection.send(self._answer)

    def close(self) -> None:
        """Answer no process any more, though workers may still hold copies of the socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
