"""Headers of plain members, many at a time.

Nearly all members of nearly all archives are plain: regular files whose headers differ in nothing
but name, mode, owner, size, time and checksum. A walk collects those; here they are checked and
taken apart together, which costs a tenth of doing so one by one. What this accepts, the careful way
would have read alike; what it does not accept, the careful way decides on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imagenetfs.formats.tar.header import BLOCK, REGULAR, is_sound, mode_of, text

Array = npt.NDArray[Any]

# A header's first 156 bytes are 39 words; in a little-endian one the first byte is the lowest.
_WORDS = 39
_MODE, _SIZE, _MTIME, _CHECKSUM = 100 // 4, 124 // 4, 136 // 4, 148 // 4
_BYTES = np.uint32(0x00FF00FF)
_ODD_BITS = np.uint64(0xF8F8F8F8F8F8F8F8)  # none of these differs from b"0"'s in an octal digit
_ZEROS = np.uint64(0x3030303030303030)
# What shorter numbers begin with, to have eight digits.
_TWO_ZEROS, _FIVE_ZEROS = np.uint64(0x3030), np.uint64(0x3030303030)
_BLANKS = 8 * 32  # what the checksum field itself counts


def rest_of(block: bytes) -> bytes | None:
    """What the headers of plain members like this one end with, from the type flag on; None where
    this is no plain member's.
    """
    # No prefix, nor what other formats keep there.
    return block[156:] if block[156:157] in REGULAR and block[345] == 0 else None


def read_batch(blocks: list[bytes]) -> tuple[list[bytes], list[int], list[int]]:
    """Names, times (nanoseconds since the epoch) and st_modes of the members with these headers.

    They end before the first header that is not plain or not sound. The blocks have 512 bytes each,
    one :func:`rest_of`, and eleven digits as their size.
    """
    fields = np.frombuffer(b"".join(blocks), dtype=np.uint8).reshape(-1, BLOCK)
    words = np.ascontiguousarray(fields.view("<u4")[:, :_WORDS].T)
    plain = _ends_there(words[_SIZE + 2] >> 24) & _ends_there(words[_MTIME + 2] >> 24)
    octal, (checksum, high, low) = _numbers(
        _wide(words[_CHECKSUM], words[_CHECKSUM + 1]) << np.uint64(16) | _TWO_ZEROS,
        _wide(words[_MTIME], words[_MTIME + 1]),
        words[_MTIME + 2].astype(np.uint64) << np.uint64(40) | _FIVE_ZEROS,
    )
    plain &= octal[1] & octal[2]
    usual = octal[0] & _ends_there(words[_CHECKSUM + 1] >> 16 & 0xFF)
    usual &= checksum == _sums(words[:_CHECKSUM]) + (_BLANKS + sum(blocks[0][156:]))
    rows = len(blocks) if plain.all() else int(plain.argmin())
    for row in np.flatnonzero(~usual[:rows]).tolist():
        if not is_sound(blocks[row]):  # its checksum is not in the usual form, or does not hold
            rows = row
            break
    names = _names(fields[:rows, :100])
    rows = len(names)
    mtimes = (high[:rows] << np.uint64(9) | low[:rows]) * np.uint64(1_000_000_000)
    return (
        names,
        mtimes.tolist(),
        _modes(_wide(words[_MODE, :rows], words[_MODE + 1, :rows]), blocks),
    )


def _ends_there(byte: Array) -> Array:
    """Which of these bytes end a number: a NUL or a blank."""
    found: Array = (byte == 0) | (byte == ord(" "))
    return found


def _wide(first: Array, second: Array) -> Array:
    """Two words as one of eight bytes."""
    wide: Array = first | second.astype(np.uint64) << np.uint64(32)
    return wide


def _numbers(*eight: Array) -> tuple[Array, Array]:
    """Which of these are eight octal digits, and the numbers that they say."""
    digits = np.stack(eight)
    octal = digits & _ODD_BITS == _ZEROS
    number = digits & ~_ODD_BITS
    # Neighbours are put together: four numbers of two digits, two of four, one of eight.
    for count, mask in ((1, 0x00FF00FF00FF00FF), (2, 0x0000FFFF0000FFFF), (4, 0x00000000FFFFFFFF)):
        second = number >> np.uint64(8 * count) & np.uint64(mask)
        number = ((number & np.uint64(mask)) << np.uint64(3 * count)) + second
    return octal, number


def _sums(words: Array) -> Array:
    """The sum of each column's bytes; at most 64 words."""
    pairs = (words & _BYTES).sum(
        axis=0, dtype=np.uint32
    )  # two sums in each word; neither overflows
    pairs += (words >> 8 & _BYTES).sum(axis=0, dtype=np.uint32)
    sums: Array = (pairs & 0xFFFF) + (pairs >> 16)
    return sums


def _names(padded: Array) -> list[bytes]:
    """The names in these fields, up to the first that ends in a slash: a
    directory's, in version 7.
    """
    padded = np.ascontiguousarray(padded)
    names: list[bytes] = padded.view("S100").ravel().tolist()
    if np.count_nonzero(padded) != sum(map(len, names)):  # something stands behind a first NUL
        names = list(map(text, names))
    if b"/" in padded.tobytes():
        rows = (row for row, name in enumerate(names) if name.endswith(b"/"))
        return names[: next(rows, len(names))]
    return names


def _modes(fields: Array, blocks: list[bytes]) -> list[int]:
    if not len(fields) or (fields == fields[0]).all():
        return [mode_of(blocks[0], b"")] * len(fields)
    _, first, which = np.unique(fields, return_index=True, return_inverse=True)
    distinct = np.array([mode_of(blocks[row], b"") for row in first.tolist()])
    found: list[int] = distinct[which].tolist()
    return found
