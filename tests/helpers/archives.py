"""Small archives and indexes over them, for the tests of the index and of what stands above it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagenetfs.formats.tar import walk
from imagenetfs.index.archives import OUTER, Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.source.source import Source


def tar_of(members: Mapping[str, bytes] | Sequence[tuple[str, bytes]], mtime: int = 7) -> bytes:
    """A ustar archive; a name that ends in a slash is a directory."""
    pairs = members.items() if isinstance(members, Mapping) else members
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in pairs:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mtime = mtime
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def image(number: int, size: int = 700) -> bytes:
    """Bytes that tell images apart."""
    return (b"image %06d " % number * (size // 8))[:size]


def class_tar(number: int, images: int = 3) -> bytes:
    """A class tar: ``images`` members named as ImageNet's."""
    return tar_of(
        {f"n{number:08d}_{k}.JPEG": image(number * 100 + k, 600 + k) for k in range(images)}
    )


def train_tar(classes: int = 3, images: int = 3) -> bytes:
    """A tar of class tars n00000001.tar and on."""
    return tar_of({f"n{n:08d}.tar": class_tar(n, images) for n in range(1, classes + 1)})


def index_of(directory: Path, *paths: str, **more: Any) -> Index:
    """An index over these archives and directories of ``directory``, in the order given."""
    kinds = {".tar": Kind.TAR, ".zip": Kind.ZIP, ".npz": Kind.NPZ}
    archives = [
        Archive(number, path.encode(), kinds.get(path[-4:], Kind.DIRECTORY))
        for number, path in enumerate(paths)
    ]
    return Index(Source(directory), archives, Arena(len(archives)), **more)


def tar_table(index: Index, archive: int, inner: int = OUTER) -> MemberTable:
    """The table of a tar or a directory, which knows headers and names too."""
    members = index.container(archive, inner).members
    assert isinstance(members, MemberTable)
    return members


def forget_files(source: Source) -> None:
    """Have a source open its files anew, as in a process that has not opened them yet."""
    while source._files:
        source._files.popitem()[1].close()


def close(index: Index) -> None:
    """Close an index's descriptors now."""
    index.source.close()
    index.close()


def contents(index: Index, archive: int, inner: int = -1) -> dict[bytes, bytes]:
    """Name -> bytes of every regular member, read as the table says."""
    container, found = index.container(archive, inner), {}
    for row in container.members.regular().tolist():
        path, offset, size = container.locate(row)
        found[container.members.name(row)] = index.source.open(path).read(offset, size)
    return found


class Scans:
    """A scanner that counts, and may be told to wait or to fail."""

    def __init__(self) -> None:
        self.extents: list[tuple[int, int]] = []
        self.before: Callable[[int], object] = lambda start: None

    def __call__(
        self,
        read_at: walk.ReadAt,
        start: int,
        end: int,
        into: walk.MemberColumns,
        hint: object = None,
    ) -> object:
        self.extents.append((start, end))
        self.before(start)
        return walk.scan(read_at, start, end, into)
