"""Splits over an index of archives."""

from __future__ import annotations

from imagenetfs.index.index import Index
from imagenetfs.tree.per_class_split import PerClassSplit, classes_within


def by_class(index: Index, archive: int, instead: int | None = None) -> PerClassSplit:
    """A shelf of the class containers in an archive, and what takes the place of broken ones."""
    return PerClassSplit(
        index,
        classes_within(index, archive),
        lambda: classes_within(index, instead) if instead is not None else {},
    )
