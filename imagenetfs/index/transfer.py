"""Carrying an index to another site, and comparing one with its archives.

An export is one index file with the tables of all tars and npz files of a source, under their paths
there. Directories are left out: their times of change, by which they are known again, hold at one
entry only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import Archive, Extent, Kind, kind_of_name
from imagenetfs.index.bulk_build import containers
from imagenetfs.index.columns import meta_of, unpack
from imagenetfs.index.fingerprint import sample_crc, tail_crc
from imagenetfs.index.imported import MARK, rebuild_untrusted
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import IndexFile, Record, write_index_file
from imagenetfs.index.records import record_of
from imagenetfs.index.untrusted import bounded_memory, readable
from imagenetfs.source.source import Source

_MOST_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Carried:
    """How many tables and members there were, and what was left out, each with the reason."""

    tables: int
    members: int
    refused: tuple[str, ...] = ()


def export(index: Index, archives: Sequence[int], file: Path) -> Carried:
    """Write the tables that are built of these archives. Raises OSError."""
    records, members = [], 0
    for item in containers(index, archives):
        record = record_of(index, *item) if index.known(*item) else None
        if record is not None and index.archives[item[0]].kind is not Kind.DIRECTORY:
            records.append(record)
            members += len(index.container(*item).members)
    write_index_file(file, records, complete=True)
    return Carried(len(records), members)


def imported(
    source: Source, archives: Mapping[bytes, Archive], file: Path
) -> tuple[dict[int, list[Record]], Carried]:
    """The records of an export that describe archives that are here, by archive.

    ``archives`` are this source's, by path. Raises OSError, ArchiveError
    where ``file`` is no export.
    """
    try:
        store = IndexFile(file, anyones=True)
    except MemoryError:
        raise ArchiveError("its directory needs more memory than there is") from None
    kept: dict[int, list[Record]] = {}
    refused: dict[bytes, str] = {}
    with contextlib.closing(store), bounded_memory():
        for key in map(bytes, store.keys()):
            path, _, inner = key.rpartition(b"\0")
            archive = archives.get(path)
            if archive is None or archive.kind is Kind.DIRECTORY:
                refused.setdefault(path, "is not here")
            if archive is None or path in refused:
                continue
            try:
                record = _import(source, archive, inner, store, key)
            except (ArchiveError, MemoryError) as error:
                is_large = isinstance(error, MemoryError)
                reason = "has a table that needs more memory than there is" if is_large else ""
                refused[path] = reason or getattr(error, "reason", "")
                kept.pop(archive.number, None)
                continue
            kept.setdefault(archive.number, []).append(record)
    reasons = tuple(f"{readable(os.fsdecode(path))} {reason}" for path, reason in refused.items())
    tables = [unpack(memoryview(r.block))[1]["rows"] for each in kept.values() for r in each]
    return kept, Carried(len(tables), sum(tables), reasons)


def _import(source: Source, archive: Archive, inner: bytes, store: IndexFile, key: bytes) -> Record:
    entry = store.entry(key)
    assert entry is not None
    block = store.block(entry)
    meta = meta_of(memoryview(block))
    with source.opened(archive.file) as file:
        if file.size != meta.get("file"):
            raise ArchiveError("has another size here")
        if not 0 <= entry.start <= entry.stop <= file.size:
            raise ArchiveError("has a table that lies outside of it")
        kind = kind_of_name(inner) if inner else archive.kind
        extent = Extent(archive.file, entry.start, entry.stop, kind)
        if archive.kind is Kind.NPZ or (archive.kind is Kind.ZIP and "at" not in meta):
            seen = tail_crc(file.read, file.size)
        else:
            looked_at = meta.get("at", [])
            sound = isinstance(looked_at, list) and len(looked_at) <= _MOST_SAMPLES
            if not sound or not all(
                isinstance(at, int) and 0 <= at <= file.size - 512 for at in looked_at
            ):
                raise ArchiveError("has a damaged table")
            seen = sample_crc(file.read, looked_at)
        if seen != meta.get("sample"):
            raise ArchiveError("is another one here")
        told = rebuild_untrusted(block, extent, file, outer=not inner)
    _, described = unpack(memoryview(told))
    return Record(key, entry.start, entry.stop, file.size, described["sample"], told)


def compare(index: Index, items: Iterable[tuple[int, int]], file: Path) -> tuple[int, list[str]]:
    """How many of the containers an index file has, and the names of those that it has wrong.

    ``index`` was made from the archives just now. Raises OSError, ArchiveError.
    """
    present, wrong = 0, []
    with contextlib.closing(IndexFile(file)) as store:
        for item in items:
            entry = store.entry(index.key(*item))
            record = record_of(index, *item)
            if entry is None or record is None:
                continue
            present += 1
            try:
                block = store.block(entry)
                same = (entry.start, entry.stop) == (record.start, record.stop)
                same = same and _same_tables(block, record.block)
            except ArchiveError:
                same = False
            if not same:
                wrong.append(index.title(*item))
    return present, wrong


def _same_tables(one: bytes, other: bytes) -> bool:
    """Whether two blocks say the same.

    An npz's own time may differ, and what tells an imported one.
    """
    if one == other:
        return True
    (columns, meta), (others, other_meta) = unpack(memoryview(one)), unpack(memoryview(other))
    left_out = {"mtime"} if "stem" in meta else set[str]()
    if MARK in meta:
        left_out |= {MARK, "at", "sample"}
        counted = ("replaced", "replaced_ends", "unshown", "unshown_ends")
        for name in counted:  # of what is not in a table, an imported one tells nothing
            columns.pop(name, None)
            others.pop(name, None)
    facts, other_facts = (
        {name: value for name, value in each.items() if name not in left_out}
        for each in (meta, other_meta)
    )
    return (
        facts == other_facts
        and columns.keys() == others.keys()
        and all(np.array_equal(columns[name], others[name]) for name in columns)
    )
