"""Which process wrote this?

Names by which the processes of many nodes are told apart on shared storage.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process as others know it. ``node`` stands for a boot of a machine and a PID namespace, so
    that two containers of one host name are not taken for one; ``started`` is in ticks since boot.
    """

    host: str
    node: str
    pid: int
    started: int

    @property
    def is_dead(self) -> bool:
        """Whether it surely has ended; one on another node never surely has."""
        return self.node == _node() and self.started != _started(self.pid)

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return asdict(self)


def this_process() -> ProcessIdentity:
    """The calling process."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), _node(), pid, _started(pid))


@lru_cache(maxsize=1)
def _node() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # no process is known to be dead then
        return f"unknown-{os.getpid()}"
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _started(pid: int) -> int:
    """When a process began; -1 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
