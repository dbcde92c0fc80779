"""Splits of which nothing can be shown, for what they would be read from is broken or may not be
read: their directories are there, and whatever is asked of them fails with the reason.

Not absent, for a program may take what is absent for not needed; nor empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from imagenetfs.errors import ImagenetfsError
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.left_out import LeftOut


class LostSplit:
    """A :class:`imagenetfs.tree.split_backend.SplitBackend` without classes; ``error``: why."""

    def __init__(self, error: ImagenetfsError) -> None:
        self.error = error
        self.classes: Sequence[bytes] = ()
        self.archives: Sequence[int] = ()

    def listing(self, number: int) -> NoReturn:
        raise self.error

    def places(self, number: int) -> Sequence[Place]:
        return ()

    def directories(self, archive: int) -> Sequence[bytes]:
        return ()

    def find_anywhere(self, name: bytes) -> NoReturn:
        raise self.error

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        return None

    def class_of_name(self, name: bytes) -> NoReturn:
        raise self.error

    def mtime_ns(self, number: int) -> int | None:
        return None

    def left_out(self) -> LeftOut:
        return LeftOut()

    def problems(self) -> Sequence[str]:
        return (str(self.error),)

    def doubts(self) -> Sequence[str]:
        return ()
