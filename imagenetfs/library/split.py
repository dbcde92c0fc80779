"""A split as a sequence: images by number, in the order that torchvision's ImageFolder has of the
mount's directory (classes sorted, then names).
"""

from __future__ import annotations

import operator
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from imagenetfs.index.columns import Array
from imagenetfs.index.index import Index
from imagenetfs.library.indexing import index_ahead
from imagenetfs.library.opened import OpenedSource
from imagenetfs.tree.inode import class_inode
from imagenetfs.tree.listing import Columns, FlatListing, Listing, RowsListing
from imagenetfs.tree.stored_order import stored_order


class FileTree(Protocol):
    """What a split asks of its tree."""

    def read(self, path: str, /) -> bytes:
        """The contents of a file."""
        ...


class _ClassTable:
    """Where a class's images stand, in the order of their names: their inodes one after the other
    from the first, or an array. A million images take a few bytes a class.
    """

    __slots__ = ("_inodes", "_listing", "_order", "count")

    def __init__(self, listing: Listing) -> None:
        self.count = len(listing)
        self._listing = listing
        self._order: Array | None = None
        self._inodes: int | Array
        if isinstance(listing, FlatListing) and self.count:  # every row of a table, one by one
            self._inodes = int(listing.columns(0, 1).inodes[0])
            return
        some = listing.columns(0, self.count)
        # A listing of an array's rows is in the rows' order, in which batch_2 is before batch_10.
        by_name = isinstance(listing, RowsListing)
        if not by_name:
            self._order = _order(_names(some))
        inodes = some.inodes if self._order is None else some.inodes[self._order]
        in_a_row = bool(np.all(inodes[1:] == inodes[:-1] + np.uint64(1)))
        self._inodes = int(inodes[0]) if self.count and in_a_row else inodes

    def inode(self, number: int) -> int:
        """The inode of an image."""
        inodes = self._inodes
        return inodes + number if isinstance(inodes, int) else int(inodes[number])

    def name(self, number: int) -> bytes:
        """The name of an image."""
        at = number if self._order is None else int(self._order[number])
        return next(_names(self._listing.columns(at, at + 1)))

    def inodes(self) -> Array:
        """The inodes of all images."""
        inodes = self._inodes
        if isinstance(inodes, int):
            return np.arange(inodes, inodes + self.count, dtype=np.int64)
        return inodes

    def with_extensions(self, extensions: tuple[bytes, ...]) -> list[int]:
        """The images whose names end so, in small letters."""
        some = self._listing.columns(0, self.count)
        if some.suffix.lower().endswith(extensions):
            return list(range(self.count))
        names = list(_names(some))
        order = range(self.count) if self._order is None else self._order.tolist()
        return [n for n, at in enumerate(order) if names[at].lower().endswith(extensions)]


def _names(some: Columns) -> Iterator[bytes]:
    at, middles = 0, some.middles.tobytes()
    for end in some.ends.tolist():
        yield some.prefix + middles[at:end] + some.suffix
        at = end


def _order(names: Iterable[bytes]) -> Array | None:
    """The positions of names in the order of names; None where they stand so."""
    every = list(names)
    order = sorted(range(len(every)), key=every.__getitem__)
    return None if order == list(range(len(every))) else np.array(order, dtype=np.int64)


class _SplitTable:
    """The classes of a split, and the number of the first image of each."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        self._classes = [_ClassTable(listing) for listing in listings]
        self.starts = [0, *accumulate(one.count for one in self._classes)]

    def __len__(self) -> int:
        return self.starts[-1]

    def inode(self, number: int) -> int:
        """The inode of an image."""
        at = bisect_right(self.starts, number) - 1
        return self._classes[at].inode(number - self.starts[at])

    def name(self, number: int) -> tuple[int, bytes]:
        """(class, name) of an image."""
        at = bisect_right(self.starts, number) - 1
        return at, self._classes[at].name(number - self.starts[at])

    def with_extensions(self, extensions: tuple[bytes, ...]) -> NDArray[np.int64] | None:
        """The images whose names end so, in small letters; None for all."""
        chosen: list[int] = []
        for start, one in zip(self.starts, self._classes, strict=False):
            chosen += [start + number for number in one.with_extensions(extensions)]
        return None if len(chosen) == len(self) else np.array(chosen, dtype=np.int64)

    def stored_order(self, index: Index) -> NDArray[np.int64]:
        """The numbers of the images, class by class, as they stand in their archives."""
        parts = [
            start + stored_order(index, one.inodes())
            for start, one in zip(self.starts, self._classes, strict=False)
            if one.count
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def labels(self) -> NDArray[np.int32]:
        """The class of each image, by its number."""
        starts = np.array(self.starts, dtype=np.int64)
        counts = starts[1:] - starts[:-1]
        made = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        made.flags.writeable = False
        return made


class Split:
    """The images of one split, numbered from 0; a negative number counts from the end.

    Nothing is read of the source but what is asked for: the index tells classes, names and labels.
    """

    def __init__(self, tree: FileTree, opened: OpenedSource, name: str, directory: int) -> None:
        """``tree[name]`` makes it; ``directory``: the number of the split's directory."""
        self.tree = tree
        self.name = name
        self._opened = opened
        self._directory = directory
        with opened.locked(name) as parts:
            split = parts.nodes.split_directories[directory]
            if split.lost is not None:
                raise split.lost
            self._classes = tuple(os.fsdecode(one) for one in split.backend.classes)

    @property
    def classes(self) -> list[str]:
        """The names of the classes (WordNet ids, or ``unlabeled``), sorted."""
        return list(self._classes)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self._classes)}

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """The number of each image's class, shape (len,); not to be written to."""
        return self._table.labels()

    @cached_property
    def _table(self) -> _SplitTable:
        with self._opened.locked(self.name) as parts:
            nodes, directory = parts.nodes, self._directory
            index_ahead(self._opened.spec, parts.catalogue, nodes.split_directories[directory])
            numbers = (class_inode(directory, at) for at in range(len(self._classes)))
            return _SplitTable(nodes.listing(number) for number in numbers)

    def forget(self) -> None:
        """Let go of the tables: the tree was closed."""
        self.__dict__.pop("_table", None)

    def __len__(self) -> int:
        """How many images there are. The first call indexes the split, where no index has it."""
        return len(self._table)

    def _number(self, index: SupportsIndex) -> int:
        number, count = operator.index(index), len(self._table)
        if not -count <= number < count:
            raise IndexError(f"{self.name} has {count:,} images, and none has the number {number}.")
        return number % count

    def path(self, index: SupportsIndex) -> str:
        """The path of an image in the tree, and below a mount: VERSION/SPLIT/CLASS/NAME."""
        at, name = self._table.name(self._number(index))
        return f"{self.name}/{self._classes[at]}/{os.fsdecode(name)}"

    def with_extensions(self, extensions: Iterable[str]) -> NDArray[np.int64] | None:
        """The numbers of the images whose names end in one of these, in capitals or not; None where
        all do.
        """
        return self._table.with_extensions(tuple(os.fsencode(one.lower()) for one in extensions))

    def stored_order(self) -> NDArray[np.int64]:
        """The numbers of the images, class by class, in the order in which they stand in the
        archives.
        """
        table = self._table
        with self._opened.locked(self.name) as parts:
            return table.stored_order(parts.catalogue.index)

    def read(self, index: SupportsIndex) -> bytes:
        """The bytes of an image."""
        return self._opened.read_whole(self._table.inode(self._number(index)), self.name)

    def read_path(self, path: str) -> bytes:
        """The bytes of a file of the split's tree by its path."""
        return self.tree.read(path)

    def read_many(self, indices: Iterable[SupportsIndex]) -> list[bytes]:
        """The bytes of images, in the order asked for, with the requests for all of them under way
        at once.
        """
        inode = self._table.inode
        inodes = [inode(self._number(index)) for index in indices]
        return [self._opened.read_whole(one, self.name) for one in self._opened.announced(inodes)]

    def __reduce__(self) -> tuple[Any, ...]:
        """By its tree and name."""
        return operator.getitem, (self.tree, self.name)

    def __repr__(self) -> str:
        return f"<imagenetfs.Split {self.name} of {self._opened.spec.source}>"
