"""Deflated arrays, inflated once a mount into one nameless local file that all processes share.

A row in the middle of a deflated array can only be had by inflating all before it, so the whole array is
inflated when its first row is asked for, in pieces, and served when its checksum has been found right.

Each npz has a row in a shared mapping: state, offset in the file, bytes done, and when it last moved.
Whoever asks first marks it; whoever unpacks (the supervisor's child, or without a supervisor the asking
process itself) does so under the lock of its row, so that it is done once. All others wait for just that
array. Space that a failed attempt took is given back.
"""

from __future__ import annotations

import logging
import mmap
import os
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path

from imagenetfs.cache.room import Room
from imagenetfs.errors import ArchiveError, ImagenetfsError, NoSpaceError, SourceReadError
from imagenetfs.formats import npz
from imagenetfs.source.directory import SINCE, WAITING, Source

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


_STATE, _OFFSET, _DONE, _MOVED = range(4)


class Unpacked:
    """The inflated arrays of a catalogue's npz files. Make it before forking."""

    def __init__(
        self,
        source: Source,
        archives: Mapping[int, bytes],
        array_of: Callable[[int], npz.Array],
        directory: Path | None = None,
    ) -> None:
        """``archives``: number -> path in the source of each npz; ``array_of(number)``: the array in it
        that is read; ``directory``: a local one ($TMPDIR)."""
        self._source = source
        self._paths = archives
        self._array_of = array_of
        self._slots = {number: slot for slot, number in enumerate(archives)}
        self._archives = list(archives)
        self._words = memoryview(mmap.mmap(-1, 8 + 32 * max(1, len(archives)))).cast("Q")
        self.room = Room(directory)
        self.by_others = False
        """Whether another process unpacks what is asked for; else whoever asks does so itself."""

    def after_fork(self) -> None:
        """Locks of this process's own. Call once in each child."""
        self.room.after_fork()

    def _title(self, archive: int) -> str:
        return os.fsdecode(self._paths[archive])

    # --- reading ----------------------------------------------------------------------------------

    def read(self, archive: int, offset: int, length: int) -> bytes:
        """Bytes of an npz's inflated ``data``. Raises NoSpaceError, ArchiveError, SourceReadError."""
        row = self._row(archive)
        if row[_STATE] != _State.READY:
            self._wait(archive)
        data = self.room.read(row[_OFFSET] + offset, length)
        if len(data) != length:
            raise SourceReadError(f"the unpacked {self._title(archive)} ended early.")
        return data

    def _row(self, archive: int) -> memoryview:
        start = 1 + 4 * self._slots[archive]
        return self._words[start : start + 4]

    def _wait(self, archive: int) -> None:
        row = self._row(archive)
        if row[_STATE] not in (_State.ASKED, _State.READY):
            if row[_STATE] != _State.IDLE and time.monotonic_ns() - row[_MOVED] < _AGAIN_NS:
                self._refuse(archive)
            row[_STATE] = _State.ASKED
        if not self.by_others:
            self.unpack(archive)
        self._wait_for_others(row)
        if row[_STATE] != _State.READY:
            self._refuse(archive)

    def _wait_for_others(self, row: memoryview) -> None:
        """Wait, and be seen to wait for another process, with the deadline of a read of the source;
        whatever moves anywhere counts as life."""
        meter = self._source.meter
        moved = self._words[0]
        meter[SINCE] = meter[WAITING] = time.monotonic_ns()
        try:
            while row[_STATE] == _State.ASKED:
                time.sleep(_POLL_SECONDS)
                if self._words[0] != moved:
                    moved = self._words[0]
                    meter[SINCE] = time.monotonic_ns() - 2_000_000  # waiting, and not just begun
        finally:
            meter[SINCE] = meter[WAITING] = 0

    def _refuse(self, archive: int) -> None:
        title, state = self._title(archive), self._row(archive)[_STATE]
        if state == _State.NO_SPACE:
            raise NoSpaceError(self._no_room(archive))
        if state == _State.BROKEN:
            raise ArchiveError(f"{title} cannot be inflated; see the log")
        raise SourceReadError(f"{title} could not be unpacked; see the log.")

    def _no_room(self, archive: int) -> str:
        return (
            f"{self._title(archive)} is compressed, and unpacked it takes "
            f"{self._array_of(archive).size:,} bytes, for which there is no room in "
            f"{self.room.directory}; point --cache-dir or TMPDIR to a directory on this node with room."
        )

    # --- unpacking --------------------------------------------------------------------------------

    def asked(self) -> list[int]:
        """The archives that wait to be unpacked."""
        return [n for n in self._archives if self._row(n)[_STATE] == _State.ASKED]

    def give_up(self, archive: int) -> None:
        """Whoever was to unpack it has ended; those who wait are told, if it is not done."""
        row = self._row(archive)
        if row[_STATE] == _State.ASKED:
            self._settle(row, _State.UNREADABLE)

    def unpack(self, archive: int) -> None:
        """Inflate it, unless that has been done. Says in its row and in the log how it went."""
        row = self._row(archive)
        with self.room.locked(self._slots[archive]):
            if row[_STATE] != _State.ASKED:
                return
            try:
                self._unpack(archive, row)
                state = _State.READY
            except ImagenetfsError as error:
                log.warning("%s", error)
                state = _state_of(error)
            self._settle(row, state)

    def _settle(self, row: memoryview, state: _State) -> None:
        row[_MOVED] = time.monotonic_ns()
        row[_STATE] = state

    def _unpack(self, archive: int, row: memoryview) -> None:
        array, title = self._array_of(archive), self._title(archive)
        try:
            offset = self.room.reserve(array.size)
        except OSError as error:
            raise NoSpaceError(self._no_room(archive)) from error
        log.info("unpacking %s (%d bytes) into %s", title, array.size, self.room.directory)
        began = told = time.monotonic()
        at = offset
        try:
            with self._source.opened(self._paths[archive]) as file:
                for piece in npz.contents(file.read, array):
                    self.room.write(at, piece)
                    at += len(piece)
                    row[_DONE] = at - offset
                    self._words[0] += 1
                    if time.monotonic() - told > _LOG_SECONDS:
                        told = time.monotonic()
                        log.info("unpacking %s: %d %%", title, 100 * row[_DONE] // array.size)
        except BaseException as error:
            self.room.give_back(offset, array.size)
            if isinstance(error, OSError):  # the source's own errors are none by now
                raise NoSpaceError(self._no_room(archive)) from error
            raise
        row[_OFFSET] = offset
        log.info("unpacked %s in %.1f s", title, time.monotonic() - began)


def _state_of(error: ImagenetfsError) -> _State:
    if isinstance(error, NoSpaceError):
        return _State.NO_SPACE
    return _State.BROKEN if isinstance(error, ArchiveError) else _State.UNREADABLE
