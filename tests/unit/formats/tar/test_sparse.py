"""Sparse maps in each of the four formats, from the headers and blocks that hold them."""

from __future__ import annotations

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar import sparse
from imagenetfs.formats.tar.extended import MAX_EXTENDED, Extended, ReadAt
from imagenetfs.formats.tar.header import MAX_SIZE
from imagenetfs.formats.tar.sparse import Runs, Sparse, checked

AT = 5 * 512
"""Where the header of the member stands."""


def old_gnu(read_at: ReadAt, block: bytes, offset: int, end: int) -> Sparse:
    return checked(sparse.old_gnu(read_at, block, offset, end), 1 << 62, offset)


def pax(read_at: ReadAt, said: Extended, data: int, stored: int) -> Sparse | None:
    found = sparse.pax(read_at, said, data, stored)
    return None if found is None else checked(found, 1 << 62, AT)


def nothing(offset: int, length: int) -> bytes:
    raise AssertionError("no map of this format is stored")


def data_of(data: bytes, at: int, asked: list[int] | None = None) -> ReadAt:
    """A file in which ``data`` stands at ``at``."""

    def read_at(offset: int, length: int) -> bytes:
        assert offset >= at
        assert length >= 0
        if asked is not None:
            asked.append(length)
        return data[offset - at : offset - at + length]

    return read_at


def runs_of(count: int) -> list[tuple[int, int]]:
    return [(1000 * n, 7 + n) for n in range(count)]


# --- the old GNU format ---------------------------------------------------------------------------


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def old_header(runs: list[tuple[int, int]], size: bytes, more: bool) -> bytes:
    block = bytearray(512)
    table = b"".join(octal(at) + octal(length) for at, length in runs[:4])
    block[386 : 386 + len(table)] = table
    block[482] = more
    block[483 : 483 + len(size)] = size
    return bytes(block)


def extension(runs: list[tuple[int, int]], more: bool) -> bytes:
    table = b"".join(octal(at) + octal(length) for at, length in runs)
    return table.ljust(504, b"\0") + bytes([more]) + bytes(7)


def old(runs: list[tuple[int, int]], size: int) -> tuple[bytes, bytes]:
    """(header, extension blocks)."""
    pieces = [runs[at : at + 21] for at in range(4, len(runs), 21)]
    blocks = [extension(piece, n + 1 < len(pieces)) for n, piece in enumerate(pieces)]
    return old_header(runs, octal(size), bool(blocks)), b"".join(blocks)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 25, 26, 46, 47, 300])
def test_old_maps_of_any_length(count: int) -> None:
    header, blocks = old(runs_of(count), 10**6)
    asked: list[int] = []
    read_at = data_of(blocks + b"data", AT + 512, asked)
    found = old_gnu(read_at, header, AT, 1 << 40)
    assert found == Sparse(10**6, tuple(runs_of(count)), AT + 512 + len(blocks))
    assert asked == [512] * (len(blocks) // 512)


def test_an_old_map_ends_at_an_entry_that_is_not_used() -> None:
    """Whatever its last block says of more."""
    header = old_header([(0, 5), (10, 5)], octal(100), more=True)
    assert old_gnu(nothing, header, AT, 1 << 40).runs == ((0, 5), (10, 5))


def test_an_old_map_with_numbers_in_base_256() -> None:
    large = 1 << 40
    block = bytearray(old_header([], b"", more=False))
    block[386:398] = b"\x80" + (large - 3).to_bytes(11, "big")
    block[398:410] = b"\x80" + (3).to_bytes(11, "big")
    block[483:495] = b"\x80" + large.to_bytes(11, "big")
    assert old_gnu(nothing, bytes(block), AT, 1 << 50) == Sparse(large, ((large - 3, 3),), AT + 512)


@pytest.mark.parametrize(
    ("end", "given"), [(AT + 512 + 511, 512), (AT + 512, 512), (AT, 512), (1 << 40, 511)]
)
def test_an_old_map_that_is_cut_off(end: int, given: int) -> None:
    header, blocks = old(runs_of(9), 10**6)
    with pytest.raises(ArchiveError, match="cut off within a sparse map") as caught:
        old_gnu(data_of(blocks[:given], AT + 512), header, AT, end)
    assert caught.value.offset == AT


def test_an_old_map_without_end() -> None:
    block = extension(runs_of(21), more=True)
    header = old_header(runs_of(4), octal(10**6), more=True)
    read: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        read.append(offset)
        return block

    with pytest.raises(ArchiveError, match="sparse map of more than"):
        old_gnu(read_at, header, AT, 1 << 40)
    assert len(read) * 512 == MAX_EXTENDED


@pytest.mark.parametrize("size", [b"x" * 12, b" " * 12, b"89\0"])
def test_an_old_member_whose_size_is_no_number(size: bytes) -> None:
    with pytest.raises(ArchiveError, match="real size is no number") as caught:
        old_gnu(nothing, old_header([], size, more=False), AT, 1 << 40)
    assert caught.value.offset == AT


@pytest.mark.parametrize("at", [386, 398])
def test_an_old_entry_that_is_no_number(at: int) -> None:
    block = bytearray(old_header([(0, 5)], octal(10), more=False))
    block[at : at + 12] = b"9" * 12
    with pytest.raises(ArchiveError, match="entry that is no number"):
        old_gnu(nothing, bytes(block), AT, 1 << 40)


# --- pax ------------------------------------------------------------------------------------------


def extended(pairs: list[int] | None = None, /, **records: bytes) -> Extended:
    named = {b"GNU.sparse." + name.encode(): value for name, value in records.items()}
    return Extended(AT, records=named, sparse_pairs=[b"%d" % n for n in pairs or []])


def listed(runs: list[tuple[int, int]]) -> list[int]:
    return [number for run in runs for number in run]


def test_a_member_that_is_not_sparse() -> None:
    assert pax(nothing, extended(), AT + 512, 0) is None
    assert pax(nothing, extended(name=b"x"), AT + 512, 0) is None


@pytest.mark.parametrize("count", [1, 2, 50])
def test_pairs_of_records(count: int) -> None:
    """0.0."""
    said = extended(listed(runs_of(count)), size=b"1000000", numblocks=b"%d" % count)
    assert pax(nothing, said, 77, 0) == Sparse(10**6, tuple(runs_of(count)), 77)


def test_a_file_that_is_one_hole() -> None:
    assert pax(nothing, extended(size=b"9", numblocks=b"0"), 77, 0) == Sparse(9, (), 77)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_record_with_all(count: int) -> None:
    """0.1."""
    text = b",".join(b"%d" % n for n in listed(runs_of(count)))
    said = extended(size=b"1000000", map=text)
    assert pax(nothing, said, 77, 0) == Sparse(10**6, tuple(runs_of(count)), 77)


def stored_map(runs: list[tuple[int, int]]) -> bytes:
    text = b"".join(b"%d\n" % n for n in [len(runs), *listed(runs)])
    return text + bytes(-len(text) % 512)


ONE = {"major": b"1", "minor": b"0", "realsize": b"1000000"}


@pytest.mark.parametrize("count", [0, 1, 40, 45, 60, 5000])
def test_a_map_before_the_data(count: int) -> None:
    """1.0."""
    runs = [(3 * n, 1) for n in range(count)]
    data = stored_map(runs)
    asked: list[int] = []
    found = pax(data_of(data + b"d" * count, 77, asked), extended(**ONE), 77, len(data) + count)
    assert found == Sparse(10**6, tuple(runs), 77 + len(data))
    assert len(asked) == (1 if len(data) <= 512 else 2)
    assert max(asked) <= min(len(data) + count, MAX_EXTENDED)


def test_a_map_that_fills_its_block() -> None:
    runs = [(100 + 10 * n, 1) for n in range(83)] + [(10_000_000, 1)]
    data = stored_map(runs)
    assert len(data.rstrip(b"\0")) == len(data) == 512
    said = extended(major=b"1", minor=b"0", realsize=b"20000000")
    assert pax(data_of(data, 77), said, 77, 512 + 84) == Sparse(20_000_000, tuple(runs), 77 + 512)


@pytest.mark.parametrize("cut", [0, 1, 5, 100, 511, 513])
def test_a_map_that_is_cut_off(cut: int) -> None:
    data = stored_map([(3 * n, 1) for n in range(500)])[:cut]
    with pytest.raises(ArchiveError) as caught:
        pax(data_of(data, 77), extended(**ONE), 77, len(data))
    assert caught.value.offset == AT


def test_a_map_longer_than_is_read() -> None:
    """A member's length says nothing of its map: no more than so much is ever read for one."""
    asked: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append(length)
        return (b"99999999\n" + b"1\n" * length)[:length]

    with pytest.raises(ArchiveError, match="or of more than"):
        pax(read_at, extended(**ONE), 77, 1 << 40)
    assert asked == [512, MAX_EXTENDED]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({"size": b"x"}, "real size of a sparse member that is no number"),
        ({"map": b"0,1"}, "real size of a sparse member that is no number"),
        ({"size": b"5", "map": b"0"}, "ends within an entry"),
        ({"size": b"5", "map": b"0,,1"}, "entry of a sparse map that is no number"),
        ({"size": b"-5", "map": b"0,1"}, "real size"),
        ({"size": b"5", "map": b"0,%d" % (MAX_SIZE + 1)}, "entry of a sparse map"),
        ({"major": b"2", "minor": b"0"}, "unknown format"),
        ({"major": b"1", "minor": b"1"}, "unknown format"),
    ],
)
def test_records_that_make_no_sense(records: dict[str, bytes], words: str) -> None:
    with pytest.raises(ArchiveError, match=words) as caught:
        pax(data_of(b"abc", 77), extended(**records), 77, 3)
    assert caught.value.offset == AT


@pytest.mark.parametrize("stored", [0, 3, 9])
def test_a_size_without_a_map(stored: int) -> None:
    """What is stored stands at the beginning, as in GNU tar."""
    runs = ((0, min(stored, 5)),) if stored else ()
    assert pax(nothing, extended(size=b"5"), 77, stored) == Sparse(5, runs, 77)


def test_pairs_out_of_turn() -> None:
    said = extended([0, 3], size=b"3")
    said.out_of_turn = True
    with pytest.raises(ArchiveError, match="out of turn"):
        pax(nothing, said, 77, 3)


def test_more_data_than_is_stored() -> None:
    with pytest.raises(ArchiveError, match="less data than its map says"):
        checked(Sparse(10, ((0, 5),), 77), 77 + 4, AT)


def test_the_real_size_counts_before_the_other() -> None:
    found = pax(nothing, extended([0, 3], size=b"3", realsize=b"5"), 77, 0)
    assert found is not None
    assert found.size == 5


# --- what fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "size"),
    [
        ([(0, 10), (5, 10)], 100),
        ([(50, 10), (0, 10)], 100),
        ([(95, 10)], 100),
        ([(0, 10)], 5),
        ([(0, 5), (90, 11)], 100),
        ([(101, 0)], 100),
    ],
)
def test_runs_that_do_not_fit(runs: list[tuple[int, int]], size: int) -> None:
    header, _ = old(runs, size)
    texts = b",".join(b"%d" % n for n in listed(runs))
    with pytest.raises(ArchiveError, match="does not fit its file"):
        old_gnu(nothing, header, AT, 1 << 40)
    for said in (
        extended(listed(runs), size=b"%d" % size),
        extended(size=b"%d" % size, map=texts),
    ):
        with pytest.raises(ArchiveError, match="does not fit its file"):
            pax(nothing, said, 77, 0)


@pytest.mark.parametrize(
    ("runs", "kept"),
    [
        ([(0, 10), (10, 10)], ((0, 10), (10, 10))),
        ([(0, 10), (100, 0)], ((0, 10),)),
        ([(0, 0), (0, 100)], ((0, 100),)),
        ([(100, 0)], ()),
    ],
)
def test_runs_that_fit_and_those_of_them_that_hold_data(
    runs: list[tuple[int, int]], kept: Runs
) -> None:
    found = pax(nothing, extended(listed(runs), size=b"100"), 77, 0)
    assert found is not None
    assert found.runs == kept
