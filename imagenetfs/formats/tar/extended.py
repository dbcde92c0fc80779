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
    GLOBAL,
    LONG_LINK,
    LONG_NAME,
    MAX_SIZE,
    PAX,
    CutOffError,
    name_of,
    number,
    text,
)

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, length)``: the bytes there; fewer than asked only at the end of the file."""

Complain = Callable[[str, int], None]
"""``complain(reason, offset)``: something at ``offset`` is out of form and not needed: the reader
goes on."""

MAX_EXTENDED = 1 << 20
"""Bytes of one extended header that are read in one go. Of a larger one the records that are not
needed, which may be of any length (an extended attribute's value), are stepped over unread."""

PATH_MAX = 4096
"""Bytes of a path with its NUL (limits.h). Longer names are kept just long enough to be known as
such."""

_WINDOW = 64 << 10  # bytes of a read within a large header
_HEAD = 256  # bytes in which a record's length and any keyword that is needed stand

_OFFSET, _NUMBYTES = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
_GLOBAL_KEYWORDS = frozenset({b"path", b"linkpath", b"size", b"mtime"})
_KEYWORDS = _GLOBAL_KEYWORDS | {
    b"GNU.sparse." + word
    for word in (b"size", b"realsize", b"name", b"map", b"major", b"minor", b"numblocks")
}

_SECONDS = re.compile(rb"(-?)0*([0-9]{1,19})(?![0-9])(?:\.([0-9]*))?")
_LENGTH = re.compile(rb"[ \t]*0*([0-9]{1,18})[ \t]+")
_BLANKS = re.compile(rb"[ \t]*")

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
    out_of_turn: bool = False  # those pairs are not offset, length, offset, length

    def get(self, keyword: bytes, overrides: Globals) -> bytes | None:
        """The record's value, or the global one; an empty one takes both away (POSIX)."""
        value = self.records.get(keyword)
        return overrides.get(keyword) if value is None else value or None

    def add(self, flag: bytes, payload: bytes, offset: int, complain: Complain) -> None:
        """Take in a header of type ``flag``; a second one of a kind replaces the first."""
        if flag == LONG_NAME:
            self.long_name = text(payload)
        elif flag == LONG_LINK:
            self.long_link = text(payload)
        else:
            self.records, self.sparse_pairs, self.out_of_turn = {}, [], False
            for keyword, value in records(payload, offset, complain):
                if keyword in _KEYWORDS:
                    self.records[keyword] = value
                elif keyword in (_OFFSET, _NUMBYTES):
                    # The only keywords that repeat, and in turn: GNU's sparse format 0.0.
                    self.out_of_turn |= (keyword == _NUMBYTES) != len(self.sparse_pairs) % 2
                    self.sparse_pairs.append(value)


def is_extended(flag: bytes) -> bool:
    """Whether a header of this type speaks of the member behind it."""
    return flag in (LONG_NAME, LONG_LINK) or flag in PAX or flag == GLOBAL


def payload_of(
    read_at: ReadAt, offset: int, end: int, block: bytes, ahead: int = 0
) -> tuple[bytes, bytes, int]:
    """The data of the extended header at ``offset``, the bytes behind it, and their offset.

    ``ahead`` bytes behind it come with the same read, fewer where the archive ends. Of a large
    header only what is needed is returned. Raises CutOffError where the archive ends within.
    """
    size = size_of(block, offset)
    data = offset + BLOCK
    padded = size + (-size % BLOCK)
    if data + size > end:
        raise _cut_off(offset)
    if size > MAX_EXTENDED:
        payload = _needed_of(read_at, data, size, block[156:157], offset)
        length = max(0, min(ahead, end - data - padded))
        return payload, read_at(data + padded, length) if length else b"", data + padded
    length = max(0, min(padded + ahead, end - data))
    raw = read_at(data, length) if length else b""
    if len(raw) < size:
        raise _cut_off(offset)
    return raw[:size], raw[padded:], data + padded


def _cut_off(offset: int) -> CutOffError:
    return CutOffError("cut off within an extended header", offset)


def _needed_of(read_at: ReadAt, data: int, size: int, flag: bytes, offset: int) -> bytes:
    """A large header's data without the pax records that are not needed; of a long name as much as
    tells that it is too long."""
    start, window = data, b""

    def read(position: int, length: int) -> bytes:
        nonlocal start, window
        at = data + position - start
        if not 0 <= at <= at + length <= len(window):
            start, at = data + position, 0
            window = read_at(start, min(max(length, _WINDOW), size - position))
            if len(window) < length:
                raise _cut_off(offset)
        return window[at : at + length]

    if flag in (LONG_NAME, LONG_LINK):
        return read(0, PATH_MAX)
    kept, position = bytearray(), 0
    while position < size:
        head = read(position, min(_HEAD, size - position))
        match = _LENGTH.match(head)
        length = int(match[1]) if match is not None else 0
        if match is None or not match.end() < length <= size - position:
            kept += head  # the caller that parses the records sees what is wrong with it
            break
        keyword = head[match.end() :].partition(b"=")[0]
        if keyword in _KEYWORDS or keyword in (_OFFSET, _NUMBYTES):
            kept += _shortened(read, position, length, match.end() + len(keyword) + 1)
        position += length
    return bytes(kept)


def _shortened(read: ReadAt, position: int, length: int, value: int) -> bytes:
    """The record at ``position``, whose value begins ``value`` bytes on. What takes more than a
    header of the usual size makes no sense, and is kept only so long that this can be told."""
    if length <= MAX_EXTENDED:
        return read(position, length)
    head = read(position, value + PATH_MAX)
    text_behind = _LENGTH.sub(b"", head, count=1) + b"\n"
    digits = next(n for n in range(1, 9) if len(str(len(text_behind) + 1 + n)) == n)
    return b"%d " % (len(text_behind) + 1 + digits) + text_behind


def size_of(block: bytes, offset: int) -> int:
    """The size field of the header at ``offset``, bytes."""
    try:
        size = number(block[124:136])
    except ValueError:
        raise ArchiveError("header whose size is no number", offset) from None
    if not 0 <= size <= MAX_SIZE:
        raise ArchiveError("header with an impossible size", offset)
    return size


def update_globals(overrides: Globals, payload: bytes, offset: int, complain: Complain) -> None:
    """Lay the records of a global header over the earlier ones; an empty value takes one away."""
    for keyword, value in records(payload, offset, complain):
        if keyword in _GLOBAL_KEYWORDS:
            if value:
                overrides[keyword] = value
            else:
                overrides.pop(keyword, None)


def records(payload: bytes, offset: int, complain: Complain) -> Iterator[tuple[bytes, bytes]]:
    """The (keyword, value) records of a pax header; a NUL where one would begin ends them, and so
    does, as in GNU tar, one that is out of form."""
    position = 0
    while position < len(payload):
        blanks = _BLANKS.match(payload, position)
        first = blanks.end() if blanks is not None else position
        if first == len(payload) or not payload[first]:
            return
        length = _LENGTH.match(payload, position)
        if length is None:
            complain("pax record without a length", offset)
            return
        behind = position + int(length[1])
        equals = payload.find(b"=", length.end(), behind)
        if behind > len(payload) or equals < 0 or payload[behind - 1] != 0x0A:
            complain("pax record that is not of the form 'length keyword=value'", offset)
            return
        yield payload[length.end() : equals], payload[equals + 1 : behind - 1]
        position = behind


def decimal(value: bytes, what: str, offset: int) -> int:
    """A decimal number of a pax record or a sparse map, 0 to 2**63 - 1."""
    digits = value.lstrip(b"0") or value[-1:]
    if value.isdigit() and len(digits) < 20 and int(digits) <= MAX_SIZE:
        return int(digits)
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


def pax_size(extended: Extended, overrides: Globals, complain: Complain) -> int | None:
    """The size that the pax records say; None where they say none that is a number."""
    record = extended.get(b"size", overrides)
    if record is None:
        return None
    try:
        return decimal(record, "pax size", extended.first)
    except ArchiveError as error:
        complain(error.reason, error.offset)
        return None


def mtime(block: bytes, extended: Extended, overrides: Globals) -> int:
    """Nanoseconds since the epoch, held within 64 bits; 0 where there is no number.

    What goes beyond nanoseconds is cut off towards the past, as GNU tar does; what stands behind
    the number does not count.
    """
    match = _SECONDS.match(extended.get(b"mtime", overrides) or b"")
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
