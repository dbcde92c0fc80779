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
