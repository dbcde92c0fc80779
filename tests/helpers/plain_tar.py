"""Plain tars, written by Python's own writer, whose members' places are known."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable

BLOCK = 512
END = bytes(2 * BLOCK)


def header_of(name: str, size: int = 0, mtime: int = 7, kind: bytes = tarfile.REGTYPE) -> bytes:
    """One ustar header block."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.type = size, mtime, kind
    block = info.tobuf(tarfile.USTAR_FORMAT)
    assert len(block) == BLOCK
    return block


def pad(data: bytes) -> bytes:
    """Filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def tar_of_sizes(sizes: Iterable[int], content: bytes = b"\xff") -> tuple[bytes, list[int]]:
    """A tar of members 0, 1, ... of these sizes, which hold ``content`` again and again; and where
    their headers stand."""
    archive, headers = bytearray(), list[int]()
    for number, size in enumerate(sizes):
        headers.append(len(archive))
        archive += header_of(str(number), size)
        archive += pad((content * (size // len(content) + 1))[:size])
    return bytes(archive + END), headers
