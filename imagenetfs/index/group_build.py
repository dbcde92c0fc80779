"""Indexing a group of archives for all processes that share its index file: under a lease,
published as it grows.

A group is what one index file keeps, a split as a rule. An array of jobs may do it in shards: shard
I of N writes ``<group>.<I>-of-<N>`` beside the index file, and the shard that finishes last unites
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from imagenetfs.index.bulk_build import (
    BuildProgress,
    Chosen,
    Outcome,
    build_all,
    containers,
    everything,
    save,
)
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import IndexFile, open_index_file, records_in, write_index_file
from imagenetfs.index.leases import Lease
from imagenetfs.index.records import is_complete, is_persisted
from imagenetfs.system.clock import Clock

_PUBLISHED_EVERY = 3.0
"""Seconds: others wait for what is published, for about so long (see coordination.py)."""

_PUBLISHING_SHARE = 20
"""At most so small a part of the time goes into publishing: a large index
is published more seldom.
"""


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard ``number``, from 1, of ``of``."""

    number: int
    of: int

    def file(self, whole: Path) -> Path:
        """Where this shard of an index file is written."""
        return whole.with_suffix(f".{self.number}-of-{self.of}")

    def all(self) -> list[Shard]:
        """This one and those beside it."""
        return [Shard(number, self.of) for number in range(1, self.of + 1)]

    def chosen(self, index: Index, archives: Sequence[int]) -> Chosen:
        """Its containers: every N-th one of those whose number is known before anything is indexed.

        Every shard must say so before it builds anything. Archives whose own tables are not known
        yet are dealt out whole; those in them go with them.
        """
        place = {archive: number for number, archive in enumerate(archives)}
        known = {archive for archive in archives if index.known(archive)}

        def is_ours(item: tuple[int, int]) -> bool:
            archive, inner = item
            turn = place[archive] + (inner + 1 if archive in known else 0)
            return turn % self.of == self.number - 1

        return is_ours


def index_group(
    index: Index,
    archives: Sequence[int],
    file: Path,
    *,
    in_flight: int | None,
    processes: int,
    progress: Callable[[BuildProgress], None] | None = None,
    shard: Shard | None = None,
) -> Outcome:
    """Build the tables of these archives and publish them in ``file`` (or its shard).

    Tables that are finished when it is interrupted (KeyboardInterrupt) are published. Raises
    HeldElsewhereError where another process builds them, and OSError where ``file`` cannot be
    written.
    """
    build = partial(build_all, index, archives, in_flight=in_flight, processes=processes)
    if is_complete(index, archives):  # nothing to publish, unless an archive is another one now
        outcome = build(progress=progress)
        if not outcome.missing and all(
            is_persisted(index, *item) for item in containers(index, archives)
        ):
            index.builder.coordinator.tidy(file)
            return replace(outcome, made=False)
    chosen = shard.chosen(index, archives) if shard else everything
    target = shard.file(file) if shard else file
    lease = index.builder.coordinator.lease_for_group(target)
    index.persisted.refresh(archives)
    publish = partial(save, index, archives, target, chosen=chosen)
    try:
        try:
            publisher = _Publisher(lease, progress, publish, index.builder.coordinator.clock)
            outcome = build(progress=publisher, chosen=chosen)
        except KeyboardInterrupt:
            publish()
            raise
        publish(complete=not outcome.missing)
    finally:
        lease.release()
    return outcome


def unite_shards(index: Index, file: Path, shard: Shard) -> bool:
    """Unite all shards into ``file`` if all are complete; whether that was so.

    Raises HeldElsewhereError where another process is uniting them, and OSError.
    """
    if _all_complete(file, shard) is None:
        return False
    lease = index.builder.coordinator.lease(file)
    try:
        shards = _all_complete(file, shard)
        if shards is None:  # another process united them before this one had the lease
            return True
        records = records_in(file)
        for one in shards:
            records |= {record.key: record for record in one.records()}
            lease.heartbeat()
        write_index_file(file, records.values(), complete=True)
        for each in shard.all():
            each.file(file).unlink(missing_ok=True)
    finally:
        lease.release()
    return True


def _all_complete(file: Path, shard: Shard) -> list[IndexFile] | None:
    found = [open_index_file(each.file(file)) for each in shard.all()]
    complete = [store for store in found if store is not None and store.is_complete]
    return complete if len(complete) == shard.of else None


class _Publisher:
    """Progress that also shows that the lease's holder lives, and publishes what is done so far."""

    def __init__(
        self,
        lease: Lease,
        progress: Callable[[BuildProgress], None] | None,
        publish: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._lease = lease
        self._progress = progress
        self._publish = publish
        self._clock = clock
        self._next = clock.monotonic() + _PUBLISHED_EVERY

    def __call__(self, now: BuildProgress) -> None:
        self._lease.heartbeat()
        if self._progress is not None:
            self._progress(now)
        before = self._clock.monotonic()
        if before >= self._next and now.done < now.total:
            self._publish()
            after = self._clock.monotonic()
            self._next = after + max(_PUBLISHED_EVERY, _PUBLISHING_SHARE * (after - before))
