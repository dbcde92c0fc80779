"""Inode numbers are arithmetic: nothing is stored, nothing is forgotten, every mount has the same,
but for archives that are numbered as they are found (see index.archives).

::

    bit 63   62..60   59..40    39..0
    zero     kind     archive   inner and row

    bit 39   38   37..24        23..0      the first 2**14 inner containers
    zero     one  inner         row
    bit 39   38   37..20        19..0      the others
    zero     zero inner         row
    bit 39   38..0                         the archive itself
    one      row

===========  =======================================================================================
kind         the fields below it
===========  =======================================================================================
FIXED        row: place in the tree's table of fixed nodes (the root is 1, as FUSE wants it)
FILE         a member, an npz's row or a loose file: archive, inner container, row of its table
CLASS        archive: number of the split; row: number of the class
SOURCE       a directory below source/: archive, inner, row + 1 (0: the container's own root)
ALIAS        the same directory where it answers under its old name without being listed
ARCHIVES     a directory below archives/, within a tar too: archive, inner, row + 1 as SOURCE
LIVE         what a live file (.imagenetfs/status.json) held at its lookup: the text's handle
===========  =======================================================================================

So a tar within a tar may have 16 million rows (ILSVRC2012's train has 1,281,167 images), one behind
16,384 others a million; an archive's own table may have 2**39. What has more is shown as a file, or
not at all.

A file reached by several paths is one inode (and so cached once); every directory path has its own,
for with one inode at two paths a process's working directory jumps.
"""

from __future__ import annotations

from enum import IntEnum

from imagenetfs.index.archives import OUTER
from imagenetfs.limits import MAX_ARCHIVES

ROOT = 1

MAX_INNER = 1 << 18
_WIDE_INNER = 1 << 14
_WIDE_ROWS, _NARROW_ROWS = 1 << 24, 1 << 20

KIND_SHIFT = 60
"""``number >> KIND_SHIFT`` is the kind."""

_OUTER_BIT = 1 << 39
_WIDE_BIT = 1 << 38
_LOW_60 = (1 << 60) - 1
_LOW_40 = (1 << 40) - 1
_LOW_39 = _OUTER_BIT - 1
_LOW_24 = (1 << 24) - 1
_LOW_20 = (1 << 20) - 1
_LOW_14 = (1 << 14) - 1


class InodeKind(IntEnum):
    """What an inode number names."""

    FIXED = 0
    FILE = 1
    CLASS = 2
    SOURCE = 3
    ALIAS = 4
    ARCHIVES = 5
    LIVE = 6


def max_rows(inner: int) -> int:
    """How many rows of a container have numbers, each as a file and as a directory (row + 1)."""
    if inner == OUTER:
        return _OUTER_BIT - 1
    return (_WIDE_ROWS if inner < _WIDE_INNER else _NARROW_ROWS) - 1


def inode(kind: InodeKind, archive: int, inner: int, row: int) -> int:
    """The inode number of its fields; ``inner`` may be OUTER. OverflowError where there is no
    room."""
    if row > max_rows(inner) or inner >= MAX_INNER or archive >= MAX_ARCHIVES:
        raise OverflowError(f"row {row} of container {archive}.{inner} has no inode number")
    if inner == OUTER:
        low = _OUTER_BIT | row
    elif inner < _WIDE_INNER:
        low = _WIDE_BIT | inner << 24 | row
    else:
        low = inner << 20 | row
    return kind << 60 | archive << 40 | low


def base(kind: InodeKind, archive: int, inner: int) -> int:
    """The inode number of row 0; those of the other rows are ``base + row``."""
    return inode(kind, archive, inner, 0)


def kind_of(number: int) -> int:
    """The kind bits."""
    return number >> KIND_SHIFT


def fields(number: int) -> tuple[int, int, int]:
    """(archive, inner, row)."""
    archive, low = number >> 40 & _LOW_20, number & _LOW_40
    if low & _OUTER_BIT:
        return archive, OUTER, low & _LOW_39
    if low & _WIDE_BIT:
        return archive, low >> 24 & _LOW_14, low & _LOW_24
    return archive, low >> 20, low & _LOW_20


ROW_BITS = 24
ROW_MASK = _LOW_24


def has_row_bits(number: int) -> bool:
    """Whether the row is just the lowest ROW_BITS bits, and what stands above them is the same for
    all such rows of the container: so in all but the narrow ones and the longest.
    """
    if number & _OUTER_BIT:
        return number & _LOW_39 <= ROW_MASK
    return bool(number & _WIDE_BIT)


def live_inode(handle: int) -> int:
    """The file that holds a live file's text of one moment."""
    return InodeKind.LIVE << 60 | handle


def live_handle(number: int) -> int:
    """The handle of the text."""
    return number & _LOW_60


def class_inode(split: int, number: int) -> int:
    """The directory of one class of one split."""
    return InodeKind.CLASS << 60 | split << 40 | number


def class_fields(number: int) -> tuple[int, int]:
    """(split, class) of a class directory."""
    return number >> 40 & _LOW_20, number & _LOW_40
