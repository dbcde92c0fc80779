"""One index for many mounts, nodes and indexers that share a place: who builds,
who waits, who publishes.

Whoever builds for all holds the group's lease. A mount whose reader touches a container that is
in no index file takes the lease, builds it, publishes it, and gives the lease back; where
somebody else has the lease, it waits a moment for what is published, then builds the container
for itself alone. So hundreds of jobs that start together read each header once between them, and
no job ever depends on another.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from imagenetfs.index import leases
from imagenetfs.index.index_file import Record, merge, remove_stale_temp_files
from imagenetfs.index.leases import Lease
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long a reader waits for a container that somebody else may be building."""

_VAIN_SECONDS = 60.0
"""After a wait in vain, nobody waits for that group again for so long."""

_SHORTEST_POLL, _FIRST_POLL, _LONGEST_POLL = 0.001, 0.01, 0.5
_UNWRITABLE_SECONDS = 60.0


def lease_path(index_file: Path) -> Path:
    """The lease that goes with an index file."""
    return index_file.with_name(f"{index_file.name}.lease")


class BuildCoordinator:
    """Turns at building. ``files``: for each archive the index file that is written, none for none;
    ``patience``: how long others are waited for, in seconds.

    Make it before forking: all processes of a mount are one owner, and do not wait for one another.
    """

    def __init__(
        self,
        files: Mapping[int, Path] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._files = files or {}
        self.clock = clock
        self._patience = patience
        self._owner = secrets.token_hex(8)
        self._not_before: dict[Path, float] = {}

    def lease(self, file: Path) -> Lease | leases.Holder:
        """The lease of an index file, or who has it.

        Raises OSError where the place cannot be written.
        """
        lease = leases.acquire(lease_path(file), self._owner, self.clock)
        if isinstance(lease, Lease):
            remove_stale_temp_files(file)
        return lease

    def lease_for_all(self, file: Path) -> Lease | leases.Holder:
        """As :meth:`lease`, for who builds a whole group: a process of this same mount that builds
        a single container has the lease for a moment, and is waited for.
        """
        deadline, pause = self.clock.monotonic() + self._patience, _SHORTEST_POLL
        while True:
            lease = self.lease(file)
            is_own = isinstance(lease, leases.Holder) and lease.owner == self._owner
            if not is_own or self.clock.monotonic() > deadline:
                return lease
            self.clock.sleep(pause)
            pause = min(_FIRST_POLL, 1.2 * pause)

    def tidy(self, file: Path) -> None:
        """Take away what processes that were killed left beside an index file. Raises nothing."""
        with contextlib.suppress(OSError):
            if lease_path(file).exists():
                lease = self.lease(file)  # which takes it from a dead holder
                if isinstance(lease, Lease):
                    lease.release()

    def turn(
        self, archive: int, find: Callable[[], bytes | None], waits: Callable[[bool], None]
    ) -> bytes | Lease | None:
        """What is to be done about a container that is in no index file: here it is after all
        (bytes), build and publish it (a lease), or build it for this mount alone (None).

        ``find()`` looks for it in the newest index file; ``waits`` is told while this waits.
        """
        file = self._files.get(archive)
        if file is None or self.clock.monotonic() < self._not_before.get(file, 0.0):
            return None
        try:
            return self._turn(file, find, waits)
        except OSError as error:
            self._not_before[file] = self.clock.monotonic() + _UNWRITABLE_SECONDS
            log.info("%s is kept in memory: %s cannot be written (%s)", *_names(file, error))
            return None

    def _turn(
        self, file: Path, find: Callable[[], bytes | None], waits: Callable[[bool], None]
    ) -> bytes | Lease | None:
        deadline, pause = self.clock.monotonic() + self._patience, _FIRST_POLL
        waiting = False
        try:
            while True:
                lease = self.lease(file)
                if isinstance(lease, leases.Holder) and lease.owner == self._owner:
                    return None
                mine = lease if isinstance(lease, Lease) else None
                found = _find_or_release(find, mine)
                if found is not None or mine is not None:
                    return found or mine
                if self.clock.monotonic() > deadline:
                    self._not_before[file] = self.clock.monotonic() + _VAIN_SECONDS
                    return None
                if not waiting:
                    waiting = True
                    waits(True)
                self.clock.sleep(pause)
                pause = min(_LONGEST_POLL, 1.5 * pause)
        finally:
            if waiting:
                waits(False)

    def publish(self, archive: int, record: Record | None) -> None:
        """Add a container to the index file; its lease is held. A full disk is no trouble."""
        if record is None:
            return
        file = self._files[archive]
        try:
            merge(file, [record])
        except OSError as error:
            self._not_before[file] = self.clock.monotonic() + _UNWRITABLE_SECONDS
            log.info("%s is kept in memory: %s cannot be written (%s)", *_names(file, error))


def _find_or_release(find: Callable[[], bytes | None], lease: Lease | None) -> bytes | None:
    """``find()``; a lease that is not needed after all, or that an error
    leaves behind, is given back.
    """
    found, kept = None, False
    try:
        found = find()
        kept = found is None
    finally:
        if lease is not None and not kept:
            lease.release()
    return found


def _names(file: Path, error: OSError) -> tuple[str, Path, str | None]:
    return f"the index of {file.stem}", file.parent, error.strerror
