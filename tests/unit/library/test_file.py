"""A file of the tree: as Python's own, held to one with the same bytes."""

from __future__ import annotations

import array
import io
import os

import pytest

from imagenetfs.library.file import RawFile
from tests.helpers.randomness import seeded

DATA = bytes(range(256)) * 5


class Asked(list[tuple[int, int]]):
    """What was read, as the tree reads it."""

    def __call__(self, offset: int, length: int) -> bytes:
        self.append((offset, length))
        assert offset >= 0 and length > 0 and offset + length <= len(DATA)
        return DATA[offset : offset + length]


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def file(asked: Asked) -> RawFile:
    return RawFile("a/b.JPEG", len(DATA), asked)


def test_any_order_of_reads_and_seeks(file: RawFile) -> None:
    ours, theirs = io.BufferedReader(file, 64), io.BytesIO(DATA)
    rng = seeded("file")
    for _ in range(300):
        if rng.random() < 0.4:
            whence = rng.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
            at = {os.SEEK_SET: 0, os.SEEK_CUR: theirs.tell(), os.SEEK_END: len(DATA)}[whence]
            to = rng.randrange(len(DATA) + 100)
            assert ours.seek(to - at, whence) == theirs.seek(to - at, whence)
        else:
            length = rng.choice([0, 1, 7, 64, 500, len(DATA), -1])
            assert ours.read(length) == theirs.read(length)
        assert ours.tell() == theirs.tell()


def test_the_whole_file_is_one_request(file: RawFile, asked: Asked) -> None:
    assert file.readall() == DATA
    assert asked == [(0, len(DATA))]
    assert file.readall() == b""
    assert asked == [(0, len(DATA))], "nothing is asked for behind the end"


def test_what_lies_behind_the_end_is_not_asked_for(file: RawFile, asked: Asked) -> None:
    assert file.seek(len(DATA) + 9) == len(DATA) + 9
    assert file.read(5) == b""
    file.seek(-3, os.SEEK_END)
    assert file.read(5) == DATA[-3:]
    assert asked == [(len(DATA) - 3, 3)]


def test_into_a_buffer_of_another_type(file: RawFile) -> None:
    words = array.array("I", [0] * 4)
    assert file.readinto(memoryview(words)) == 16
    assert words.tobytes() == DATA[:16]


@pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-1, 1), (-len(DATA) - 1, 2), (0, 3)])
def test_a_place_that_is_none(file: RawFile, offset: int, whence: int) -> None:
    with pytest.raises(ValueError):
        file.seek(offset, whence)
    assert file.tell() == 0


def test_a_read_that_fails_moves_nothing() -> None:
    def fail(offset: int, length: int) -> bytes:
        raise OSError("the disk failed")

    file = RawFile("x", 100, fail)
    file.seek(7)
    with pytest.raises(OSError, match="the disk failed"):
        file.read(10)
    assert file.tell() == 7


def test_a_closed_file_gives_nothing(file: RawFile) -> None:
    assert file.readable() and file.seekable() and not file.writable()
    file.close()
    for use in (file.tell, lambda: file.seek(0), lambda: file.read(1), file.readall):
        with pytest.raises(ValueError, match="closed file"):
            use()
