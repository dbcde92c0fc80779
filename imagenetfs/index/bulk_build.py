"""Bulk builds: all containers of a group of archives, by processes and threads, into an index file.

Threads scan (they wait for the source), the main thread of each process encodes and publishes. The
processes share the arena with every other builder; nothing is built twice, and a process that dies
leaves nothing half-published. What is finished when it is interrupted is kept.
"""

from __future__ import annotations

import contextlib
import logging
import math
import mmap
import os
import select
import signal
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imagenetfs.errors import ImagenetfsError
from imagenetfs.formats.tar.concurrency import CEILING, AdaptiveConcurrency, FixedConcurrency
from imagenetfs.formats.tar.readahead_scanner import readahead_works
from imagenetfs.formats.tar.threaded_scanner import BEARABLE
from imagenetfs.index.archives import OUTER, Extent, Kind
from imagenetfs.index.bulk_workers import (
    Count,
    Work,
    build_serial,
    build_with_readahead,
    build_with_threads,
)
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import load, write_index_file
from imagenetfs.index.records import record_of
from imagenetfs.source.file import SourceFile
from imagenetfs.system.clock import Clock
from imagenetfs.system.process import INDEXER, reset_signals, set_parent_death_signal

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
_QUICK_SECONDS = 60e-6
"""A request that takes no longer is answered from memory."""

_LOOKS = 5

_WORTH_A_SCANNER = 16
"""Requests under way for which a process that sends hints is worth while."""

_SCANNERS_PER_CPU = 2
"""Such a process mostly waits; while one cannot go on for want of a CPU, another does."""

_COUNTERS = struct.Struct("<QQ")

Builder = Callable[[Index, list[Work], Count], None]
"""Builds a share of the work, and calls back with the containers and members done so far."""

Chosen = Callable[[Work], bool]
"""Which containers are to be built, of all that there are."""


def everything(item: Work) -> bool:
    """All of them."""
    return True


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far it has come: containers done of all, members found in those done here."""

    done: int
    total: int
    members: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was indexed: containers, members, those that are broken, those that were left because
    they could not be read; whether any was not in an index file yet; and how many of the members
    are containers themselves.
    """

    containers: int
    members: int
    broken: tuple[str, ...]
    left: tuple[Work, ...]
    made: bool = True
    inner: int = 0

    @property
    def files(self) -> int:
        """How many members are files of a user's: an archive's own archives are none."""
        return self.members - self.inner

    @property
    def missing(self) -> int:
        """How many were left."""
        return len(self.left)


def build_all(
    index: Index,
    archives: Sequence[int],
    *,
    in_flight: int | None,
    processes: int,
    progress: Callable[[BuildProgress], None] | None = None,
    chosen: Chosen = everything,
) -> Outcome:
    """Build every container of ``archives`` that is chosen, with at most ``in_flight`` requests at
    a time; None: as many as the source answers no slower for.

    Must be called in a single-threaded process (it forks). Raises KeyboardInterrupt after its
    processes have ended; what they finished is in the arena then.
    """
    plan = _Plan(in_flight, processes)
    outer = [(archive, OUTER) for archive in archives if chosen((archive, OUTER))]
    before = _run_phase(index, outer, BuildProgress(0, len(outer), 0), plan, progress)
    # Only an archive's own table tells how many containers there are within it.
    inner = [item for item in containers(index, archives, chosen) if item[1] != OUTER]
    begun = BuildProgress(before.done, before.total + len(inner), before.members)
    _run_phase(index, inner, begun, plan, progress)
    return _outcome(index, list(containers(index, archives, chosen)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """How work is dealt out: over ``processes``, ``in_flight`` requests among them at most."""

    in_flight: int | None
    processes: int

    def shares(self, index: Index, todo: list[Work]) -> tuple[int, Builder]:
        """How many processes, and what each does with its share."""
        seconds, heeds_hints = _measure_source(index, todo)
        if seconds < _QUICK_SECONDS:
            return self.processes, build_serial
        if not heeds_hints:
            in_flight = self.in_flight or BEARABLE
            processes = max(self.processes, in_flight // BEARABLE)
            processes = max(1, min(processes, in_flight, len(todo)))
            return processes, partial(build_with_threads, FixedConcurrency(in_flight // processes))
        in_flight = self.in_flight or CEILING
        most = min(_SCANNERS_PER_CPU * self.processes, in_flight // _WORTH_A_SCANNER)
        processes = max(1, min(most, len(todo)))
        each = in_flight // processes
        concurrency = (
            AdaptiveConcurrency(seconds, each) if self.in_flight is None else FixedConcurrency(each)
        )
        return processes, partial(build_with_readahead, concurrency)


def _measure_source(index: Index, todo: list[Work]) -> tuple[float, bool]:
    """How long the source takes for a read, in seconds, and whether it heeds hints.

    Looked at within a few tars, where nothing has been read yet, and elsewhere once more
    where it seems to be slow: the process may have been interrupted. From memory, threads
    would only wait for one another.
    """
    tars = []
    for item in todo[:: max(1, len(todo) // _LOOKS)][:_LOOKS]:
        with contextlib.suppress(ImagenetfsError):
            extent = index.extent(*item)
            if extent.kind is Kind.TAR:
                tars.append((index.source.open(extent.path), extent))
    if not tars:
        return math.inf, False
    with contextlib.suppress(ImagenetfsError):
        typical = _typical(tars, 2, index.source.clock)
        if typical >= _QUICK_SECONDS:
            typical = min(typical, _typical(tars[:2], 3, index.source.clock))
        if typical < _QUICK_SECONDS:
            return typical, False
        file, extent = tars[0]
        return typical, readahead_works(file.read_up_to, file.hint, extent.start, extent.end)
    return math.inf, False


def _typical(tars: list[tuple[SourceFile, Extent]], part: int, clock: Clock) -> float:
    """Seconds of a read, at this part of each tar; one of several may take longer."""
    seconds = []
    for file, extent in tars:
        before = clock.monotonic()
        file.read_up_to(extent.start + (extent.end - extent.start) // part, 512)
        seconds.append(clock.monotonic() - before)
    return sorted(seconds)[-2:][0]


def _run_phase(
    index: Index,
    work: list[Work],
    begun: BuildProgress,
    plan: _Plan,
    progress: Callable[[BuildProgress], None] | None,
) -> BuildProgress:
    """Build these containers in processes of their own; the progress when they have ended."""
    todo = [item for item in work if not index.known(*item)]
    processes, build = plan.shares(index, todo)
    shared = mmap.mmap(-1, _COUNTERS.size * processes)
    now = BuildProgress(begun.done + len(work) - len(todo), begun.total, begun.members)
    present, children = now.done, set[int]()
    over, held = os.pipe2(os.O_CLOEXEC)  # each child holds it until it ends
    ended = select.poll()
    ended.register(over)
    try:
        try:
            for number in range(min(processes, len(todo))):
                count = partial(_COUNTERS.pack_into, shared, number * _COUNTERS.size)
                children.add(_fork(index, todo[number::processes], build, count))
        finally:
            os.close(held)
        while children:
            for pid in list(children):
                if os.waitpid(pid, os.WNOHANG) != (0, 0):
                    children.remove(pid)
            done, members = _sum(shared)
            now = BuildProgress(present + done, begun.total, begun.members + members)
            if progress is not None:
                progress(now)
            if children:
                ended.poll(_POLL_SECONDS * 1000)
    finally:
        os.close(over)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return now


def containers(
    index: Index, archives: Sequence[int], chosen: Chosen = everything
) -> Iterator[Work]:
    """What there is in these archives, as far as it is known without building anything."""
    for archive in archives:
        inner = range(0)
        if index.known(archive):
            with contextlib.suppress(ImagenetfsError):  # it has gone, or is another one now
                inner = range(len(index.nested(archive)))
        yield from filter(chosen, ((archive, number) for number in (OUTER, *inner)))


def _fork(index: Index, work: list[Work], build: Builder, count: Count) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        set_parent_death_signal(parent, INDEXER)
        reset_signals()
        index.after_fork()
        build(index, work, count)
        status = 0
    except BaseException:
        log.exception("an indexing process failed")
    finally:
        os._exit(status)


def _sum(shared: mmap.mmap) -> tuple[int, int]:
    rows = list(_COUNTERS.iter_unpack(shared[:]))
    return sum(row[0] for row in rows), sum(row[1] for row in rows)


def _outcome(index: Index, work: list[Work]) -> Outcome:
    members, broken, left = 0, list[str](), list[Work]()
    for item in work:
        meta = index.meta(*item)
        if meta is None:
            left.append(item)
            continue
        members += meta["rows"]
        if meta.get("problem"):
            broken.append(f"{index.title(*item)}: {meta['problem']}")
    inner = sum(1 for _, container in work if container != OUTER)
    return Outcome(len(work) - len(left), members, tuple(broken), tuple(left), inner=inner)


def save(
    index: Index,
    archives: Sequence[int],
    path: Path,
    *,
    chosen: Chosen = everything,
    complete: bool = False,
) -> int:
    """Write the index file of a group: what was there already and still holds, and what is built.

    Returns the number of containers in it. Raises OSError where it cannot be written. ``complete``:
    say in the file that there is no more to come.
    """
    records, was_complete = load(path)
    changed = complete != was_complete
    for item in containers(index, archives, chosen):
        if index.known(*item):
            with contextlib.suppress(ImagenetfsError):  # it has gone, or is another one now
                record = record_of(index, *item, records.get(index.key(*item)))
                if record is not None and records.get(record.key) is not record:
                    records[record.key] = record
                    changed = True
    if changed:
        write_index_file(path, records.values(), complete=complete)
    return len(records)
