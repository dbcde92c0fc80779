"""Misses that fetch ranges: each byte once, never one that is wrong, no more than pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache import segment as segments
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.fetcher import WantedBytes
from imagenetfs.cache.quota import Limits
from imagenetfs.cache.segment import BLOCK, SEGMENT, Segment
from imagenetfs.counters import MISSES
from imagenetfs.errors import SourceChangedError, SourceReadError
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from tests.helpers.block_cache import (
    DATA,
    PLENTY,
    Bytes,
    Steady,
    fresh,
    members,
    read_all,
    volume,
)
from tests.helpers.children import in_children
from tests.helpers.clocks import FakeClock, Lasting

MIB = 1 << 20
Open = Callable[..., BlockCache]


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[Open]:
    prepare(tmp_path / "cache")
    opened: list[BlockCache] = []

    def start(limits: Limits = PLENTY, clock: Clock = SYSTEM_CLOCK) -> BlockCache:
        directory = CacheDirectory(tmp_path / "cache")
        opened.append(BlockCache(directory, limits, clock=clock, pace=Steady()))
        return opened[-1]

    yield start
    for cache in opened:
        cache.close()


def read(cache: BlockCache, start: int, end: int, origin: Bytes) -> None:
    found = cache.read(volume(), ByteRange(start, end), ByteRange(start, end), origin)
    assert found == DATA[start:end]


def test_an_epoch_in_random_order_makes_a_request_a_range(open_cache: Open) -> None:
    cache, one, origin = open_cache(), volume(), Bytes()
    read_all(cache, one, origin)
    assert len(origin.asked) <= -(-len(DATA) // MIB)
    assert origin.bytes <= len(DATA)
    before = len(origin.asked)
    read_all(cache, one, origin, seed=4)
    assert len(origin.asked) == before == cache.meter[MISSES]


def test_a_member_in_two_ranges_brings_both(open_cache: Open) -> None:
    cache, origin = open_cache(), Bytes()
    read(cache, MIB - 10, MIB + 10, origin)
    assert origin.asked == [(0, 2 * MIB)]
    read(cache, 2 * MIB - 10, 2 * MIB + 10, origin)
    assert origin.asked[1:] == [(2 * MIB, MIB)]
    last = len(DATA) // MIB * MIB
    read(cache, len(DATA) - 5, len(DATA), origin)
    assert origin.asked[2:] == [(last, len(DATA) - last)]


def test_what_is_there_is_not_fetched_again(open_cache: Open, tmp_path: Path) -> None:
    """Up to the next block that is there, on both sides; what is asked for is bridged as ever."""
    earlier, origin = fresh(tmp_path / "cache"), Bytes()
    for block in (2, 9, 13):
        read(earlier, block * BLOCK, block * BLOCK + 1, Bytes())
    read(open_cache(), 5 * BLOCK, 5 * BLOCK + 1, origin)
    assert origin.asked == [(3 * BLOCK, 6 * BLOCK)]
    read(open_cache(), 8 * BLOCK, 11 * BLOCK, origin)
    assert origin.asked[1:] == [(10 * BLOCK, 3 * BLOCK)]


def test_a_range_ends_with_the_segment(open_cache: Open) -> None:
    size, at = SEGMENT + 300_000, SEGMENT - 2 * MIB
    cache, one, origin = open_cache(), volume(size), Bytes(DATA, at)
    wanted = ByteRange(SEGMENT - 70_000, SEGMENT + 60_000)
    found = cache.read(one, wanted, wanted, Bytes(DATA[: 2 * MIB + 300_000], at))
    assert found == DATA[wanted.start - at : wanted.end - at]
    read_again = cache.read(one, wanted, wanted, origin)
    assert (read_again, origin.asked) == (found, [])


def test_loose_files_and_large_members_are_fetched_alone(open_cache: Open) -> None:
    cache, origin = open_cache(), Bytes()
    loose = volume(apart=True, form="loose")
    cache.read(loose, ByteRange(0, 10), ByteRange(0, 1000), origin)
    read(cache, 2 * MIB + 3 * BLOCK, 3 * MIB + 3 * BLOCK, origin)
    assert origin.asked == [(0, 1000), (2 * MIB + 3 * BLOCK, MIB)]


def test_a_cache_smaller_than_the_data_fetches_what_is_asked_for(open_cache: Open) -> None:
    origin = Bytes()
    read(open_cache(Limits(len(DATA) - 1, 0)), 5 * BLOCK, 5 * BLOCK + 1, origin)
    one, wanted = volume(form="one of many"), ByteRange(9 * BLOCK, 9 * BLOCK + 1)
    one.expected = len(DATA) * 10
    open_cache(Limits(5 * len(DATA), 0)).read(one, wanted, wanted, origin)
    assert origin.asked == [(5 * BLOCK, BLOCK), (9 * BLOCK, BLOCK)]


def test_a_cache_that_others_have_filled_takes_the_member_alone(open_cache: Open) -> None:
    cache, origin = open_cache(Limits(len(DATA) + 6 * BLOCK, 0)), Bytes()
    cache.fill(volume(form="others"), 0, WantedBytes(ByteRange(0, len(DATA)), len(DATA)), Bytes())
    read(cache, 5 * BLOCK, 5 * BLOCK + 1, origin)
    assert origin.asked == [(5 * BLOCK, BLOCK)]


@pytest.mark.slow
def test_24_cold_readers_of_a_range_make_one_request(open_cache: Open) -> None:
    mounts = [open_cache(clock=Lasting()) for _ in range(2)]
    reader, writer = os.pipe()
    others, waiting = os.pipe()

    class Counted(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            os.write(writer, b"x")
            for _ in range(23):
                os.read(others, 1)
            return super().read(offset, length)

    def work(number: int) -> bool:
        cache = mounts[number % 2]

        def waits(begins: bool) -> None:
            if begins:
                os.write(waiting, b"w")

        cache.after_fork(on_wait=waits)
        start = MIB + number * 40_000
        read(cache, start, start + 40_000, Counted())
        return True

    in_children(24, work)
    assert os.read(reader, 100) == b"x"
    for fd in (reader, writer, others, waiting):
        os.close(fd)


def test_who_wants_other_blocks_of_it_does_not_wait(open_cache: Open) -> None:
    """A stager has a part of the range under way, in which the member is not."""
    stager, origin = open_cache(), Bytes()

    class Slow(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            clock = FakeClock()
            read(open_cache(clock=clock), 8 * BLOCK, 9 * BLOCK, origin)
            assert clock.pauses == []
            return super().read(offset, length)

    stager.fill(volume(), 0, WantedBytes(ByteRange(0, 4 * BLOCK), len(DATA)), Slow())
    assert origin.asked == [(8 * BLOCK, BLOCK)]


def test_who_waits_goes_on_when_its_blocks_are_there(open_cache: Open) -> None:
    """Those of the member come first, and the rest of the request is not waited for."""
    clock, origin = FakeClock(), Bytes()
    one = volume()
    held = open_cache()._segments.to_write(one, 0, open_cache().quota)
    with held.locked_at_once(0, 16):
        clock.after(0.01, lambda: held.write(2, DATA[2 * BLOCK : 4 * BLOCK]))
        read(open_cache(clock=clock), 2 * BLOCK, 4 * BLOCK, origin)
    assert sum(clock.pauses) < 0.1
    assert origin.asked == []


def test_the_blocks_asked_for_are_written_first(
    open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real = list[int](), Segment.write

    def note(self: Segment, first: int, data: bytes) -> None:
        written.append(first)
        real(self, first, data)

    monkeypatch.setattr(segments.Segment, "write", note)
    read(open_cache(), 5 * BLOCK, 7 * BLOCK, Bytes())
    assert written == [5, 0, 7]


def test_a_neighbour_that_cannot_be_read_fails_no_reader(open_cache: Open) -> None:
    asked = list[tuple[int, int]]()

    class Broken(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            asked.append((offset, length))
            if offset <= 12 * BLOCK < offset + length:
                raise SourceReadError("a broken sector.")
            return super().read(offset, length)

    cache, origin = open_cache(), Broken()
    read(cache, 5 * BLOCK, 6 * BLOCK, origin)
    read(cache, 7 * BLOCK, 8 * BLOCK, origin)
    assert asked == [(0, MIB), (5 * BLOCK, BLOCK), (7 * BLOCK, BLOCK)]
    with pytest.raises(SourceReadError, match="sector"):
        read(cache, 12 * BLOCK, 13 * BLOCK, origin)
    read(cache, 2 * MIB, 2 * MIB + 1, origin)
    assert asked[-1] == (2 * MIB, MIB), "elsewhere it is as before"


def test_an_archive_that_changed_is_not_asked_twice(open_cache: Open) -> None:
    class Cut(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            self.asked.append((offset, length))
            raise SourceChangedError("it was cut.")

    origin = Cut()
    with pytest.raises(SourceChangedError):
        read(open_cache(), 5 * BLOCK, 6 * BLOCK, origin)
    assert len(origin.asked) == 1


def test_nothing_is_kept_of_what_changed_meanwhile(open_cache: Open) -> None:
    class Replaced(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            self.same = False
            return super().read(offset, length)

    cache, origin = open_cache(), Replaced()
    read(cache, 5 * BLOCK, 6 * BLOCK, origin)
    assert origin.forgotten == 0
    assert not cache.holds(volume(), ByteRange(0, BLOCK))


def test_a_disk_that_fills_on_the_way_keeps_what_it_has(
    open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Segment.write

    def full(self: Segment, first: int, data: bytes) -> None:
        if first != 5:
            raise OSError(28, "No space left on device")
        real(self, first, data)

    monkeypatch.setattr(segments.Segment, "write", full)
    cache, one = open_cache(), volume()
    for _ in range(2):
        wanted = ByteRange(5 * BLOCK, 7 * BLOCK)
        assert cache.read(one, wanted, wanted, Bytes()) == DATA[5 * BLOCK : 7 * BLOCK]
    assert cache.holds(one, ByteRange(5 * BLOCK, 7 * BLOCK))
    assert not cache.holds(one, ByteRange(0, BLOCK))


def test_a_record_without_its_data_is_fetched_with_its_range(open_cache: Open) -> None:
    """What kill -9 and a crash leave: the first read of it finds out."""
    one = volume()
    segment = open_cache()._segments.to_write(one, 0, open_cache().quota)
    records = segment.write_data(5, DATA[5 * BLOCK : 7 * BLOCK])
    os.pwrite(segment.fd, bytes(2 * BLOCK), segments._DATA + 5 * BLOCK)
    segment.commit(5, records)
    cache, origin = open_cache(), Bytes()
    for start, end in members(seed=9)[:20]:
        read(cache, start, end, origin)
    assert origin.bytes <= 3 * MIB
