"""What the package itself knows of the classes: the 1,000 wnids of ILSVRC2012 and their words."""

from __future__ import annotations

from collections.abc import Container
from functools import cache


@cache
def ilsvrc2012_wnids() -> tuple[bytes, ...]:
    """The wnids of the 1,000 classes, sorted: the place of one is its label for most programs."""
    from imagenetfs.sample import synsets  # with the sample's drawing: few mounts need it

    rows = synsets.table().values()
    return tuple(sorted(row.wnid.encode() for row in rows if row.kind == "leaf"))


def words_of(wanted: Container[bytes]) -> dict[bytes, str]:
    """The words of those of the ``wanted`` wnids that the package knows."""
    from imagenetfs.sample import synsets

    rows = synsets.table().values()
    return {wnid: row.words for row in rows if (wnid := row.wnid.encode()) in wanted}


def all_words() -> dict[bytes, str]:
    """The words of all classes that the package knows."""
    from imagenetfs.sample import synsets

    return {wnid.encode(): row.words for wnid, row in synsets.table().items()}


def gloss_of(wnid: bytes) -> str:
    """WordNet's definition of a class, where the package has it; else empty."""
    from imagenetfs.sample import synsets

    row = synsets.table().get(wnid.decode("ascii", "replace"))
    return row.gloss if row is not None else ""
