"""One 512-byte tar header block: its checksum, its numbers, its kind.

Sources: POSIX.1-2017, pax, "ustar Interchange Format"; the GNU tar manual, "Basic Tar Format".
Where writers strayed from both, this reads what GNU tar reads. No I/O here.
"""

from __future__ import annotations

import re
import stat
import zlib
from functools import lru_cache

from imagenetfs.errors import ArchiveError

BLOCK = 512
"""Bytes of a header block, and the unit to which data is padded."""

MAX_SIZE = 2**63 - 1
"""No size or offset may be larger: off_t is 64 bits, and signed."""

REGULAR = (b"0", b"\0")
GLOBAL = b"g"
DIRECTORY = b"5"
HARD_LINK = b"1"
SYMLINK = b"2"
OLD_SPARSE = b"S"
_GNU_MAGIC = b"ustar  \0"
# The next file's name and link target (GNU), and its pax records (POSIX, and Solaris).
LONG_NAME, LONG_LINK = b"L", b"K"
PAX = (b"x", b"X")
# A volume's label, and the rest of a file that began on another volume. GNU tar extracts neither.
NOT_A_FILE = (b"V", b"M")

_KINDS = {
    SYMLINK: stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    DIRECTORY: stat.S_IFDIR,
    b"6": stat.S_IFIFO,
    b"D": stat.S_IFDIR,  # GNU incremental: a directory, with the list of its files as data
}

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"LZIP": "lzip",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}

# Leading blanks, octal digits, then nothing more but behind a NUL or a blank. One leading NUL
# comes from a writer whose previous field overflowed; digits may be missing (NULs alone are 0),
# but a field of nothing but blanks is no number.
_OCTAL = re.compile(rb"\0?+[ \t-\r]*(?:([0-7]+)|(?=\0))(?:[\0 \t-\r].*)?", re.DOTALL)

_ASCII = bytes(range(128))


class CutOffError(ArchiveError):
    """The archive ends within what stands here: there is nothing behind it that could be sound."""


def is_web_page(block: bytes) -> bool:
    """Whether bytes begin as HTML or XML do: what a server sends in place of an archive."""
    return block.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def number(field: bytes) -> int:
    """The number in a header field: octal digits, or GNU's base-256. ValueError for any other."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    return _octal(field)


def _octal(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise ValueError("no octal number")
    return int(match[1] or b"0", 8)


def text(field: bytes) -> bytes:
    """A name field's bytes up to its first NUL, if it has one."""
    return field.split(b"\0", 1)[0]


@lru_cache(maxsize=4096)
def ascii_adler(checksum_field: bytes) -> int:
    """The low half of the adler32 that a sound block of ASCII bytes with this checksum field has.

    The low half is 1 + the sum of all bytes, modulo 65521. 512 ASCII bytes sum to at most 65,024,
    so for them it is exact, signed and unsigned sum are one, and zlib computes it 20 times
    faster than sum(). -1, which no block has, if the field holds no number.
    """
    try:
        recorded = _octal(checksum_field)
    except ValueError:
        return -1
    return 1 + recorded - 8 * 32 + sum(checksum_field)


def is_sound(block: bytes) -> bool:
    """Whether these 512 bytes bear their own checksum: the sum of all bytes, those of the field
    itself counted as blanks. Some old writers summed signed bytes; both are right."""
    field = block[148:156]
    expected = ascii_adler(field)
    if block.isascii():
        return zlib.adler32(block) & 0xFFFF == expected
    total = sum(block) + 1
    # As a signed byte, each from 128 up counts 256 less; those of the field itself never count.
    high = len(block[:148].translate(None, _ASCII)) + len(block[156:].translate(None, _ASCII))
    return expected >= 0 and expected in (total, total - 256 * high)


def compression_of(block: bytes) -> str | None:
    """The program that made a file beginning like this, where it is a compressing one."""
    return next((name for magic, name in _COMPRESSED.items() if block.startswith(magic)), None)


def is_old_sparse(block: bytes) -> bool:
    """Whether a header has GNU's sparse map in it: of type S, and with GNU's own magic. star and
    others have used the letter for something else."""
    return block[156:157] == OLD_SPARSE and block[257:265] == _GNU_MAGIC


def has_data(block: bytes, mode: int) -> bool:
    """Whether data of the size that is said stands behind the header of a member that is no hard
    link.

    Links, devices and FIFOs have none, whatever their size field says (POSIX; old writers put the
    length of a link's target there), nor have directories, those of version 7 included; a dumpdir's
    list is data.
    """
    if stat.S_ISDIR(mode):
        return block[156:157] not in (DIRECTORY, b"7", *REGULAR)
    return stat.S_ISREG(mode)


def mode_of(block: bytes, name: bytes) -> int:
    """st_mode of the member: the kind from its type flag, and the header's twelve low bits.

    An unknown type is a regular file, as POSIX has it. A regular file whose name ends in a slash
    is a directory: version 7 had no other way to say so. A mode that is no number counts as 0.
    """
    flag = block[156:157]
    kind = _KINDS.get(flag, stat.S_IFREG)
    if kind == stat.S_IFREG and flag not in (HARD_LINK, OLD_SPARSE) and name.endswith(b"/"):
        kind = stat.S_IFDIR
    try:
        return kind | number(block[100:108]) & 0o7777
    except ValueError:
        return kind


def name_of(block: bytes) -> bytes:
    """The name in the header itself. Only POSIX's own magic makes bytes 345 to 499 a prefix."""
    name = text(block[:100])
    if block[345] and block[257:263] == b"ustar\0":
        return text(block[345:500]) + b"/" + name
    return name
