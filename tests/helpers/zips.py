"""Zips of every form: by Python's zipfile, and written here field by field where they are to be
wrong.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Packing = Literal["stored", "deflated", "mixed"]


def zip_of(files: Mapping[str, bytes], packing: Packing = "mixed") -> bytes:
    """A zip of these files; ``mixed``: every second one deflated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, data) in enumerate(files.items()):
            deflated = packing == "deflated" or (packing == "mixed" and number % 2 == 1)
            method = zipfile.ZIP_DEFLATED if deflated and data else zipfile.ZIP_STORED
            archive.writestr(name, data, compress_type=method)
    return buffer.getvalue()


def zip_directory(directory: Path, file: Path, packing: Packing = "mixed", above: str = "") -> None:
    """Zip all files below a directory, in sorted order, entries for directories among them."""
    with zipfile.ZipFile(file, "w") as archive:
        for number, path in enumerate(sorted(directory.rglob("*"))):
            deflated = packing == "deflated" or (packing == "mixed" and number % 2 == 1)
            method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            archive.write(path, above + str(path.relative_to(directory)), compress_type=method)


def contents_of(file: Path | io.BytesIO) -> dict[str, bytes]:
    """Name -> bytes of every file, as Python's zipfile reads them."""
    with zipfile.ZipFile(file) as archive:
        return {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}


def deflate(data: bytes) -> bytes:
    """Raw deflate, as a zip has it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@dataclass
class Member:
    """A member as it is written; what is None is what it ought to be. ``told_*`` are the
    directory's values, ``local_*`` the local header's. ``streamed``: sizes behind the data.
    """

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    packed: bytes | None = None
    told_name: bytes | None = None
    told_crc: int | None = None
    told_size: int | None = None
    told_packed: int | None = None
    told_offset: int | None = None
    told_method: int | None = None
    local_name: bytes | None = None
    local_crc: int | None = None
    local_method: int | None = None
    local_extra: bytes = b""
    extra: bytes = b""
    made: int = 3 << 8
    attributes: int = 0o100644 << 16
    comment: bytes = b""
    disk: int = 0
    streamed: bool = False
    wide: bool = False
    gap: bytes = b""
    stamp: tuple[int, int] = (0, 0x21)
    offset: int = field(default=0, init=False)


def raw_zip(
    members: Iterable[Member],
    *,
    before: bytes = b"",
    comment: bytes = b"",
    zip64: bool = False,
    entries: int | None = None,
    behind: bytes = b"",
    shift: int = 0,
) -> bytes:
    """A zip of these. ``before``: what stands before it, which its offsets do not count.
    ``shift``: added to all offsets, as if so much stood before, which does not.
    """
    every, body = list(members), bytearray()
    for one in every:
        one.offset = len(body)
        body += _local(one)
    start = len(body)
    directory = b"".join(_entry(one, shift) for one in every)
    count = len(every) if entries is None else entries
    end = b""
    if zip64:
        size = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, 0, 0)
        size = size[:40] + struct.pack("<QQ", len(directory), start + shift)
        end = size + struct.pack("<4sLQL", b"PK\6\7", 0, start + shift + len(directory), 1)
        tail = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    else:
        tail = (count & 0xFFFF, count & 0xFFFF, len(directory), (start + shift) & 0xFFFFFFFF)
    end += struct.pack("<4s2H2H2LH", b"PK\5\6", 0, 0, *tail, len(comment)) + comment
    return before + bytes(body) + directory + end + behind


def _local(one: Member) -> bytes:
    packed = _packed(one)
    crc = zlib.crc32(one.data) if one.local_crc is None else one.local_crc
    name = one.name if one.local_name is None else one.local_name
    method = one.method if one.local_method is None else one.local_method
    sizes, extra, behind, flags = (crc, len(packed), len(one.data)), one.local_extra, b"", one.flags
    if one.streamed:
        form = "<4sLQQ" if one.wide else "<4sLLL"
        behind = struct.pack(form, b"PK\7\x08", *sizes)
        sizes, flags = (0, 0, 0), flags | 8
    elif one.wide:
        extra = struct.pack("<HHQQ", 1, 16, len(one.data), len(packed)) + extra
        sizes = (crc, 0xFFFFFFFF, 0xFFFFFFFF)
    time, date = one.stamp
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, time, date, *sizes, 0, 0)
    head = head[:26] + struct.pack("<2H", len(name), len(extra))
    return head + name + extra + packed + behind + one.gap


def _packed(one: Member) -> bytes:
    if one.packed is not None:
        return one.packed
    return deflate(one.data) if one.method == 8 else one.data


def _entry(one: Member, shift: int) -> bytes:
    packed, flags = _packed(one), one.flags | 8 * one.streamed
    crc = zlib.crc32(one.data) if one.told_crc is None else one.told_crc
    sizes = (
        len(packed) if one.told_packed is None else one.told_packed,
        len(one.data) if one.told_size is None else one.told_size,
    )
    offset = (one.offset if one.told_offset is None else one.told_offset) + shift
    method = one.method if one.told_method is None else one.told_method
    name = one.name if one.told_name is None else one.told_name
    extra = one.extra
    if one.wide:
        extra = struct.pack("<HHQQQ", 1, 24, sizes[1], sizes[0], offset) + extra
        sizes, offset = (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF
    lengths = (len(name), len(extra), len(one.comment), one.disk, 0)
    return (
        struct.pack("<4s6H", b"PK\1\2", one.made | 20, 20, flags, method, *one.stamp)
        + struct.pack("<3L5H2L", crc, *sizes, *lengths, one.attributes, offset)
        + name
        + extra
        + one.comment
    )
