"""Bytes kept in the page cache while something is measured.

A file is mapped and every page touched: some systems (virtual machines that give memory back, for one)
take away within a minute what is merely cached, and leave what a process has mapped.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

_PAGE = mmap.PAGESIZE
_BUFFER = bytearray(1 << 20)


@contextlib.contextmanager
def in_page_cache(path: Path | None) -> Iterator[None]:
    """Bring a file into the page cache and hold it there; the files of a tree are only read once."""
    if path is None or not path.exists():
        yield
    elif path.is_dir():
        _read_all(path)
        yield
    else:
        with path.open("rb") as file, contextlib.closing(_mapped(file.fileno())):
            yield


def _read_all(tree: Path) -> None:
    for file in tree.rglob("*"):
        if file.is_file():
            with file.open("rb", buffering=0) as stream:
                while stream.readinto(_BUFFER):
                    pass


def _mapped(fd: int) -> mmap.mmap:
    """The file mapped, with every page that is no hole touched."""
    status = os.fstat(fd)
    sparse = status.st_blocks * 512 < status.st_size // 2
    flags = mmap.MAP_SHARED | (0 if sparse else mmap.MAP_POPULATE)
    mapping = mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ)
    if sparse:
        # Readahead would fill the memory with zeros.
        mapping.madvise(mmap.MADV_RANDOM)
        for page in _pages_with_data(fd, status.st_size):
            mapping[page]
    return mapping


def _pages_with_data(fd: int, size: int) -> Iterator[int]:
    """Where the pages of a sparse file begin that are no holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole follows
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield from range(start, end, _PAGE)
