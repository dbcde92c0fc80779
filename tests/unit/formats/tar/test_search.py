"""Looking for the next sound header, as far away as it may be, and never reading much more than
that."""

from __future__ import annotations

import pytest

from imagenetfs.formats.tar.search import HeaderSearch, first_sound
from tests.helpers.tars import header


class Counting:
    """A file that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.reads = data, list[tuple[int, int]]()

    def __call__(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length]


@pytest.mark.parametrize("before", [0, 512, 9_728, 10_240, 3 << 20])
def test_the_next_header_is_found(before: int) -> None:
    file = Counting(b"\xff" * before + header() + b"\xff" * 4096)
    assert HeaderSearch(file).next(0, len(file.data)) == before
    assert sum(length for _, length in file.reads) <= 3 * before + 20_000


def test_none_is_found_where_there_is_none() -> None:
    file = Counting(b"\xff" * 50_000)
    assert HeaderSearch(file).next(0, len(file.data)) is None
    assert HeaderSearch(file).next(0, 511) is None
    assert HeaderSearch(file).next(0, 1 << 30) is None  # the file has become shorter


def test_a_header_is_found_only_in_steps_of_512_from_the_beginning() -> None:
    data = b"\xff" * 100 + header() + b"\xff" * 2048
    assert first_sound(data) is None
    assert HeaderSearch(Counting(data)).next(100, len(data)) == 100


def test_what_one_search_has_read_the_next_one_does_not_read_again() -> None:
    block = header() + b"\xff" * 512
    file = Counting(block * 200)
    search = HeaderSearch(file)
    found = [search.next(at, len(file.data)) for at in range(512, len(file.data) - 1024, 1024)]
    assert found == list(range(1024, len(file.data), 1024))
    assert sum(length for _, length in file.reads) <= 2 * len(file.data)


def test_holes_are_stepped_over() -> None:
    at = 1 << 50

    def read_at(offset: int, length: int) -> bytes:
        assert at - 4096 <= offset
        assert length <= 1 << 20
        return (bytes(at - offset) + header())[:length]

    search = HeaderSearch(read_at, lambda offset: (max(offset, at), at + 512))
    assert search.next(0, at + 512) == at


@pytest.mark.parametrize("length", [512, 700, 9728 + 100, 30_000, 30_100])
def test_whether_a_vain_search_met_anything_but_zeros(length: int) -> None:
    for at in {0, 511, 512, length // 2, length - 1} & set(range(length)):
        data = bytearray(length)
        search = HeaderSearch(Counting(bytes(data)))
        assert (search.next(0, length), search.met_data) == (None, False)
        data[at] = 1
        search = HeaderSearch(Counting(bytes(data)))
        assert (search.next(0, length), search.met_data) == (None, True)
        assert search.next(at + 1, length) is None
        assert not search.met_data, "it speaks of the last search alone"
