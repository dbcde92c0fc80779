"""Imagenet8, 16, 32 and 64: the rows of DownSampled's npz files, in class
directories by their labels.

A label is an ILSVRC2012_ID, which the devkit turns into a wnid. A class lists its rows
batch by batch in the batches' own order (batch_2 before batch_10); the two parts of
Imagenet64's train are one split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.columns import Array
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import DOWN_SAMPLED, Discovery
from imagenetfs.tree.inode import InodeKind, base
from imagenetfs.tree.left_out import LeftOut, Reason
from imagenetfs.tree.listing import Entry, Listing, RowwiseListing, member_attributes
from imagenetfs.tree.split_backend import UNLABELED, log_warning

_DIRECTORY = re.compile(
    rb"imagenet(8|16|32|64)_(train|val|validation)(?:_part\d+)?(?:_npz)?", re.IGNORECASE
)
_DIGITS = re.compile(rb"(\d+)")
_ROW_NAME = re.compile(rb".+_\d{6,}\.png", re.DOTALL)

_Table = tuple[ArrayTable, int]
"""(table, inode of its row 0)."""


def versions(discovery: Discovery, index: Index, kit: Devkit | None) -> list[Version]:
    """The sizes that are there, smallest first."""
    root = discovery.root(DOWN_SAMPLED)
    found: dict[tuple[int, bytes], list[bytes]] = {}
    for name in discovery.directories(root) if root is not None else ():
        match = _DIRECTORY.fullmatch(name)
        if match is not None:
            split = b"train" if match[2].lower() == b"train" else b"val"
            found.setdefault((int(match[1]), split), []).append(join_path(root or b"", name))
    ids = {wnid: number for number, wnid in kit.wnids.items()} if kit is not None else None
    by_side: dict[int, Version] = {}
    for (side, name), directories in sorted(found.items()):
        archives = _archives(discovery, directories)
        if archives:
            version = by_side.setdefault(side, Version(b"Imagenet%d" % side))
            aliases = (b"validation",) if name == b"val" else ()
            origin = " and ".join(sorted(path.decode("utf-8", "replace") for path in directories))
            labels_from = (kit.meta_path,) if kit is not None else ()
            backend = ArraySplit(index, archives, ids, discovery.late_warnings.tell)
            version.splits.append(Split(name, backend, origin, aliases, labels_from))
    if by_side and kit is None:
        discovery.warnings.append(
            "the devkit is missing or cannot be used, so it is not known which class a label "
            "of DownSampled means: its images stand under unlabeled/."
        )
    return [by_side[side] for side in sorted(by_side)]


def _archives(discovery: Discovery, directories: Sequence[bytes]) -> list[int]:
    """The npz files in these directories, in the order of the numbers in their names."""
    paths = [d + b"/" + name for d in directories for name in discovery.files(d)]
    numbers = {path: discovery.number(path, Kind.NPZ) for path in sorted(paths, key=_natural)}
    return [number for number in numbers.values() if number is not None]


def _natural(path: bytes) -> list[tuple[int, bytes]]:
    return [
        (int(part), b"") if part.isdigit() else (-1, part) for part in _DIGITS.split(path) if part
    ]


class ArraySplit:
    """The rows of some npz files by label; see
    :class:`imagenetfs.tree.split_backend.SplitBackend`.
    """

    def __init__(
        self,
        index: Index,
        archives: Sequence[int],
        ids: Mapping[bytes, int] | None,
        tell: Callable[[str], None] = log_warning,
    ) -> None:
        """``ids``: wnid -> label; None where that is not known. ``tell`` hears what is broken or
        not shown when it is first looked at.
        """
        self._index = index
        self._report = tell
        self.archives: Sequence[int] = archives
        self.classes: Sequence[bytes] = sorted(ids) if ids is not None else (UNLABELED,)
        self._ids = [ids[wnid] for wnid in self.classes] if ids is not None else None
        self._tables: list[_Table] | None = None
        self._broken: list[ArchiveError] = []
        self._problems: list[str] = []
        self._left_out = LeftOut()

    def _all(self) -> list[_Table]:
        if self._tables is None:
            self._tables = [table for number in self.archives for table in self._table(number)]
        return self._tables

    def _tell(self, problem: str) -> None:
        self._problems.append(problem)
        self._report(problem)

    def _table(self, archive: int) -> list[_Table]:
        title = self._index.title(archive)
        try:
            members = self._index.container(archive).members
        except ArchiveError as error:
            reason = f"{title} is not shown: {error.reason}; have it replaced"
            broken = ArchiveError(reason, error.offset)
            self._broken.append(broken)
            self._tell(f"{broken}")
            return []
        assert isinstance(members, ArrayTable)
        if self._ids is not None:
            unknown = len(members) - sum(len(members.of_label(label)) for label in self._ids)
            if unknown:
                first = int(np.argmin(np.isin(members.labels, self._ids)))
                self._left_out.add(Reason.NO_LABEL, members.name(first), unknown)
                self._tell(
                    f"{unknown:,} rows of {title} have labels that the devkit does "
                    "not name, and are not shown."
                )
        return [(members, base(InodeKind.FILE, archive, OUTER))]

    def listing(self, number: int) -> Listing:
        """Raises ArchiveError where every file is broken: a class is not empty for that."""
        label = self._ids[number] if self._ids is not None else None
        tables = self._all()
        if self._broken and not tables:
            raise self._broken[0]
        return ArrayListing(tables, label, self._broken[0] if self._broken else None)

    def places(self, number: int) -> Sequence[Place]:
        return [(archive, OUTER) for archive in self.archives]

    def directories(self, archive: int) -> Sequence[bytes]:
        return (b"",)

    def find_anywhere(self, name: bytes) -> int | None:
        return None

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        if archive not in self.archives:
            return None
        members = self._index.container(archive).members
        assert isinstance(members, ArrayTable)
        if self._ids is None:
            return 0
        label = int(members.labels[row])
        return self._ids.index(label) if label in self._ids else None

    def class_of_name(self, name: bytes) -> int | None:
        for archive in self.archives:
            try:
                row = self._index.container(archive).members.find(name)
            except ArchiveError:
                continue
            if row >= 0:
                return self.class_of(archive, OUTER, row)
        return None

    def mtime_ns(self, number: int) -> int | None:
        return None

    def left_out(self) -> LeftOut:
        return self._left_out

    def problems(self) -> Sequence[str]:
        self._all()
        return self._problems

    def doubts(self) -> Sequence[str]:
        return ()


class ArrayListing(RowwiseListing):
    """All rows of some tables that have one label, table by table; all rows where it is None.

    ``broken``: why the rows of a file beside these are not known. Of a name that a row can have it
    is then not known whether it is there.
    """

    __slots__ = ("_broken", "_label", "_rows", "_tables")

    def __init__(
        self, tables: Sequence[_Table], label: int | None, broken: ArchiveError | None = None
    ) -> None:
        self._tables, self._broken = tables, broken
        self._label = label
        self._rows: list[Array] = [
            members.regular() if label is None else members.of_label(label) for members, _ in tables
        ]

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    def entries(self, start: int) -> Iterator[Entry]:
        for (members, first), rows in zip(self._tables, self._rows, strict=True):
            chosen = rows[start:].tolist()
            start = max(0, start - len(rows))
            if not chosen:
                continue
            attributes = member_attributes(members, 0)  # alike for all rows of a table
            for row in chosen:
                yield members.name(row), first + row, attributes

    def find(self, name: bytes) -> int | None:
        is_known = False
        for members, first in self._tables:
            row = members.find(name)
            is_known = is_known or row >= 0
            if row >= 0 and self._label in (None, int(members.labels[row])):
                return first + row
        if self._broken is not None and not is_known and _ROW_NAME.fullmatch(name):
            raise self._broken
        return None
