"""Samples and targets as sequences over arrays.

A list of a million tuples is a million objects with reference counts. Each worker process that
looks at them writes to them, and so comes to have a copy of all of them. An array has one count.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]


class Paths(Protocol):
    """Where samples stand."""

    def path(self, number: int, /) -> str:
        """The path of a sample by its number."""
        ...


class DirectoryPaths:
    """The files of a directory of classes, a class after the other: their names below the class's
    directory in one piece each.
    """

    def __init__(self, root: str, classes: Sequence[str], names: Iterable[Sequence[str]]) -> None:
        """``names``: for each class, those of its files, in order."""
        self._directories = [f"{root.rstrip('/')}/{name}/" for name in classes]
        blobs: list[bytes] = []
        ends: list[NDArray[np.int64]] = []
        counts: list[int] = []
        for of_class in names:
            encoded = [os.fsencode(name) for name in of_class]
            blobs.append(b"".join(encoded))
            lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
            ends.append(np.cumsum(lengths))
            counts.append(len(encoded))
        self._blobs = blobs
        self._ends = np.concatenate(ends or [np.zeros(0, dtype=np.int64)]).astype(np.uint32)
        self.labels: Labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def path(self, number: int) -> str:
        """See :class:`Paths`."""
        label = int(self.labels[number])
        start = int(self._ends[number - 1]) if number > self._firsts[label] else 0
        name = self._blobs[label][start : int(self._ends[number])]
        return self._directories[label] + os.fsdecode(name)


class ChosenPaths:
    """Some samples of others."""

    def __init__(self, paths: Paths, numbers: NDArray[np.int64]) -> None:
        self._paths = paths
        self._numbers = numbers

    def path(self, number: int) -> str:
        """See :class:`Paths`."""
        return self._paths.path(int(self._numbers[number]))


class Targets(Sequence[int]):
    """The labels of samples, as a list of them behaves; numpy and torch have the array itself."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> int | list[int]:
        if isinstance(index, slice):
            found: list[int] = self._labels[index].tolist()
            return found
        return int(self._labels[operator.index(index)])

    def __iter__(self) -> Iterator[int]:
        return iter(self._labels.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._labels, dtype=dtype)

    def __repr__(self) -> str:
        return _shown("Targets", self)


class Samples(Sequence[tuple[str, int]]):
    """(path, label) of each sample, as a list of them behaves."""

    def __init__(self, paths: Paths, labels: Labels) -> None:
        self._paths = paths
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[str, int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, int]]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> tuple[str, int] | list[tuple[str, int]]:
        if isinstance(index, slice):
            return [self._at(number) for number in range(*index.indices(len(self)))]
        number, count = operator.index(index), len(self)
        if not -count <= number < count:
            raise IndexError("sample index out of range")
        return self._at(number % count)

    def _at(self, number: int) -> tuple[str, int]:
        return self._paths.path(number), int(self._labels[number])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return _shown("Samples", self)


def _shown(name: str, values: Sequence[object]) -> str:
    first = ", ".join(map(repr, islice(values, 3)))
    more = ", ..." if len(values) > 3 else ""
    return f"{name}([{first}{more}], {len(values):,} in all)"
