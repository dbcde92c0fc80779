"""Missing blocks are fetched from their origin: which, in how many requests, and what is kept."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache import segment as segment_module
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.fetcher import BlockFetcher, BlocksBusyError, ChangedError, WantedBytes
from imagenetfs.cache.quota import Limits, QuotaExceededError
from imagenetfs.cache.segment import BLOCK, SEGMENT
from imagenetfs.counters import TROUBLE
from tests.helpers.block_cache import DATA, Bytes, fresh, volume
from tests.helpers.children import ended, in_child
from tests.helpers.clocks import RushingClock

END = len(DATA)
B = BLOCK


class Fetching:
    """A cache's fetcher, on a volume that is DATA."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self.cache: BlockCache = (
            fresh(directory, limits) if limits is not None else fresh(directory)
        )
        self.fetcher: BlockFetcher = self.cache._fetcher
        self.volume = volume()
        self.origin = Bytes()

    def fill(self, start: int, end: int, limit: int = END, number: int = 0) -> tuple[int, bytes]:
        wanted = WantedBytes(ByteRange(start, end), limit)
        return self.fetcher.fill(self.volume, number, wanted, self.origin)

    def kept(self, start: int, end: int) -> bool:
        return self.cache.holds(self.volume, ByteRange(start, end))


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path / "cache")


@pytest.mark.parametrize(
    ("start", "end", "asked"),
    [
        (0, 1, (0, B)),
        (B - 1, B + 1, (0, 2 * B)),
        (5 * B, 6 * B, (5 * B, B)),
        (5 * B + 7, 7 * B, (5 * B, 2 * B)),
        (END - 1, END, (END // B * B, END % B)),  # the last block is not whole
    ],
)
def test_whole_blocks_are_fetched_in_one_request(
    fetching: Fetching, start: int, end: int, asked: tuple[int, int]
) -> None:
    found = fetching.fill(start, end)
    assert fetching.origin.asked == [asked]
    assert found == (asked[0], DATA[asked[0] : sum(asked)])
    assert fetching.kept(start, end)
    assert fetching.origin.forgotten == asked[1], "the kernel keeps what the cache keeps once"


def test_from_the_first_missing_block_to_the_last(fetching: Fetching) -> None:
    fetching.fill(2 * B, 3 * B)
    fetching.origin.asked.clear()
    fetching.fill(B, 5 * B)
    assert fetching.origin.asked == [(B, 4 * B)]  # the one between is fetched once more
    fetching.origin.asked.clear()
    assert fetching.fill(B, 5 * B) == (B, b"")
    fetching.fill(0, 5 * B)
    assert fetching.origin.asked == [(0, B)]


def test_what_lies_in_another_segment_is_left_to_another_call(fetching: Fetching) -> None:
    size = SEGMENT + 3 * B
    fetching.volume = volume(size)

    class Zeros(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            self.asked.append((offset, length))
            return bytes(length)

    fetching.origin = Zeros()
    for number, asked in ((0, (SEGMENT - B, B)), (1, (SEGMENT, 2 * B))):
        fetching.fill(SEGMENT - 7, SEGMENT + B + 7, size, number)
        assert fetching.origin.asked.pop() == asked


class Changing(Bytes):
    """An origin that is another file when it is asked for the ``at``-th time."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def is_same(self) -> bool:
        self._left -= 1
        return self._left > 0


@pytest.mark.parametrize(("at", "requests"), [(1, 0), (2, 1)])
def test_of_what_changes_nothing_is_kept(fetching: Fetching, at: int, requests: int) -> None:
    fetching.origin = Changing(at)
    with pytest.raises(ChangedError, match="it was changed while it was read"):
        fetching.fill(0, B)
    assert len(fetching.origin.asked) == requests
    assert not fetching.kept(0, B)


def test_where_there_is_no_room_nothing_is_fetched(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path / "cache", Limits(6 * B, 0))
    fetching.fill(0, B)
    fetching.origin.asked.clear()
    with pytest.raises(QuotaExceededError):
        fetching.fill(B, 30 * B)
    assert fetching.origin.asked == []


def test_a_disk_that_fails_costs_the_reader_nothing(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(segment_module.Segment, "write", full)
    before = fetching.cache.quota.used()
    assert fetching.fill(0, B) == (0, DATA[:B])
    assert fetching.cache.meter[TROUBLE] == errno.ENOSPC
    assert not fetching.kept(0, B)
    assert fetching.origin.forgotten == 0
    assert fetching.cache.quota.used() - before < B, "what was not written is not counted"


def test_blocks_that_another_process_fetches_too_long(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path / "cache")
    fetching.fill(0, B)
    fetching.fetcher._clock = RushingClock(100.0)

    def wait_in_vain() -> None:
        seen: list[bool] = []
        fetching.cache.after_fork(on_wait=seen.append)
        with pytest.raises(BlocksBusyError):
            fetching.fill(4 * B, 5 * B)
        assert (seen, fetching.origin.asked[1:]) == ([True, False], [])

    with fetching.volume.segments[0].locked(4, 1) as had:
        assert had
        assert ended(in_child(wait_in_vain)) == 0
    fetching.fill(4 * B, 5 * B)
    assert fetching.kept(4 * B, 5 * B)


# --- what is not to be kept -----------------------------------------------------------------------


def missing(fetching: Fetching, start: int, end: int) -> tuple[int, bytes]:
    fetching.origin.asked.clear()
    return fetching.fetcher.read_missing(fetching.volume, ByteRange(start, end), fetching.origin)


def test_of_what_is_not_kept_the_missing_part_alone_is_read(fetching: Fetching) -> None:
    assert missing(fetching, 5, 9) == (5, DATA[5:9])  # no segment at all
    fetching.fill(0, B)
    fetching.fill(3 * B, 4 * B)
    assert missing(fetching, 7, 3 * B + 5) == (B, DATA[B : 3 * B])
    assert missing(fetching, B + 7, B + 9) == (B + 7, DATA[B + 7 : B + 9])
    assert not fetching.kept(B, 2 * B)


def test_of_what_has_changed_all_is_read(fetching: Fetching) -> None:
    """Bytes of two versions are not put together."""
    fetching.fill(0, B)
    fetching.origin.same = False
    assert missing(fetching, 7, B + 5) == (7, DATA[7 : B + 5])


def test_what_is_there_after_all_is_read_once_more(fetching: Fetching) -> None:
    fetching.fill(0, B)
    assert missing(fetching, 5, 9) == (5, DATA[5:9])
