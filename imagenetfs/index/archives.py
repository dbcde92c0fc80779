"""What the index can index, and the numbers by which everybody above names it.

An *archive* is an entry of the catalogue: a tar, an npz, or a directory of loose files. It is a container of
members; a member of it that is a container again (a tar within a tar, a tar or a directory within a
directory) is an *inner* container, numbered in the order of the outer table's names. Two levels are
expanded; deeper ones are files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OUTER = -1
"""The inner number that means the archive itself."""


class Kind(Enum):
    """How the bytes of an archive's members are reached."""

    TAR = "tar"
    NPZ = "npz"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive of the catalogue; ``number`` is its place there, ``path`` relative to the source."""

    number: int
    path: bytes
    kind: Kind


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a container's bytes lie: [start, end) of the file at ``path``; for a directory its path.

    ``is_part``: the file is another archive, of which this is a member.
    """

    path: bytes
    start: int
    end: int
    kind: Kind
    is_part: bool = False
