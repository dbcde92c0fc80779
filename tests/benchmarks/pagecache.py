"""Memory as it should be while something is measured: what is read is cached,
what is filled is there.

A file is mapped and every page touched: some systems (virtual machines that give memory back,
for one) take away within a minute what is merely cached, and leave what a process has mapped.
The same machines give free memory back to their host, and the first touch of a page then
costs more than copying it does: whoever fills a page cache is to find pages that are really
there (:func:`free_pages`).
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
    """Bring a file into the page cache and hold it there; the files of a
    tree are only read once.
    """
    if path is None or not path.exists():
        yield
    elif path.is_dir():
        _read_all(path)
        yield
    else:
        with path.open("rb") as file, contextlib.closing(_mapped(file.fileno())):
            yield


def free_pages(size: int) -> None:
    """See that ``size`` bytes of the free memory are backed by real pages: a
    process takes them and ends.
    """
    pid = os.fork()
    if not pid:
        try:
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


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
