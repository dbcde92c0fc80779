"""Arrays in an npz file: where they stand, read without numpy's loader and never by pickle.

An npz is a zip (PKWARE's APPNOTE) of NPY files (numpy's ``numpy.lib.format``), each stored or
deflated. A stored array's bytes can be read in place; a deflated one has to be inflated from
its beginning, in pieces. The bytes come through ``read_at(offset, length)``; nothing here
knows of files or ImageNet.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError, ImagenetfsError

ReadAt = Callable[[int, int], bytes]

PIECE = 1 << 20
"""Bytes that are read or inflated at a time."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MOST_HEADER = 1 << 14
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Array:
    """One array: ``dtype`` and ``shape``, and where its zip member's data lies in the file.

    ``place`` and ``packed`` are the member's extent in the file, ``header`` the length of
    the NPY header at the head of its (inflated) data, ``size`` the length of the array
    behind it; all in bytes.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    stored: bool
    place: int
    packed: int
    header: int
    size: int
    crc: int

    @property
    def offset(self) -> int:
        """Where the first element of a stored array is in the file."""
        return self.place + self.header


def arrays(read_at: ReadAt, size: int) -> dict[str, Array]:
    """The arrays of an npz of ``size`` bytes by name, without ``.npy``.

    Raises ArchiveError for anything that is no sound npz, an object array included: its elements
    would have to be unpickled, and that may run code.
    """
    try:
        with zipfile.ZipFile(_ReadAtFile(read_at, size)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        found = [_array(read_at, size, info) for info in members]
    except (ArchiveError, ImagenetfsError):
        raise
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise ArchiveError(f"this is no sound npz file: {error}") from None
    except (struct.error, IndexError, KeyError, OverflowError, UnicodeError) as error:
        raise ArchiveError(f"this is no sound npz file ({type(error).__name__})") from None
    return {array.name: array for array in found}


def _array(read_at: ReadAt, size: int, info: zipfile.ZipInfo) -> Array:
    at = info.header_offset
    # zipfile reckons it from where the directory is found to stand: it may be below 0.
    if not 0 <= at <= size - _LOCAL_HEADER.size:
        raise ArchiveError(f"the zip's directory is wrong about {info.filename}", max(0, at))
    local = read_at(at, _LOCAL_HEADER.size)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(local)
    if magic != b"PK\3\4":
        raise ArchiveError(f"the zip's directory is wrong about {info.filename}", at)
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{info.filename} is encrypted", at)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"{info.filename} is compressed by a method that numpy never uses", at)
    place = at + _LOCAL_HEADER.size + name_length + extra_length
    stored = info.compress_type == zipfile.ZIP_STORED
    if place + info.compress_size > size or (stored and info.compress_size != info.file_size):
        raise ArchiveError(f"{info.filename} is cut off", at)
    begin = _begin(read_at, place, info.compress_size, stored)
    shape, fortran, dtype, header = _npy_header(begin, info.filename, at)
    count = int(np.prod(shape, dtype=object))
    if fortran and len(shape) > 1:
        raise ArchiveError(f"{info.filename} stands column by column, not row by row", at)
    if header + count * dtype.itemsize != info.file_size:
        raise ArchiveError(f"{info.filename} has another length than its header says", at)
    return Array(
        info.filename.removesuffix(".npy"),
        dtype,
        shape,
        stored,
        place,
        info.compress_size,
        header,
        count * dtype.itemsize,
        info.CRC,
    )


def _begin(read_at: ReadAt, place: int, packed: int, stored: bool) -> bytes:
    """The first bytes of a member's data, enough for an NPY header."""
    data = read_at(place, min(packed, _MOST_HEADER))
    if stored:
        return data
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _MOST_HEADER)
    except zlib.error as error:
        raise ArchiveError(f"a deflated array cannot be inflated ({error})", place) from None


def _npy_header(
    begin: bytes, name: str, at: int
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """(shape, in Fortran order, dtype, length of the header) of an NPY file's first bytes."""
    file = io.BytesIO(begin)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(file)
    except Exception as error:  # numpy documents no closed set of errors for a damaged header
        raise ArchiveError(f"{name} is no NPY file ({error})", at) from None
    if dtype.hasobject:
        raise ArchiveError(f"{name} is an array of Python objects, which is never unpickled", at)
    return shape, fortran, dtype, file.tell()


def contents(read_at: ReadAt, array: Array) -> Iterator[bytes]:
    """The array's bytes in pieces of about a megabyte.

    Raises ArchiveError where they do not inflate, or at the end where length or checksum are
    wrong: what came before must not be believed until the iterator is through.
    """
    crc, length, skip = 0, 0, array.header
    for piece in _stored(read_at, array) if array.stored else _inflated(read_at, array):
        crc = zlib.crc32(piece, crc)
        length += len(piece)
        if len(piece) > skip:
            yield piece[skip:] if skip else piece
        skip = max(0, skip - len(piece))
    if length != array.header + array.size or crc != array.crc:
        raise ArchiveError(f"{array.name} is damaged: its checksum does not hold", array.place)


def _stored(read_at: ReadAt, array: Array) -> Iterator[bytes]:
    for at in range(0, array.packed, PIECE):
        yield read_at(array.place + at, min(PIECE, array.packed - at))


def _inflated(read_at: ReadAt, array: Array) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = array.header + array.size
    try:
        for packed in _stored(read_at, array):
            while packed and left > 0:
                piece = inflater.decompress(packed, min(PIECE, left))
                packed = inflater.unconsumed_tail
                left -= len(piece)
                yield piece
        while left > 0 and (piece := inflater.decompress(b"", min(PIECE, left))):
            left -= len(piece)
            yield piece
    except zlib.error as error:
        raise ArchiveError(f"{array.name} cannot be inflated ({error})", array.place) from None


class _ReadAtFile(io.RawIOBase):
    """``read_at`` as the file object that zipfile reads a central directory from."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("it is too short")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, length: int = -1) -> bytes:
        rest = max(0, self._size - self._at)
        data = self._read_at(self._at, rest if length is None or length < 0 else min(length, rest))
        self._at += len(data)
        return data
