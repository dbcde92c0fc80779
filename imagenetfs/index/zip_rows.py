"""The members of a zip as rows of a table, from its central directory alone.

Its local headers are looked at when the members are first read
(:mod:`imagenetfs.index.header_match`), but for a few that tell where data begin.
"""

from __future__ import annotations

import contextlib
import stat
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.zip.directory import DEFLATED, Array, ZipMembers, read_directory
from imagenetfs.formats.zip.inflate import inflate
from imagenetfs.formats.zip.places import REASONS, Refusal, find_places
from imagenetfs.index.extraction import MemberRows
from imagenetfs.index.fingerprint import ReadAt, sample_crc, tail_crc
from imagenetfs.index.names import PATH_MAX
from imagenetfs.source.file import SourceFile

_WINDOW = 512
_FILE = stat.S_IFREG | 0o644
_DIRECTORY = stat.S_IFDIR | 0o755
_UNIX = (3, 19)
"""Systems (APPNOTE 4.4.2.2) that leave a mode in the attributes: Unix, and the Mac's."""

_DOS = (0, 10, 14)
_DOS_DIRECTORY = 0x10


def read_zip(
    file: SourceFile, start: int, end: int, samples: int
) -> tuple[MemberRows, dict[str, Any]]:
    """The members of the zip in bytes [start, end) of a file, and the meta data by which it is
    known again. Raises SourceReadError; what is wrong with the zip is ``meta["problem"]``.
    """
    meta: dict[str, Any] = {"file": file.size}
    try:
        members = read_directory(file.read_up_to, start, end)
    except ArchiveError as error:
        return MemberRows(), meta | _sample(file, start, end, samples) | {"problem": error.reason}
    if members.problems:
        meta["problem"] = "; ".join(members.problems)
    rows = _rows(file.read_up_to, members)
    return rows, meta | _sample(file, members.end, end, samples)


def _sample(file: SourceFile, start: int, end: int, samples: int) -> dict[str, Any]:
    """Windows across the central directory, which has every member's checksum, and its end."""
    last = end - _WINDOW
    if last < 0:
        return {"sample": tail_crc(file.read, file.size)}
    first = min(start, last)
    at = sorted({first + (last - first) * step // (samples - 1) for step in range(samples)})
    return {"at": at, "sample": sample_crc(file.read, at)}


def _rows(read_at: ReadAt, members: ZipMembers) -> MemberRows:
    places = find_places(read_at, members)
    modes = _modes(members)
    is_file = modes & 0o170000 == stat.S_IFREG
    refused = np.flatnonzero(places.refusals).tolist()
    rows = MemberRows(
        _names(members),
        members.headers.tolist(),
        places.offsets.tolist(),
        np.where(is_file, members.sizes, 0).tolist(),
        members.mtimes_ns.tolist(),
        modes.tolist(),
        packed=np.where(is_file & (members.methods == DEFLATED), members.packed, 0).tolist(),
        sums=members.crcs.tolist(),
        refused={row: REASONS[Refusal(int(places.refusals[row]))] for row in refused},
    )
    links = np.flatnonzero(modes & 0o170000 == stat.S_IFLNK).tolist()
    rows.links.update({row: _target(read_at, members, rows, row) for row in links})
    return rows


def _names(members: ZipMembers) -> list[bytes]:
    """As they stand there; parts that a program of Windows has put ``\\`` between by ``/``."""
    names = members.names
    rows = [row for row in members.with_byte(b"\\") if members.made[row] >> 8 in _DOS]
    if rows:
        names = list(names)
    for row in rows:
        if b"/" not in names[row]:
            names[row] = names[row].replace(b"\\", b"/")
    return names


def _modes(members: ZipMembers) -> Array:
    """Of each member; there are few kinds."""
    slash = members.directories()
    for row in members.with_byte(b"\\"):
        slash[row] |= members.names[row].endswith(b"\\") and members.made[row] >> 8 in _DOS
    keys = members.attributes << 9 | (members.made >> 8) << 1 | slash
    kinds, which = np.unique(keys, return_inverse=True)
    known = [_mode(kind >> 1 & 0xFF, kind >> 9, bool(kind & 1)) for kind in kinds.tolist()]
    return np.array(known, dtype=np.int64)[which]


def _mode(system: int, attributes: int, ends_in_slash: bool) -> int:
    mode = attributes >> 16 if system in _UNIX else 0
    if ends_in_slash or stat.S_ISDIR(mode) or (not mode and attributes & _DOS_DIRECTORY):
        return stat.S_IFDIR | (stat.S_IMODE(mode) or stat.S_IMODE(_DIRECTORY))
    if stat.S_ISLNK(mode):
        return mode
    return stat.S_IFREG | (stat.S_IMODE(mode) or stat.S_IMODE(_FILE))


def _target(read_at: ReadAt, members: ZipMembers, rows: MemberRows, row: int) -> bytes:
    """A symbolic link's target is the member's content; b"" where it cannot be known."""
    length, size = int(members.packed[row]), int(members.sizes[row])
    if row in rows.refused or max(length, size) >= PATH_MAX:
        return b""
    target = read_at(rows.offsets[row], length)
    if members.methods[row] == DEFLATED:
        with contextlib.suppress(ArchiveError):
            return inflate(target, size, int(members.crcs[row]))
        return b""
    return target
