"""Deflated arrays, inflated once: into the read cache, or once a mount into a nameless local file.

A row in the middle of a deflated array can only be had by inflating all before it, so the
whole array is inflated when its first row is asked for, in pieces, and served when its
checksum has been found right. In the cache it is a volume of its own, which outlives the mount
and which all mounts of this user share (:mod:`imagenetfs.cache.volume_writer`). Without a
cache, or in a full one, it goes into a file that the processes of this mount share; the space that
a failed attempt took is freed.

Each :class:`Job` has a row in a shared mapping: state, where it is (its offset in the file; in the
cache: whether it had to be put there), and when it last changed; and how far an inflating is. The
first process that asks marks it; the process that inflates (the supervisor's child, or without a
supervisor the asking process itself) does so under the lock of its row, so that it is done once.
All others wait for just that array.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.cache.scratch_file import ScratchFile
from imagenetfs.cache.volume_writer import Pieces
from imagenetfs.counters import SINCE, WAITING
from imagenetfs.errors import (
    ArchiveError,
    ImagenetfsError,
    NoSpaceError,
    SourceReadError,
    SourceUnreadableError,
)
from imagenetfs.formats import npz
from imagenetfs.source.source import Source
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.01
_LOG_SECONDS = 10.0
_AGAIN_NS = 10_000_000_000


class _State(IntEnum):
    IDLE = 0
    ASKED = 1
    READY = 2
    NO_SPACE = 3
    BROKEN = 4
    UNREADABLE = 5
    REFUSED = 6


_STATE, _WHERE, _CHANGED, _DONE, _SIZE, _BEGAN = range(6)
_WORDS = 6


class Job(NamedTuple):
    """An archive to unpack: into the cache (``kept``), or into the file of this mount."""

    archive: int
    kept: bool


class UnderWay(NamedTuple):
    """An array that is being inflated: ``done`` of ``size`` bytes in ``seconds``."""

    title: str
    done: int
    size: int
    seconds: float


Keep = Callable[[int, Pieces, Callable[[], None]], None]
"""``keep(archive, pieces, moved)`` has an archive's array in the cache: see VolumeWriter.write."""


class InflatedArrays:
    """The inflated arrays of a catalogue's npz files. Make it before forking."""

    def __init__(
        self,
        source: Source,
        archives: Mapping[int, bytes],
        array_of: Callable[[int], npz.Array],
        directory: Path | None = None,
        keep: Keep | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``archives``: number -> path in the source of each npz; ``array_of(number)``: the array
        in it that is read; ``directory``: a local one ($TMPDIR); ``keep``: None without a cache.
        """
        self._source = source
        self._paths = archives
        self._array_of = array_of
        self._keep = keep
        self._clock = clock
        self._jobs = [Job(number, kept) for number in archives for kept in (False, True)]
        self._slots = {job: slot for slot, job in enumerate(self._jobs)}
        self._words = memoryview(mmap.mmap(-1, 8 * (1 + _WORDS * len(self._jobs)))).cast("Q")
        self.scratch = ScratchFile(directory)
        self.by_others = False
        """Whether another process unpacks what is asked for; else the asking process does so
        itself.
        """
        self.alarm: Callable[[], object] = lambda: None
        """Called when something is asked of that other process."""

    def after_fork(self) -> None:
        """Locks of this process's own. Call once in each child."""
        self.scratch.after_fork()

    def path(self, archive: int) -> bytes:
        """Where an npz stands in the source."""
        return self._paths[archive]

    def title(self, job: Job) -> str:
        """How a log line names it."""
        return os.fsdecode(self._paths[job.archive])

    # --- reading ----------------------------------------------------------------------------------

    def has(self, archive: int) -> bool:
        """Whether it is in the file of this mount."""
        return self._row(Job(archive, False))[_STATE] == _State.READY

    def read(self, archive: int, offset: int, length: int) -> bytes:
        """Bytes of an npz's inflated ``data``, from the file of this mount.

        Raises NoSpaceError, ArchiveError, SourceReadError, SourceUnreadableError.
        """
        job = Job(archive, False)
        row = self._row(job)
        if row[_STATE] != _State.READY:
            self._have_done(job)
        data = self.scratch.read(row[_WHERE] + offset, length)
        if len(data) != length:
            raise SourceReadError(f"the unpacked {self.title(job)} ended early.")
        return data

    def kept_at(self, archive: int) -> int:
        """When it was last unpacked into the cache, or tried to be: for :meth:`keep`."""
        return self._row(Job(archive, True))[_CHANGED]

    def keep(self, archive: int, seen: int) -> bool:
        """Have it unpacked into the cache, because something was not there that is asked for.

        ``seen``: what :meth:`kept_at` said before that was looked for. False where the cache does
        not take it. Raises ArchiveError, SourceReadError, SourceUnreadableError.
        """
        job = Job(archive, True)
        row = self._row(job)
        if self._keep is None:
            return False
        if row[_STATE] == _State.READY and row[_CHANGED] != seen:
            return True
        try:
            self._have_done(job)
        except NoSpaceError:
            return False
        return True

    def was_brought(self, archive: int) -> bool:
        """Whether it had to be unpacked for the last :meth:`keep`: it
        may have been in the cache.
        """
        return bool(self._row(Job(archive, True))[_WHERE])

    def _row(self, job: Job) -> memoryview:
        start = 1 + _WORDS * self._slots[job]
        return self._words[start : start + _WORDS]

    def _have_done(self, job: Job) -> None:
        """Wait until it has been done from now on; raises where it could not be."""
        row = self._row(job)
        state = row[_STATE]
        if state == _State.REFUSED:
            # It may have been opened since; else this raises what has been said once already.
            with self._source.opened(self._paths[job.archive]):
                pass
        elif state in (_State.NO_SPACE, _State.BROKEN, _State.UNREADABLE) and (
            self._clock.monotonic_ns() - row[_CHANGED] < _AGAIN_NS
        ):
            self._refuse(job)
        if state != _State.ASKED:
            row[_STATE] = _State.ASKED
        if self.by_others:
            self.alarm()
        else:
            self.unpack(job)
        self._wait_for_others(row)
        if row[_STATE] != _State.READY:
            self._refuse(job)

    def _wait_for_others(self, row: memoryview) -> None:
        """Wait, and be seen to wait for another process, with the deadline of a read of the source;
        whatever moves anywhere counts as life."""
        meter = self._source.meter
        moved = self._words[0]
        meter[SINCE] = meter[WAITING] = self._clock.monotonic_ns()
        try:
            while row[_STATE] == _State.ASKED:
                self._clock.sleep(_POLL_SECONDS)
                if self._words[0] != moved:
                    moved = self._words[0]
                    # Waiting, and not just begun.
                    meter[SINCE] = self._clock.monotonic_ns() - 2_000_000
        finally:
            meter[SINCE] = meter[WAITING] = 0

    def _refuse(self, job: Job) -> None:
        title, state = self.title(job), self._row(job)[_STATE]
        if state == _State.NO_SPACE:
            raise NoSpaceError(self._no_room(job))
        raise _error_of(state, title, self._paths[job.archive])

    def _no_room(self, job: Job) -> str:
        size = self._array_of(job.archive).size
        return _no_room(self.title(job), size, str(self.scratch.directory))

    # --- unpacking --------------------------------------------------------------------------------

    def asked(self) -> list[Job]:
        """What waits to be unpacked."""
        return [job for job in self._jobs if self._row(job)[_STATE] == _State.ASKED]

    def under_way(self) -> list[UnderWay]:
        """What is being inflated now, as far as it has begun."""
        now = self._clock.monotonic_ns()
        rows = [(self.title(job), self._row(job)) for job in self.asked()]
        return [
            UnderWay(title, row[_DONE], row[_SIZE], (now - row[_BEGAN]) / 1e9)
            for title, row in rows
            if row[_SIZE]
        ]

    def give_up(self, job: Job) -> None:
        """The process that was to do it has ended; those that wait are told, if it is not done."""
        row = self._row(job)
        if row[_STATE] == _State.ASKED:
            self._settle(row, _State.UNREADABLE)

    def unpack(self, job: Job) -> None:
        """Inflate it, unless that has been done. Says in its row and in the log how it went."""
        row = self._row(job)
        with self.scratch.locked(self._slots[job]):
            if row[_STATE] != _State.ASKED:
                return
            try:
                into = self._unpack_into_cache if job.kept else self._unpack_into_scratch
                row[_WHERE] = into(job)
                state = _State.READY
            except ImagenetfsError as error:
                log.warning("%s", error)
                state = _state_of(error)
            except (
                QuotaExceededError,
                OSError,
            ) as error:  # the cache's: the source's own are none by now
                log.warning(
                    "%s is unpacked for this mount alone, into %s: the cache %s",
                    self.title(job),
                    self.scratch.directory,
                    f"fails ({error.strerror})"
                    if isinstance(error, OSError)
                    else "has no room for it",
                )
                state = _State.NO_SPACE
            self._settle(row, state)

    def _settle(self, row: memoryview, state: _State) -> None:
        row[_CHANGED], row[_SIZE] = self._clock.monotonic_ns(), 0
        row[_STATE] = state

    def _unpack_into_cache(self, job: Job) -> bool:
        """Whether it had to be unpacked."""
        assert self._keep is not None
        brought = False

        def pieces() -> Iterator[bytes]:
            nonlocal brought
            brought = True
            return self._pieces(job, "the cache")

        self._keep(job.archive, pieces, self._move)
        return brought

    def _unpack_into_scratch(self, job: Job) -> int:
        """The offset of the array in the file."""
        size = self._array_of(job.archive).size
        try:
            offset = self.scratch.reserve(size)
        except OSError as error:
            raise NoSpaceError(self._no_room(job)) from error
        at = offset
        try:
            for piece in self._pieces(job, self.scratch.directory):
                self.scratch.write(at, piece)
                at += len(piece)
                self._move()
        except BaseException as error:
            self.scratch.punch_hole(offset, size)
            if isinstance(error, OSError):
                raise NoSpaceError(self._no_room(job)) from error
            raise
        return offset

    def _move(self) -> None:
        self._words[0] += 1

    def _pieces(self, job: Job, into: object) -> Iterator[bytes]:
        """The array's bytes, and lines in the log about how far it is."""
        array, title = self._array_of(job.archive), self.title(job)
        log.info("unpacking %s (%d bytes) into %s", title, array.size, into)
        began = told = self._clock.monotonic()
        done, row = 0, self._row(job)
        row[_DONE], row[_BEGAN], row[_SIZE] = 0, int(began * 1e9), array.size
        with self._source.opened(self._paths[job.archive]) as file:
            for piece in npz.contents(file.read, array):
                yield piece
                done += len(piece)
                row[_DONE] = done
                if self._clock.monotonic() - told > _LOG_SECONDS:
                    told = self._clock.monotonic()
                    log.info("unpacking %s: %d %%", title, 100 * done // array.size)
        log.info("unpacked %s in %.1f s", title, self._clock.monotonic() - began)


def _state_of(error: ImagenetfsError) -> _State:
    if isinstance(error, NoSpaceError):
        return _State.NO_SPACE
    if isinstance(error, SourceUnreadableError):
        return _State.REFUSED
    return _State.BROKEN if isinstance(error, ArchiveError) else _State.UNREADABLE


def _error_of(state: int, title: str, path: bytes) -> ImagenetfsError:
    """What another process came to, in this one."""
    if state == _State.BROKEN:
        return ArchiveError(f"{title} cannot be inflated; see the log")
    if state == _State.REFUSED:
        return SourceUnreadableError(f"{title} cannot be unpacked: you may not read it.", path)
    return SourceReadError(f"{title} could not be unpacked; see the log.")


def _no_room(title: str, size: int, directory: str) -> str:
    return (
        f"{title} is compressed, and unpacked it takes {size:,} bytes, for which there is no room "
        f"in {directory}; point --cache-dir or TMPDIR to a directory on this node with room."
    )
