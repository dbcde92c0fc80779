"""What a container's table answers, whatever the container is.

Rows are found by number or by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from imagenetfs.index.archives import Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.columns import Array
from imagenetfs.index.member_table import MemberTable


class Table(Protocol):
    """Sizes in bytes, times in nanoseconds since the epoch, modes as in st_mode."""

    nested: Array
    links: dict[int, bytes]
    sparse: dict[int, tuple[tuple[int, int], ...]]

    def __len__(self) -> int: ...

    @property
    def problem(self) -> str | None:
        """What was wrong with the container; None for a sound one."""
        ...

    @property
    def left_out(self) -> str | None:
        """Which sound members are not shown, and why; None where all are."""
        ...

    @property
    def doubt(self) -> str | None:
        """With what the container ends that may be no padding; None where that is beyond doubt."""
        ...

    def name(self, row: int) -> bytes:
        """The full name, relative to the container."""
        ...

    def base_name(self, row: int) -> bytes:
        """The last part of the name: a full one costs more the deeper it lies."""
        ...

    def offset(self, row: int) -> int:
        """Where the content begins in the file, in bytes."""
        ...

    def size(self, row: int) -> int:
        """Bytes of content."""
        ...

    def mtime_ns(self, row: int) -> int:
        """Time of last change."""
        ...

    def mode(self, row: int) -> int:
        """st_mode with the file type."""
        ...

    def owner(self, row: int) -> int:
        """The row that stands for the file, where several rows are one file."""
        ...

    def links_to(self, row: int) -> int:
        """How many rows are this very file."""
        ...

    def find(self, name: bytes) -> int:
        """The row of a full name, or -1."""
        ...

    def child(self, row: int, name: bytes) -> int:
        """The row of a name directly within the directory at ``row`` (-1: the container itself), or
        -1."""
        ...

    def children(self, row: int = -1) -> Iterator[int]:
        """The rows directly within the directory at ``row`` (-1: the container itself)."""
        ...

    def within(self, row: int) -> range:
        """The rows below the directory at ``row``, at whatever depth."""
        ...

    def regular(self) -> Array:
        """The rows that are regular files."""
        ...

    def directories(self) -> Array:
        """The rows that are directories."""
        ...


def table_of(kind: Kind, block: memoryview) -> MemberTable | ArrayTable:
    """The table that a block of the index holds."""
    return ArrayTable(block) if kind is Kind.NPZ else MemberTable(block)
