"""The block cache against the bytes themselves: by one process, by many, kept
over restarts, never wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache import block_cache as blocks_module
from imagenetfs.cache import segment as segments
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.fetcher import WantedBytes
from imagenetfs.cache.quota import Limits
from imagenetfs.cache.segment import BLOCK, SEGMENT
from imagenetfs.cache.volume import Volume
from imagenetfs.counters import HITS, MISSES, SAVED
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from tests.helpers.block_cache import DATA, IDENTITY, PLENTY, Bytes, members, read_all, volume
from tests.helpers.children import in_children
from tests.helpers.clocks import FakeClock, Lasting
from tests.helpers.randomness import seeded

Open = Callable[..., BlockCache]


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[Open]:
    """``open_cache(limits, clock)``: a cache on the test's directory, as a new mount has it."""
    prepare(tmp_path / "cache")
    opened: list[BlockCache] = []

    def start(limits: Limits = PLENTY, clock: Clock = SYSTEM_CLOCK) -> BlockCache:
        directory = CacheDirectory(tmp_path / "cache")
        opened.append(BlockCache(directory, limits, clock=clock))
        return opened[-1]

    yield start
    for cache in opened:
        cache.close()


def test_an_epoch_reads_each_byte_once_and_the_next_none(open_cache: Open) -> None:
    cache, one, origin = open_cache(), volume(), Bytes()
    read = read_all(cache, one, origin)
    assert read <= origin.bytes <= len(DATA), "each byte once, with what stands around members"
    assert len(origin.asked) <= len(members())
    assert origin.forgotten == origin.bytes
    before = len(origin.asked)
    read_all(cache, one, origin, seed=4)
    assert len(origin.asked) == before
    assert cache.meter[MISSES] == before


def test_it_outlives_the_mount(open_cache: Open) -> None:
    read_all(open_cache(), volume(), Bytes())
    later, origin = open_cache(), Bytes()
    read = read_all(later, volume(), origin)
    assert origin.asked == []
    assert (later.meter[SAVED], later.meter[MISSES]) == (read, 0)
    assert later.meter[HITS] > 0


@pytest.mark.parametrize(
    "other",
    [
        {"path": b"x"},
        {"size": 5_000_001},
        {"mtime_ns": 9},
        {"inode": 9},
        {"sample": 9},
        {"form": "f"},
    ],
)
def test_another_version_never_gets_old_blocks(open_cache: Open, other: dict[str, Any]) -> None:
    cache, new = open_cache(), bytes(len(DATA))
    cache.read(volume(), ByteRange.sized(0, 1000), ByteRange(0, 1000), Bytes())
    second = Volume(replace(IDENTITY, **other).key, len(DATA), {})
    assert (
        cache.read(second, ByteRange.sized(0, 1000), ByteRange(0, 1000), Bytes(new)) == new[:1000]
    )


def test_random_pieces_of_random_members(open_cache: Open) -> None:
    cache, one, origin, rng = open_cache(), volume(), Bytes(), seeded("random pieces")
    for turn in range(600):
        if turn % 100 == 99:
            cache, one = open_cache(), volume()
        start = rng.randrange(len(DATA) - 1)
        end = rng.randrange(start + 1, min(len(DATA), start + 400_000) + 1)
        at = rng.randrange(start, end)
        length = rng.randrange(1, end - at + 1)
        assert (
            cache.read(one, ByteRange.sized(at, length), ByteRange(start, end), origin)
            == DATA[at : at + length]
        )
    assert origin.bytes <= 1.25 * len(DATA)


def test_a_miss_fetches_the_missing_part_of_the_member_once(open_cache: Open) -> None:
    cache, one, origin = open_cache(), volume(), Bytes()
    cache.read(one, ByteRange.sized(200_000, 10), ByteRange(190_000, 250_000), origin)
    assert origin.asked == [(2 * BLOCK, 2 * BLOCK)]
    cache.read(one, ByteRange.sized(120_000, 10), ByteRange(100_000, 300_000), origin)
    assert origin.asked[1:] == [(BLOCK, 4 * BLOCK)], "one request, over what is there already"
    cache.read(one, ByteRange.sized(299_000, 1000), ByteRange(100_000, 300_000), origin)
    assert len(origin.asked) == 2


def test_a_member_across_two_segments(open_cache: Open) -> None:
    size = SEGMENT + 300_000
    at = SEGMENT - 200_000
    cache, one, origin = open_cache(), volume(size), Bytes(DATA[:500_000], at)
    for _ in range(2):
        data = cache.read(
            one,
            ByteRange.sized(SEGMENT - 70_000, 131_072),
            ByteRange(SEGMENT - 100_000, SEGMENT + 90_000),
            origin,
        )
        assert data == DATA[130_000 : 130_000 + 131_072]
    assert len(origin.asked) == 2
    assert origin.bytes <= 4 * BLOCK + BLOCK
    # Its last block is not whole.
    assert (
        cache.read(one, ByteRange.sized(size - 1000, 1000), ByteRange(size - 1000, size), origin)
        == DATA[499_000:500_000]
    )


def test_who_fills_lets_go_of_what_was_thrown_out(open_cache: Open) -> None:
    """A stager never reads, and has a hundred segments open."""
    size, clock = SEGMENT + 300_000, FakeClock()
    cache, one, origin = (
        open_cache(clock=clock),
        volume(size),
        Bytes(DATA[:500_000], SEGMENT - 200_000),
    )
    cache.fill(one, 0, WantedBytes(ByteRange(SEGMENT - BLOCK, SEGMENT), size), origin)
    assert list(one.segments) == [0]
    for segment in cache._directory.segments():
        cache._directory.remove(segment.name)
    clock.advance(1.0)
    cache.fill(one, 1, WantedBytes(ByteRange(SEGMENT, SEGMENT + BLOCK), size), origin)
    assert list(one.segments) == [1]


def test_members_that_begin_at_blocks(open_cache: Open) -> None:
    """The files of a directory: nothing of a neighbour is fetched with them."""
    cache, one = open_cache(), volume(apart=True)
    for number, size in enumerate((3000, BLOCK, 3 * BLOCK + 17, 1)):
        start = number * 4 * BLOCK
        origin = Bytes(DATA[start : start + size], start)
        for _ in range(2):
            assert (
                cache.read(
                    one, ByteRange.sized(start, size), ByteRange(start, start + size), origin
                )
                == origin.data
            )
        assert origin.asked == [(start, size)]


def test_a_member_too_large_to_be_fetched_whole(
    open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_module, "LARGEST_FETCH", 1 << 20)
    cache, one, origin = open_cache(), volume(), Bytes()
    assert (
        cache.read(one, ByteRange.sized(1_000_000, 1000), ByteRange(0, len(DATA)), origin)
        == DATA[1_000_000:1_001_000]
    )
    assert origin.asked == [(15 * BLOCK, BLOCK)]
    loose, origin = volume(apart=True, form="loose"), Bytes()
    assert (
        cache.read(loose, ByteRange.sized(1_000_000, 1000), ByteRange(0, len(DATA)), origin)
        == DATA[1_000_000:1_001_000]
    )
    assert (
        cache.read(loose, ByteRange.sized(1_001_000, 9000), ByteRange(0, len(DATA)), origin)
        == DATA[1_001_000:1_010_000]
    )
    assert origin.asked == [(15 * BLOCK, BLOCK)]


def test_what_has_changed_is_not_kept(open_cache: Open) -> None:
    cache, one, origin = open_cache(), volume(), Bytes()
    origin.same = False
    for _ in range(2):
        assert cache.read(one, ByteRange.sized(0, 10), ByteRange(0, 1000), origin) == DATA[:10]
    assert origin.asked == [(0, 10), (0, 10)]
    assert origin.forgotten == 0


@pytest.mark.parametrize("size", [1 << 40, 0])
def test_what_has_changed_is_not_mixed_with_what_it_was(open_cache: Open, size: int) -> None:
    open_cache().read(volume(), ByteRange.sized(100_000, 10), ByteRange(100_000, 100_010), Bytes())
    cache, origin = open_cache(Limits(size, 0)), Bytes(DATA[::-1])
    origin.same = False
    found = cache.read(
        volume(), ByteRange.sized(60_000, 200_000), ByteRange(60_000, 260_000), origin
    )
    assert found == DATA[::-1][60_000:260_000]


class BrokenError(Exception):
    """What an origin raises."""


def test_an_error_of_the_origin_is_the_readers(open_cache: Open) -> None:
    class Broken(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            raise BrokenError

    cache, one = open_cache(), volume()
    for _ in range(2):
        with pytest.raises(BrokenError):
            cache.read(one, ByteRange.sized(0, 10), ByteRange(0, 1000), Broken())
    assert cache.read(one, ByteRange.sized(0, 10), ByteRange(0, 1000), Bytes()) == DATA[:10]


# --- many processes -------------------------------------------------------------------------------


class Counted(Bytes):
    """Tells what is asked of it to a pipe; ``before()`` is called then."""

    def __init__(self, writer: int, before: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._writer = writer
        self._before = before

    def read(self, offset: int, length: int) -> bytes:
        os.write(self._writer, b"x")
        self._before()
        return super().read(offset, length)


@pytest.mark.slow
def test_24_cold_readers_of_one_image_make_one_request(open_cache: Open) -> None:
    mounts = [open_cache(clock=Lasting()) for _ in range(2)]  # two mounts, one cache
    reader, writer = os.pipe()
    others, waiting = os.pipe()
    # The one that fetches goes on when all others have been seen to wait for it.
    origin = Counted(writer, lambda: [os.read(others, 1) for _ in range(23)])

    def work(number: int) -> bool:
        cache, waited = mounts[number % 2], list[bool]()

        def waits(begins: bool) -> None:
            waited.append(begins)
            if begins:
                os.write(waiting, b"w")

        cache.after_fork(on_wait=waits)
        one = volume()
        data = cache.read(
            one, ByteRange.sized(100_000, 110_000), ByteRange(100_000, 210_000), origin
        )
        assert waited in ([], [True, False])
        return data == DATA[100_000:210_000]

    in_children(24, work)
    assert os.read(reader, 100) == b"x"
    for fd in (reader, writer, others, waiting):
        os.close(fd)


@pytest.mark.slow
def test_processes_that_read_all_of_it(open_cache: Open) -> None:
    cache = open_cache(clock=Lasting())
    reader, writer = os.pipe()
    origin = Counted(writer)

    def work(number: int) -> bool:
        cache.after_fork()
        read_all(cache, volume(), origin, seed=number)
        return True

    in_children(6, work)
    os.close(writer)
    assert len(os.read(reader, 1 << 16)) <= len(members())
    os.close(reader)


def test_a_process_that_takes_too_long_is_not_waited_for(open_cache: Open) -> None:
    clock = FakeClock()
    first, second = open_cache(), open_cache(clock=clock)

    class Stuck(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            origin, waited = Bytes(), list[bool]()
            second.after_fork(on_wait=waited.append)
            assert (
                second.read(volume(), ByteRange.sized(70_000, 9), ByteRange(70_000, 80_000), origin)
                == DATA[70_000:70_009]
            )
            assert origin.asked == [(70_000, 9)], "as asked, and nothing kept"
            assert waited == [True, False]
            assert (
                segments._PATIENCE_SECONDS <= sum(clock.pauses) <= segments._PATIENCE_SECONDS + 0.1
            )
            return super().read(offset, length)

    assert (
        first.read(volume(), ByteRange.sized(70_000, 9), ByteRange(70_000, 80_000), Stuck())
        == DATA[70_000:70_009]
    )
