"""Tell systemd how the mount is: ready, alive, about to end (sd_notify(3), without its library).

One datagram of VARIABLE=value lines a message, to the socket that $NOTIFY_SOCKET names. Without
that variable every message is dropped.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

_WATCHDOG_SHARE = 3
"""Signs of life in each watchdog period: one that comes late is then no death."""


class Notifier:
    """The service manager's socket, and the server's messages to it."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes the variables out of ``environ``: they are not meant for the processes that are
        started from here.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        period = environ.pop("WATCHDOG_USEC", "")
        for_whom = environ.pop("WATCHDOG_PID", str(os.getpid()))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)  # a manager that does not listen must not hang the mount
        self._pause = 0.0
        if period.isdigit() and for_whom == str(os.getpid()):
            self._pause = int(period) / 1e6 / _WATCHDOG_SHARE

    def ready_to_use(self, status: str) -> None:
        """The mount can be read."""
        self._tell("READY=1", f"STATUS={status}")

    def close(self) -> None:
        """The mount is about to end."""
        self._tell("STOPPING=1")
        self._socket.close()

    def _tell(self, *lines: str) -> None:
        if self._address:
            with contextlib.suppress(OSError):  # a manager that has gone
                self._socket.sendto("\n".join(lines).encode(), self._address)

    async def run(self) -> None:
        """A task of the supervisor: as long as tasks get their turn, the watchdog hears of it."""
        import trio  # the server has it; a command that only joins a mount does without

        while self._pause:
            self._tell("WATCHDOG=1")
            await trio.sleep(self._pause)
        await trio.sleep_forever()
