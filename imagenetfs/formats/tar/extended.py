"""What a tar says of a member in headers before the member's own: pax records, GNU long names.

Sources: POSIX.1-2017, pax, "pax Extended Header" (records ``%d %s=%s\\n``; x for one member, g for
all that follow); the GNU tar manual, "GNU tar and POSIX tar" (K and L); Solaris writes X for x.
Where they meet, the order is GNU tar's: pax records rule over long names, these over the header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import (
    BLOCK,
    DIRECTORY,
    GLOBAL,
    HARD_LINK,
    LONG_LINK,
    LONG_NAME,
    MAX_SIZE,
    PAX,
    name_of,
    number,
    text,
)

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, length)``: the bytes there; fewer than asked only at the end of the file."""

MAX_EXTENDED = 1 << 20
"""Bytes of one extended header that are read at most. A path is 4 KiB long at most; what is
larger is no header, and would let an archive choose how much memory its reader takes."""

_OFFSET, _NUMBYTES = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
_GLOBAL_KEYWORDS = frozenset({b"path", b"linkpath", b"size", b"mtime"})
_KEYWORDS = _GLOBAL_KEYWORDS | {
    b"GNU.sparse." + word
    for word in (b"size", b"realsize", b"name", b"map", b"major", b"minor", b"numblocks")
}

_SECONDS = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?")

Globals = dict[bytes, bytes]
"""pax records of the global headers so far, the four keywords of them that count here."""


@dataclass(slots=True)
class Extended:
    """What the headers before a member's own said. ``first`` is the offset of the first of them."""

    first: int
    long_name: bytes | None = None
    long_link: bytes | None = None
    records: dict[bytes, bytes] = field(default_factory=dict)
    sparse_pairs: list[bytes] = field(default_factory=list)  # offset, length, offset, length

    def get(self, keyword: bytes, overrides: Globals) -> bytes | None:
        """The record's value, or the global one; an empty one takes both away (POSIX)."""
        value = self.records.get(keyword)
        return overrides.get(keyword) if value is None else value or None

    def add(self, flag: bytes, payload: bytes, offset: int) -> None:
        """Take in a header of type ``flag``; a second one of a kind replaces the first."""
        if flag == LONG_NAME:
            self.long_name = text(payload)
        elif flag == LONG_LINK:
            self.long_link = text(payload)
        else:
            self.records, self.sparse_pairs = {}, []
            for keyword, value in records(payload, offset):
                if keyword in _KEYWORDS:
                    self.records[keyword] = value
                elif keyword in (_OFFSET, _NUMBYTES):
                    # The only keywords that repeat, and in turn: GNU's sparse format 0.0.
                    if (keyword == _NUMBYTES) != len(self.sparse_pairs) % 2:
                        raise ArchiveError("sparse map with offset and length out of turn", offset)
                    self.sparse_pairs.append(value)


def is_extended(flag: bytes) -> bool:
    """Whether a header of this type speaks of the member behind it."""
    return flag in (LONG_NAME, LONG_LINK) or flag in PAX or flag == GLOBAL


def payload_of(
    read_at: ReadAt, offset: int, end: int, block: bytes, ahead: int = 0
) -> tuple[bytes, bytes, int]:
    """The data of the extended header at ``offset``, the bytes behind it, and their offset.

    ``ahead`` bytes behind it come with the same read, fewer where the archive ends.
    """
    size = size_of(block, offset)
    if size > MAX_EXTENDED:
        raise ArchiveError(f"extended header of {size:,} bytes, over {MAX_EXTENDED:,}", offset)
    data = offset + BLOCK
    padded = size + (-size % BLOCK)
    length = max(0, min(padded + ahead, end - data))
    raw = read_at(data, length) if length else b""
    if len(raw) < size:
        raise ArchiveError("cut off within an extended header", offset)
    return raw[:size], raw[padded:], data + padded


def size_of(block: bytes, offset: int) -> int:
    """The size field of the header at ``offset``, bytes."""
    try:
        size = number(block[124:136])
    except ValueError:
        raise ArchiveError("header whose size is no number", offset) from None
    if not 0 <= size <= MAX_SIZE:
        raise ArchiveError("header with an impossible size", offset)
    return size


def update_globals(overrides: Globals, payload: bytes, offset: int) -> None:
    """Lay the records of a global header over the earlier ones; an empty value takes one away."""
    for keyword, value in records(payload, offset):
        if keyword in _GLOBAL_KEYWORDS:
            if value:
                overrides[keyword] = value
            else:
                overrides.pop(keyword, None)


def records(payload: bytes, offset: int) -> Iterator[tuple[bytes, bytes]]:
    """The (keyword, value) records of a pax header; a NUL where one would begin ends them."""
    position = 0
    while position < len(payload) and payload[position]:
        blank = payload.find(b" ", position, position + 20)
        if blank < 0 or not payload[position:blank].isdigit():
            raise ArchiveError("pax record without a length", offset)
        behind = position + int(payload[position:blank])
        equals = payload.find(b"=", blank, behind)
        if behind > len(payload) or equals < 0 or payload[behind - 1] != 0x0A:
            raise ArchiveError("pax record that is not of the form 'length keyword=value'", offset)
        yield payload[blank + 1 : equals], payload[equals + 1 : behind - 1]
        position = behind


def decimal(value: bytes, what: str, offset: int) -> int:
    """A decimal number of a pax record or a sparse map, 0 to 2**63 - 1."""
    if value.isdigit() and len(value) < 20 and int(value) <= MAX_SIZE:
        return int(value)
    raise ArchiveError(f"{what} that is no number", offset)


# --- a member's properties: its pax records, else its long names, else its own header -------------


def name(block: bytes, extended: Extended, overrides: Globals) -> bytes:
    """The member's full path. A sparse member's records keep the true one apart: path holds a
    made-up name there, for readers that know nothing of sparse members."""
    path = extended.records.get(b"GNU.sparse.name") or extended.get(b"path", overrides)
    if path is not None:
        return text(path)
    return name_of(block) if extended.long_name is None else extended.long_name


def link(block: bytes, extended: Extended, overrides: Globals) -> bytes:
    """The target of a symbolic link, or the name of the member that a hard link links to."""
    path = extended.get(b"linkpath", overrides)
    if path is not None:
        return text(path)
    return text(block[157:257]) if extended.long_link is None else extended.long_link


def stored_size(block: bytes, header: int, extended: Extended, overrides: Globals) -> int:
    """Bytes of data that stand behind the member's header, without padding.

    A directory's size field is no size of data (POSIX); a hard link's is not believed, but a pax
    size for one is (GNU tar).
    """
    flag = block[156:157]
    record = extended.get(b"size", overrides)
    if record is not None:
        size = decimal(record, "pax size", extended.first)
    else:
        size = 0 if flag == HARD_LINK else size_of(block, header)
    return 0 if flag == DIRECTORY else size


def mtime(block: bytes, extended: Extended, overrides: Globals) -> int:
    """Nanoseconds since the epoch, held within 64 bits; 0 where there is no number.

    What goes beyond nanoseconds is cut off towards the past, as GNU tar does.
    """
    match = _SECONDS.fullmatch(extended.get(b"mtime", overrides) or b"")
    if match is None:
        try:
            nanoseconds = number(block[136:148]) * 10**9
        except ValueError:
            return 0
    else:
        sign, seconds, fraction = match[1], match[2], match[3] or b""
        nanoseconds = int(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0"))
        if sign:
            nanoseconds = -nanoseconds - any(fraction[9:].strip(b"0"))
    return max(-MAX_SIZE, min(MAX_SIZE, nanoseconds))
