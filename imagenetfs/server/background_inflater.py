"""Inflating on demand: each deflated array that a worker asks for is inflated by a process."""

from __future__ import annotations

import logging
import os
from functools import partial

import trio

from imagenetfs.cache.inflated_arrays import InflatedArrays, Job
from imagenetfs.server.child_process import Children
from imagenetfs.server.wakeup import Wakeup
from imagenetfs.system.process import UNPACKER

log = logging.getLogger(__name__)


class BackgroundInflater:
    """Runs a process for each array that is asked for, as many at a time as there are cores.

    The workers leave it to these processes: ``by_others`` is set before they are forked.
    """

    def __init__(self, inflated: InflatedArrays) -> None:
        self._inflated = inflated
        self._slots = trio.Semaphore(len(os.sched_getaffinity(0)))
        self._at_work: set[Job] = set()

    async def run(self, children: Children, wakeup: Wakeup) -> None:
        """Inflate what is asked for; never returns."""
        async with trio.open_nursery() as nursery:
            while True:
                for job in self._inflated.asked():
                    if job not in self._at_work:
                        self._at_work.add(job)
                        nursery.start_soon(self._inflate, job, children)
                await wakeup.wait()

    async def _inflate(self, job: Job, children: Children) -> None:
        try:
            async with self._slots:
                await children.run(partial(self._inflated.unpack, job), "unpacking", UNPACKER)
        except OSError as error:
            log.warning("unpacking could not start: %s", error.strerror)
        finally:
            self._inflated.give_up(job)  # where it is not done, those that wait are refused
            self._at_work.remove(job)
