"""The tree of an archive in which each member is just where its name says: no links, no name twice,
none to be cleaned, no file where others have a directory.

Most archives are so, and may have 1.4 million members: what :mod:`imagenetfs.index.extraction`
would make of them member by member is made here directory by directory.
"""

from __future__ import annotations

import stat

import numpy as np

from imagenetfs.index.extraction import IMPLIED, Layout, MemberRows
from imagenetfs.index.names import NAME_MAX, PATH_MAX, sanitize_name

Directories = dict[bytes, dict[bytes, int]]
"""Directory -> last part of a member's name -> its position."""


def plain_layout(rows: MemberRows) -> Layout | None:
    """The rows of the table; None for an archive that is not so."""
    if rows.links or rows.hardlinks or rows.renamed or rows.refused:
        return None
    directories = _by_directory(rows)
    if directories is None:
        return None
    modes = rows.modes
    for path in list(directories):
        while path:  # those above it too
            above, _, name = path.rpartition(b"/")
            entries = directories.setdefault(above, {})
            position = entries.setdefault(name, IMPLIED)
            if position != IMPLIED and not stat.S_ISDIR(modes[position]):
                return None
            path = above
    return _LaidOut(directories, modes).layout()


def _by_directory(rows: MemberRows) -> Directories | None:
    directories: Directories = {b"": {}}
    last, entries, count = b"", directories[b""], 0
    modes = rows.modes
    for position, raw in enumerate(rows.names):
        directory, _, name = raw.rpartition(b"/")
        if not name and stat.S_ISDIR(modes[position]):
            directory, _, name = directory.rpartition(b"/")
        if directory != last:
            last, entries = directory, directories.setdefault(directory, {})
        entries[name] = position
        count += 1
    if sum(map(len, directories.values())) != count:
        return None  # a name is there twice
    for directory, entries in directories.items():
        if directory and not _is_clean(directory):
            return None
        if not {b"", b".", b".."}.isdisjoint(entries):
            return None
        if max(map(len, entries), default=0) > NAME_MAX:
            return None
    return directories


def _is_clean(directory: bytes) -> bool:
    return len(directory) + NAME_MAX + 1 < PATH_MAX and sanitize_name(directory) == directory


class _LaidOut:
    """The rows as they are laid out, a directory's entries behind it."""

    def __init__(self, directories: Directories, modes: list[int]) -> None:
        self._directories = directories
        self._modes = modes
        self._names: list[bytes] = []
        self._members: list[int] = []
        self._parents: list[int] = []
        self._below: list[int] = []

    def layout(self) -> Layout:
        open_directories = [self._open(b"", -1)]
        while open_directories:
            path, row, names = open_directories[-1]
            below = self._put(path, row, names)
            if below is not None:
                open_directories.append(self._open(below, len(self._names) - 1))
                continue
            open_directories.pop()
            if row >= 0:
                self._below[row] = len(self._names)
        count = len(self._names)
        return Layout(
            np.arange(count, dtype=np.int64),
            np.array(self._members, dtype=np.int64),
            np.array(self._parents, dtype=np.int64),
            np.array(self._below, dtype=np.int64),
            self._names,
        )

    def _open(self, path: bytes, row: int) -> tuple[bytes, int, list[bytes]]:
        """A directory, its row, and the names in it that are to come, the last one first."""
        return path, row, sorted(self._directories.get(path, ()), reverse=True)

    def _put(self, path: bytes, row: int, names: list[bytes]) -> bytes | None:
        """Put the next entries; the first of them that is a directory with something in it."""
        entries = self._directories.get(path, {})
        start = len(self._names)
        above = path + b"/" if path else b""
        found = None
        while names and found is None:
            name = names.pop()
            self._names.append(name)
            position = entries[name]
            self._members.append(position)
            if position == IMPLIED or stat.S_ISDIR(self._modes[position]):
                found = above + name
        stop = len(self._names)
        self._parents += [row + 1] * (stop - start)
        self._below += range(start + 1, stop + 1)
        return found
