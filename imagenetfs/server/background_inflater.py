"""Unpacking on demand: what workers ask of the deflated arrays is done by processes of its own."""

from __future__ import annotations

import logging
import os

from imagenetfs.cache.inflated_arrays import InflatedArrays, Job
from imagenetfs.index.index import Index
from imagenetfs.server.child_process import Child
from imagenetfs.system.process import UNPACKER

log = logging.getLogger(__name__)


class BackgroundInflater:
    """Starts a process for each array that is asked for, as many at a time as there are cores."""

    def __init__(self, index: Index, unpacked: InflatedArrays) -> None:
        self._index = index
        self._unpacked = unpacked
        self._most = len(os.sched_getaffinity(0))
        self._children: dict[Job, Child] = {}
        unpacked.by_others = True

    @property
    def busy(self) -> bool:
        """Whether anything is being unpacked."""
        return bool(self._children)

    def tick(self, session_fd: int) -> None:
        """Reap, and start what has been asked for."""
        for job, child in list(self._children.items()):
            if child.ended():
                del self._children[job]
                self._unpacked.give_up(job)
        for job in self._unpacked.asked():
            if job not in self._children and len(self._children) < self._most:
                self._start(job, session_fd)

    def _start(self, job: Job, session_fd: int) -> None:
        def unpack() -> None:
            self._index.after_fork()
            self._unpacked.after_fork()
            self._unpacked.unpack(job)

        try:
            self._children[job] = Child(session_fd, unpack, "unpacking", UNPACKER)
        except OSError as error:
            log.warning("unpacking could not start: %s", error.strerror)
            self._unpacked.give_up(job)

    def kill(self) -> None:
        """End all of it."""
        for child in self._children.values():
            child.kill()
        self._children.clear()
