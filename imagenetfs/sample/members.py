"""Files of the miniature: written loose, or as members of a tar, with the same content and times.

Tars are written by the standard library's tarfile, so that nothing here can repeat a mistake of
the project's own reader.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

# Times (s since the epoch) around which the files of each release are dated.
JUNE_2012 = 1_339_459_200
OCTOBER_2019 = 1_570_665_600
WINTER_2021 = 1_611_187_200
DAY = 86_400

_MODES = (0o644, 0o644, 0o664, 0o444, 0o755)
_OWNERS = ((0, 0, "root", "root"), (1000, 1000, "imagenet", "imagenet"), (20_241, 3012, "", ""))

Owner = tuple[int, int, str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """One file: ``mtime`` in seconds, with a fraction only where a pax header is to carry it."""

    name: str
    data: bytes
    mtime: float
    mode: int = 0o644
    owner: Owner = _OWNERS[0]


def member(name: str, data: bytes, rng: np.random.Generator, around: int = JUNE_2012) -> Member:
    """A member with a plausible time within ten days, and one of a few modes and owners."""
    return Member(
        name,
        data,
        mtime=around + int(rng.integers(0, 10 * DAY)),
        mode=_MODES[int(rng.integers(len(_MODES)))],
        owner=_OWNERS[int(rng.integers(len(_OWNERS)))],
    )


def tar_bytes(
    members: Iterable[Member], form: int = tarfile.GNU_FORMAT, *, padded: bool = True
) -> bytes:
    """A tar in tarfile's ``form``. Unpadded it ends right after its two zero blocks, as some
    writers leave it; padded it is a multiple of 10,240 bytes, as GNU tar makes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for each in members:
            add(archive, each)
        end = archive.offset
    whole = out.getvalue()
    return whole if padded else whole[: end + 2 * tarfile.BLOCKSIZE]


def open_tar(path: Path, form: int = tarfile.GNU_FORMAT) -> tarfile.TarFile:
    """A new tar file, for add(); close it by ``with``."""
    return tarfile.open(path, mode="w", format=form)


def add(archive: tarfile.TarFile, each: Member) -> None:
    """Append one regular file."""
    archive.addfile(_info(each), io.BytesIO(each.data))


def add_directory(archive: tarfile.TarFile, name: str, mtime: int) -> None:
    """Append an entry for a directory, without content."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, mtime
    archive.addfile(info)


def _info(each: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(each.name)
    info.size, info.mode = len(each.data), each.mode
    info.mtime = each.mtime if each.mtime % 1 else int(each.mtime)
    info.uid, info.gid, info.uname, info.gname = each.owner
    return info


def write_loose(directory: Path, members: Iterable[Member]) -> None:
    """Write the members as files below ``directory``, as ``tar -xp`` by a user would."""
    directory.mkdir(parents=True, exist_ok=True)
    for each in members:
        write_file(directory / each.name, each.data, each.mtime, each.mode)


def write_file(path: Path, data: bytes, mtime: float = JUNE_2012, mode: int = 0o644) -> None:
    """Write one file with this time (s) and mode, making its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    stamp(path, mtime, mode)


def stamp(path: Path, mtime: float, mode: int = 0o644) -> None:
    """Set mode, and access and modification time (s): nothing may depend on umask or clock."""
    path.chmod(mode)
    nanoseconds = int(mtime * 4) * 250_000_000  # quarters of a second are exact in a float
    os.utime(path, ns=(nanoseconds, nanoseconds))


def read_loose(directory: Path) -> list[tuple[str, bytes]]:
    """Name and content of every file right in this directory, sorted by name."""
    return [(path.name, path.read_bytes()) for path in sorted(directory.iterdir())]


def at(each: Member, mtime: float) -> Member:
    """The same file with another time (s)."""
    return replace(each, mtime=mtime)


def renamed(each: Member, name: str) -> Member:
    """The same file by another name."""
    return replace(each, name=name)
