"""One index for many mounts, nodes and indexers that share a directory: which process builds, which
waits, which publishes.

The process that builds for all holds the group's lease. A mount whose reader touches a container
that is in no index file takes the lease, builds the container, publishes it, and gives the lease
back; where another process has the lease, it waits a moment for that to publish the container, then
builds it for itself alone. So hundreds of jobs that start together read each header once between
them, and no job ever depends on another.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from imagenetfs.index import leases
from imagenetfs.index.index_file import Record, merge, remove_stale_temp_files
from imagenetfs.index.leases import HeldElsewhereError, Lease
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long a reader waits for a container that another process may be building."""

_NO_WAIT_SECONDS = 60.0
"""After a wait in vain, no reader of this process waits for that group again for so long."""

_SHORTEST_POLL, _FIRST_POLL, _LONGEST_POLL = 0.001, 0.01, 0.5
_UNWRITABLE_SECONDS = 60.0


def lease_path(index_file: Path) -> Path:
    """The lease that goes with an index file."""
    return index_file.with_name(f"{index_file.name}.lease")


class Claim(NamedTuple):
    """What a process is to do about a container that was in no index file: take what has been
    ``found`` after all; else build and publish it under the ``lease``; else, where it has neither,
    build it for its own mount alone.
    """

    found: bytes | None = None
    lease: Lease | None = None


class BuildCoordinator:
    """Claims on building. ``files``: for each archive the index file that is written, none for
    none; ``patience``: how long others are waited for, in seconds.

    Make it before forking: all processes of a mount are one owner, and do not wait for one another.
    """

    def __init__(
        self,
        files: Mapping[int, Path] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._files = dict(files or {})
        self.clock = clock
        self._patience = patience
        self._owner = secrets.token_hex(8)
        self._not_before: dict[Path, float] = {}

    def share(self, archive: int, other: int) -> None:
        """Have the tables of an archive written where those of another one are."""
        if other in self._files:
            self._files[archive] = self._files[other]

    def lease(self, file: Path) -> Lease:
        """The lease of an index file.

        Raises HeldElsewhereError, and OSError where its directory cannot be written.
        """
        lease = leases.acquire(lease_path(file), self._owner, self.clock)
        remove_stale_temp_files(file)
        return lease

    def lease_for_group(self, file: Path) -> Lease:
        """As :meth:`lease`, for a process that builds a whole group: a process of this same mount
        that builds a single container has the lease for a moment, and is waited for.
        """
        deadline, pause = self.clock.monotonic() + self._patience, _SHORTEST_POLL
        while True:
            try:
                return self.lease(file)
            except HeldElsewhereError as held:
                if held.holder.owner != self._owner or self.clock.monotonic() > deadline:
                    raise
            self.clock.sleep(pause)
            pause = min(_FIRST_POLL, 1.2 * pause)

    def tidy(self, file: Path) -> None:
        """Take away what processes that were killed left beside an index file. Raises nothing."""
        with contextlib.suppress(OSError, HeldElsewhereError):
            if lease_path(file).exists():
                self.lease(file).release()  # which takes it from a dead holder

    def claim(
        self, archive: int, find: Callable[[], bytes | None], on_wait: Callable[[bool], None]
    ) -> Claim:
        """Claim the building of a container that is in no index file.

        ``find()`` looks for it in the newest index file; ``on_wait(True)`` is called when this
        begins to wait for another process, ``on_wait(False)`` when that is over.
        """
        file = self._files.get(archive)
        if file is None or self.clock.monotonic() < self._not_before.get(file, 0.0):
            return Claim()
        try:
            return self._claim(file, find, on_wait)
        except OSError as error:
            self._set_unwritable(file, error)
            return Claim()

    def _claim(
        self, file: Path, find: Callable[[], bytes | None], on_wait: Callable[[bool], None]
    ) -> Claim:
        deadline, pause = self.clock.monotonic() + self._patience, _FIRST_POLL
        waiting = False
        try:
            while True:
                try:
                    lease = self.lease(file)
                except HeldElsewhereError as held:
                    if held.holder.owner == self._owner:
                        return Claim()
                    found = find()
                else:
                    found = _find_or_release(find, lease)
                    if found is None:
                        return Claim(lease=lease)
                if found is not None:
                    return Claim(found)
                if self.clock.monotonic() > deadline:
                    self._not_before[file] = self.clock.monotonic() + _NO_WAIT_SECONDS
                    return Claim()
                if not waiting:
                    waiting = True
                    on_wait(True)
                self.clock.sleep(pause)
                pause = min(_LONGEST_POLL, 1.5 * pause)
        finally:
            if waiting:
                on_wait(False)

    def publish(self, archive: int, record: Record | None) -> None:
        """Add a container to the index file; its lease is held. A full disk is no trouble."""
        if record is None:
            return
        file = self._files[archive]
        try:
            merge(file, [record])
        except OSError as error:
            self._set_unwritable(file, error)

    def _set_unwritable(self, file: Path, error: OSError) -> None:
        """For some time, containers of the group are built for this mount alone."""
        self._not_before[file] = self.clock.monotonic() + _UNWRITABLE_SECONDS
        names = f"the index of {file.stem}", file.parent, error.strerror
        log.info("%s is kept in memory: %s cannot be written (%s)", *names)


def _find_or_release(find: Callable[[], bytes | None], lease: Lease) -> bytes | None:
    """``find()``; the lease is given back where it is not needed after all, or an error would leave
    it behind.
    """
    is_needed = False
    try:
        found = find()
        is_needed = found is None
    finally:
        if not is_needed:
            lease.release()
    return found
