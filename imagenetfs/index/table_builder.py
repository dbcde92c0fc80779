"""Making a container's block from its archive: scanning a tar, listing a directory, opening an npz.

Everything here is thread-safe and keeps nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from imagenetfs.byte_range import ByteRange
from imagenetfs.counters import REQUESTS
from imagenetfs.errors import ArchiveError, SourceChangedError, SourceReplacedError
from imagenetfs.formats.tar import walk
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.index.archives import OUTER, Extent, Kind, is_archive_name
from imagenetfs.index.array_table import encode_array_table
from imagenetfs.index.columns import meta_of
from imagenetfs.index.fingerprint import mtimes_crc, pick_samples, sample_crc, tail_crc
from imagenetfs.index.links import followed
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.run_map import RunMap
from imagenetfs.index.zip_rows import read_zip
from imagenetfs.source.file import SourceFile
from imagenetfs.source.source import Source

log = logging.getLogger(__name__)

OUTER_SAMPLES, INNER_SAMPLES = 16, 2
"""Header blocks by which an archive, and a tar within one, is known again."""

_SETTLED_NS = 2_000_000_000
"""A directory that changed less than this before it was listed may change again unnoticed: clocks
tick coarsely, and a server's may be ahead.
"""

_END_MARKER, _USUAL_RECORD = 2 * BLOCK, 20 * BLOCK
_RECORDS = tuple(
    BLOCK * blocks
    for blocks in sorted(odd << shift for odd in (1, 5, 25, 125) for shift in range(12))
    if blocks <= 2048
)
"""Bytes of the records that a tar may be padded to (``tar -b 20``, ``-b 2048``): of all numbers of
blocks those that people give. More zeros than the end marker and what is missing to a whole record
are doubtful: the file may have been made in its full length, and not filled.
"""

_MOST_PADDING = 2 << 20
"""More is broken: twice the longest record that is in use."""

_MOST_PROBLEMS = 10
"""Lines in the log about one archive's damage."""


class Scan(Protocol):
    """A tar scanner: fills ``into`` from bytes [start, end); raises ArchiveError
    where they end being sound.

    ``hint`` announces what ``read_at`` will read.
    """

    def __call__(
        self,
        read_at: walk.ReadAt,
        start: int,
        end: int,
        into: walk.MemberColumns,
        hint: walk.Hint | None = None,
    ) -> object: ...


FindBytes = Callable[[int, int], bytes | None]
"""``find(offset, length)``: bytes of a file that are on this node; None where they are not."""

LocalBytes = Callable[[SourceFile, ByteRange], contextlib.AbstractContextManager[FindBytes | None]]
"""Finds what is on this node of a part of an open file, for as long as the block lasts, in any
thread; None where nothing is.
"""


class ReadFrom(NamedTuple):
    """Where a scan has its bytes from: the source, and before it what is on this node.

    ``direct``: the source answers from memory; reads are not counted one by one.
    """

    source: Source
    local: LocalBytes | None = None
    direct: bool = False

    def find(
        self, file: SourceFile, part: ByteRange
    ) -> contextlib.AbstractContextManager[FindBytes | None]:
        """See :data:`LocalBytes`."""
        if self.local is None or self.direct:
            return contextlib.nullcontext()
        return self.local(file, part)


def _local_first(
    find: FindBytes | None, read_at: walk.ReadAt, hint: walk.Hint
) -> tuple[walk.ReadAt, walk.Hint]:
    """Reads from this node what is there, and announces nothing of it."""
    if find is None:
        return read_at, hint
    ahead: dict[int, bytes] = {}

    def read(offset: int, length: int) -> bytes:
        found = ahead.pop(offset, None)
        if found is None or len(found) != length:
            found = find(offset, length)
        return found if found is not None else read_at(offset, length)

    def announce(offset: int, length: int) -> None:
        found = find(offset, length)
        if found is None:
            hint(offset, length)
        else:
            ahead[offset] = found

    return read, announce


def with_heartbeat(scan: Scan, heartbeat: Callable[[], None]) -> Scan:
    """The same scanner, which calls ``heartbeat()`` with every read."""

    def scan_with_heartbeat(
        read_at: walk.ReadAt,
        start: int,
        end: int,
        into: walk.MemberColumns,
        hint: walk.Hint | None = None,
    ) -> object:
        def read(offset: int, length: int) -> bytes:
            heartbeat()
            return read_at(offset, length)

        return scan(read, start, end, into, hint)

    return scan_with_heartbeat


def build_table(origin: ReadFrom, scan: Scan, extent: Extent, inner: int) -> bytes:
    """The block of a container. Raises SourceReadError, and ArchiveError for an npz that is none.

    An archive whose attributes changed during the scan (chgrp, touch) is read once more, because
    its content may have changed too.
    """
    try:
        return _make_block(origin, scan, extent, inner)
    except SourceReplacedError:
        raise
    except SourceChangedError:
        if not _is_as_long(origin.source, extent):
            raise
    log.info("%s was touched while it was indexed: reading it again", extent.title)
    return _make_block(origin, scan, extent, inner)


def _is_as_long(source: Source, extent: Extent) -> bool:
    """Whether the file that stands there now could be the one that ``extent`` is about."""
    with source.opened(extent.path) as file:
        return extent.is_part or file.size == extent.end


def _make_block(origin: ReadFrom, scan: Scan, extent: Extent, inner: int) -> bytes:
    source = origin.source
    if extent.kind is Kind.NPZ:
        with source.opened(extent.path) as file:
            seen = {"file": file.size, "sample": tail_crc(file.read, file.size)}
            return encode_array_table(file.read_up_to, file.size, extent.path, file.mtime_ns, seen)
    samples = OUTER_SAMPLES if inner == OUTER else INNER_SAMPLES
    if extent.kind is Kind.TAR:
        rows, meta = _scan_tar(origin, scan, extent, samples)
    elif extent.kind is Kind.ZIP and extent.runs is not None:
        raise ArchiveError("a zip that is stored with holes in another archive is not read")
    elif extent.kind is Kind.ZIP:
        with source.opened(extent.path) as file:
            rows, meta = read_zip(file, extent.start, extent.end, samples)
        if "problem" in meta:
            log.warning("%s is broken: %s", extent.title, meta["problem"])
    else:
        rows, meta = _list(source, extent.path, recursive=inner != OUTER)
    nested = is_nested(extent.kind) if inner == OUTER else None
    block = encode_member_table(rows, meta, nested, confine=extent.kind is not Kind.DIRECTORY)
    left_out = meta_of(memoryview(block)).get("left_out")
    if left_out is not None:
        log.warning("%s: not all members are shown: %s", extent.title, left_out)
    return block


def _direct(file: SourceFile) -> walk.ReadAt:
    """``file.read_up_to`` at the cost of the system call; whatever is odd
    about a read goes there.
    """
    fd, pread = file.fd, os.pread

    def read(offset: int, length: int) -> bytes:
        try:
            data = pread(fd, length, offset)
        except OSError:
            return file.read_up_to(offset, length)
        return data if len(data) == length else file.read_up_to(offset, length)

    return read


def _scan_tar(
    origin: ReadFrom, scan: Scan, extent: Extent, samples: int
) -> tuple[MemberRows, dict[str, Any]]:
    """The members, and the meta data by which the tar is known again (see index.identity)."""
    columns = walk.MemberColumns()
    meta: dict[str, Any] = {}
    runs = RunMap(extent.start, extent.runs, extent.size) if extent.runs is not None else None
    direct, part = origin.direct, ByteRange(extent.start, extent.end)
    with origin.source.opened(extent.path) as file, origin.find(file, part) as find:
        read_at, hint = _local_first(find, file.read_up_to, file.hint)
        if direct:
            read_at = _direct(file)
        last = None
        try:
            if runs is not None:
                mapped = runs.read_at(read_at)
                walk.scan(mapped, 0, extent.size, columns, data_from=runs.data_from)
            else:
                scan(read_at, extent.start, extent.end, columns, None if direct else hint)
        except ArchiveError as error:
            last = error
        else:
            doubt = _note_missing_end(columns, extent)
            meta |= {"doubt": doubt} if doubt else {}
        if columns.problems or last is not None:
            meta["problem"] = _tell(extent, columns, last)
        if runs is not None:
            runs.translate(columns)
        if direct:
            file.meter[REQUESTS] += len(columns)
        looked_at = pick_samples(columns.headers, samples)
        read_exactly, _ = _local_first(find, file.read, file.hint)
        meta |= {"file": file.size, "at": looked_at, "sample": sample_crc(read_exactly, looked_at)}
    return _rows(columns), meta


def _note_missing_end(columns: walk.MemberColumns, extent: Extent) -> str:
    """Note zeros up to the end that are no padding, also where no member stands before them. What
    is doubtful alone is returned, in words.
    """
    start, end = (extent.start, extent.end) if extent.runs is None else (0, extent.size)
    if columns.problems and columns.problems[-1].offset + columns.problems[-1].length >= end:
        return ""
    last = start
    if len(columns):
        runs = columns.sparse.get(len(columns) - 1, ((0, columns.sizes[-1]),))
        last = columns.offsets[-1] + sum(length for _, length in runs)
    last += -(last - start) % BLOCK
    if end - last > _MOST_PADDING:
        reason = "nothing but zeros up to the end: it may have been fetched in part"
        columns.problems.append(walk.Problem(last, end - last, reason))
    elif not _is_padding(end - last, end - start):
        return f"{end - last:,} bytes of zeros, from byte {last - start:,} on"
    return ""


def _is_padding(zeros: int, size: int) -> bool:
    """Whether a tar of so many bytes may end in so many zeros."""
    if zeros <= _END_MARKER + _USUAL_RECORD:
        return True
    return any(size % record == 0 and zeros < _END_MARKER + record for record in _RECORDS)


def _tell(extent: Extent, columns: walk.MemberColumns, last: ArchiveError | None) -> str:
    """Say in the log what is wrong with a tar, and where; the same in one sentence."""
    start = 0 if extent.runs is not None else extent.start

    def where(offset: int) -> str:
        of_outer = f" (byte {offset:,} of {os.fsdecode(extent.path)})" if start else ""
        return f"{offset - start:,}{of_outer}"

    told: list[str] = []
    for problem in columns.problems[:_MOST_PROBLEMS]:
        left_out = f"; {problem.length:,} bytes are left out" if problem.length else ""
        told.append(f"byte {where(problem.offset)}: {problem.reason}{left_out}")
    more = len(columns.problems) - len(told)
    if more:
        told.append(f"{more:,} more places")
    if last is not None:
        whole = f"; whole before that: {len(columns):,} members"
        told.append(f"byte {where(last.offset)}: {last.reason}{whole}")
    for line in told:
        log.warning("%s is broken at %s", extent.title, line)
    first = columns.problems[0] if columns.problems else last
    more = len(columns.problems) + (last is not None) - 1
    return f"{first}, and in {more:,} more places" if more else str(first)


def _list(
    source: Source, directory: bytes, *, recursive: bool
) -> tuple[MemberRows, dict[str, Any]]:
    """A directory's own entries, or all that lies below it, and the
    directories' times of change.
    """
    rows, pending, changed = MemberRows(), [b""], {}
    now = time.time_ns()
    while pending:
        below = pending.pop()
        path = join_path(directory, below)
        changed[below] = changed_ns(source, path)
        for entry in source.entries(path):
            name = join_path(below, entry.name)
            is_link = stat.S_ISLNK(entry.mode)
            shown = (
                followed(source, join_path(path, entry.name), entry) if is_link else None
            ) or entry
            if recursive and is_link and shown.is_directory:
                shown = entry
            _append(rows, name, shown.size, shown.mtime_ns, shown.mode)
            if is_link:
                rows.links[len(rows.names) - 1] = source.link_target(join_path(path, entry.name))
            if recursive and shown.is_directory:
                pending.append(name)
    meta = {"changes": mtimes_crc(changed)}
    if max(changed.values()) > now - _SETTLED_NS:
        meta["unsettled"] = 1
    return rows, meta


def changed_ns(source: Source, path: bytes) -> int:
    """When a directory changed last; 0 where there is none."""
    status = source.status(path)
    return status.st_mtime_ns if status is not None else 0


def join_path(directory: bytes, name: bytes) -> bytes:
    """A path below a directory; either may be empty."""
    return directory + b"/" + name if directory and name else directory or name


def is_nested(kind: Kind) -> Callable[[bytes, int], bool]:
    """Which rows of an outer table are containers, by the last part of the name: tars and zips, and
    in a directory the directories too."""

    def nested(name: bytes, mode: int) -> bool:
        if stat.S_ISDIR(mode):
            return kind is Kind.DIRECTORY
        return stat.S_ISREG(mode) and is_archive_name(name)

    return nested


def _rows(columns: walk.MemberColumns) -> MemberRows:
    return MemberRows(
        columns.names,
        columns.headers,
        columns.offsets,
        columns.sizes,
        columns.mtimes,
        columns.modes,
        columns.links,
        columns.hardlinks,
        columns.sparse,
    )


def _append(rows: MemberRows, name: bytes, size: int, mtime_ns: int, mode: int) -> None:
    rows.names.append(name)
    rows.headers.append(0)
    rows.offsets.append(512)
    rows.sizes.append(size)
    rows.mtimes.append(mtime_ns)
    rows.modes.append(mode)
