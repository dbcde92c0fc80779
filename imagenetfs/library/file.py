"""A file of the tree, open for reading, as Python's own are."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

ReadRange = Callable[[int, int], bytes]
"""``read(offset, length)``: exactly the bytes of that range that lie within the file."""


class RawFile(io.RawIOBase):
    """Positions over a file of ``size`` bytes. Holds no descriptor: closing it costs nothing."""

    def __init__(self, name: str, size: int, read: ReadRange) -> None:
        self.name = name
        self._size = size
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check()
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check()
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        if whence not in origins:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        target = origins[whence] + offset
        if target < 0:
            raise ValueError(f"negative seek position {target}")
        self._at = target
        return target

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as io.pyi has it
        self._check()
        with memoryview(buffer).cast("B") as into:
            data = self._take(len(into))
            into[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """All that is left, in one request."""
        self._check()
        return self._take(self._size)

    def _take(self, length: int) -> bytes:
        wanted = min(length, self._size - self._at)
        if wanted <= 0:
            return b""
        data = self._read(self._at, wanted)
        self._at += len(data)
        return data

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
