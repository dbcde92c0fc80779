"""Tar headers by the thousand, against the standard library."""

from __future__ import annotations

import io
import tarfile
from typing import Literal

import numpy as np
import pytest

from imagenetfs.sample import (
    headers,
)


@pytest.mark.parametrize(
    ("magic", "form"), [(headers.USTAR, tarfile.USTAR_FORMAT), (headers.GNU, tarfile.GNU_FORMAT)]
)
def test_headers_are_those_of_tarfile(magic: headers.Bytes, form: Literal[0, 1]) -> None:
    sizes, times = np.array([0, 1, 512, 110_123, 2**33 - 1]), np.array([0, 7, 2**31, 5, 8**11 - 1])
    names = [f"n01440764_{number}.JPEG" for number in range(4)] + ["x" * 100]
    made = headers.headers(names, sizes, times, magic=magic)
    for row, name, size, mtime in zip(made, names, sizes, times, strict=True):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.uname, info.gname = int(size), int(mtime), "root", "root"
        expected = bytearray(info.tobuf(form))
        # Device numbers of a regular file: tarfile writes zeros into a ustar header, GNU tar none.
        expected[329:345] = bytes(16)
        expected[148:156] = bytes(row[148:156])
        assert bytes(row) == bytes(expected)
        assert tarfile.TarInfo.frombuf(bytes(row), "ascii", "strict").size == size


def test_the_layout_of_a_tar() -> None:
    starts, length = headers.layout(np.array([0, 1, 512, 513]))
    assert starts.tolist() == [0, 512, 1536, 2560]
    assert length == headers.RECORD
    # Members up to byte 9,216 leave room for the end; one more block needs a second record.
    assert headers.layout(np.array([9_216 - 512]))[1] == headers.RECORD
    assert headers.layout(np.array([9_216 - 511]))[1] == 2 * headers.RECORD


def test_where_tarfile_puts_members() -> None:
    sizes = [3, 512, 0, 20_000]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"{number}.JPEG")
            info.size = size
            archive.addfile(info, io.BytesIO(bytes(size)))
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as archive:
        offsets = [info.offset for info in archive]
    starts, length = headers.layout(np.array(sizes))
    assert (starts.tolist(), length) == (offsets, len(buffer.getvalue()))


def test_rounding() -> None:
    assert [headers.rounded(size, 512) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]
    assert headers.rounded(np.array([0, 10_241]), headers.RECORD).tolist() == [0, 20_480]


def test_a_magic_for_each_row() -> None:
    magic = np.stack([headers.USTAR, headers.GNU])
    made = headers.headers(["a", "b"], np.array([1, 2]), np.array([3, 4]), magic=magic, mode=0o600)
    assert [bytes(row[257:265]) for row in made] == [b"ustar\x0000", b"ustar  \x00"]
    found = [tarfile.TarInfo.frombuf(bytes(row), "ascii", "strict") for row in made]
    assert [(info.name, info.mode, info.mtime) for info in found] == [
        ("a", 0o600, 3),
        ("b", 0o600, 4),
    ]
