"""Tell systemd how the mount is: ready, alive, about to end (sd_notify(3), without its library).

One datagram of VARIABLE=value lines a message, to the socket that $NOTIFY_SOCKET names. Without
that variable every message is dropped.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

_WATCHDOG_SHARE = 3
"""Signs of life in each watchdog period: one that comes late is then no death."""


class Notifier:
    """A watcher of ``serve``'s loop: as long as that turns, systemd's watchdog hears of it."""

    def __init__(self, environ: MutableMapping[str, str], clock: Clock = SYSTEM_CLOCK) -> None:
        """Takes the variables out of ``environ``: they are not meant for
        anybody started from here.
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
        self._next = 0.0
        self._clock = clock

    def ready_to_use(self, status: str) -> None:
        """The mount can be read."""
        self._tell("READY=1", f"STATUS={status}")

    def close(self) -> None:
        """The mount is about to end."""
        self._tell("STOPPING=1")
        self._socket.close()

    def _tell(self, *lines: str) -> None:
        if self._address:
            with contextlib.suppress(OSError):  # whoever is not there need not hear
                self._socket.sendto("\n".join(lines).encode(), self._address)

    # --- serve's watcher --------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._socket.fileno()

    def ready(self) -> bool:
        return False

    def tick(self) -> bool:
        """Called once a second."""
        now = self._clock.monotonic()
        if self._pause and now >= self._next:
            self._next = now + self._pause
            self._tell("WATCHDOG=1")
        return False
