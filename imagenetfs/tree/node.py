"""Fixed nodes: directories and small files that are known when the catalogue is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from imagenetfs.tree.dataset import Split


class Contents(Protocol):
    """A file that is made, not stored."""

    def size(self) -> int:
        """Bytes in all."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """The bytes [offset, offset + length), fewer at the end."""
        ...


class GeneratedFile:
    """A small file, made whole when it is first asked for."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._data: bytes | None = None

    def _whole(self) -> bytes:
        if self._data is None:
            self._data = self._make()
        return self._data

    def size(self) -> int:
        return len(self._whole())

    def read(self, offset: int, length: int) -> bytes:
        return self._whole()[offset : offset + length]


@dataclass(slots=True)
class FixedDirectory:
    """Children by name; ``hidden`` ones answer to their name and are not listed."""

    children: dict[bytes, int] = field(default_factory=dict)
    hidden: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class SplitDirectory:
    """The classes of one split; ``number`` is its place in the tree's list of split directories,
    ``hidden`` what answers in it to its name and is not listed, beside images.
    """

    split: Split
    number: int
    hidden: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class FixedFile:
    """A file of generated contents; a ``lazy`` one is sized when it is looked up, not when listed.

    It is made of the source's ``files`` (paths) and of what the archives of ``split`` hold, and so
    it is closed to those to whom any of them is.
    """

    contents: Contents
    lazy: bool = False
    files: tuple[bytes, ...] = ()
    split: Split | None = None


@dataclass(slots=True)
class DynamicFile:
    """A file whose contents change while the mount lives
    (.imagenetfs/status.json); made at open.
    """

    name: str


Node = FixedDirectory | SplitDirectory | FixedFile | DynamicFile
