"""Tars as the standard library reads them: header and content of each member."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

Members = dict[str, tuple[tarfile.TarInfo, bytes]]
"""Name -> header and content of every regular file of a tar, in its order."""


def members_of(path: Path) -> Members:
    """The regular files of a tar."""
    with tarfile.open(path) as archive:
        return read_members(archive)


def read_members(archive: tarfile.TarFile) -> Members:
    """The regular files of an open tar."""
    found = {}
    for info in archive:
        if info.isfile():
            file = archive.extractfile(info)
            assert file is not None
            found[info.name] = (info, file.read())
    return found


def class_tars(path: Path) -> Iterator[tuple[str, bytes, Members]]:
    """wnid, bytes and members of every class tar of a tar of tars."""
    for name, (_, data) in members_of(path).items():
        with tarfile.open(fileobj=io.BytesIO(data)) as inner:
            yield name.removesuffix(".tar"), data, read_members(inner)


def loose(directory: Path) -> dict[str, bytes]:
    """Name -> content of every file right in a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}
