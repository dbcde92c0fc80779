"""Volumes written whole: believed when all of them is right, once for all who
ask, and never a wrong byte.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache import volume_writer
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.inventory import clear, verify
from imagenetfs.cache.quota import Limits, QuotaExceededError
from imagenetfs.cache.segment import BLOCK, SEGMENT
from imagenetfs.cache.volume_writer import Pieces
from imagenetfs.errors import ArchiveError
from tests.helpers.block_cache import DATA, fresh, volume
from tests.helpers.children import ended, in_child

STEP = 300_001
"""Bytes of a piece: no multiple of a block."""


def nothing() -> None:
    """Nobody watches."""


class Source:
    """The pieces of DATA, counted; ``before(n)`` is called before the n-th."""

    def __init__(self, before: Callable[[int], None] = lambda piece: None) -> None:
        self.before = before
        self.times = 0

    def __call__(self) -> Iterator[bytes]:
        self.times += 1
        for number, at in enumerate(range(0, len(DATA), STEP)):
            self.before(number)
            yield DATA[at : at + STEP]


def write(cache: BlockCache, pieces: Pieces, moved: Callable[[], None] = nothing) -> None:
    cache.writer().write(volume(), pieces, moved)


def found(cache: BlockCache, at: int = 0, length: int = len(DATA)) -> bytes | None:
    cache.refresh()
    return cache.read_if_cached(volume(), ByteRange.sized(at, length))


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.name not in ("used", "unpacking"))


def test_all_of_it_at_the_end_and_nothing_before(tmp_path: Path) -> None:
    cache, other = fresh(tmp_path), fresh(tmp_path)

    def look(piece: int) -> None:
        assert found(other, 0, 100) is None
        assert found(cache, 0, 100) is None

    source = Source(look)
    write(cache, source)
    for reader in (cache, other, fresh(tmp_path)):
        assert found(reader) == DATA
        assert found(reader, 70_000, 5) == DATA[70_000:70_005]
        assert reader.meter[0] > 0
    write(other, source)
    assert source.times == 1


def test_whoever_is_killed_leaves_nothing_that_is_believed(tmp_path: Path) -> None:
    def die(piece: int) -> None:
        if piece == len(DATA) // STEP:
            os.kill(os.getpid(), signal.SIGKILL)

    assert ended(in_child(lambda: write(fresh(tmp_path), Source(die)))) == -signal.SIGKILL
    cache = fresh(tmp_path)
    (left,) = files(tmp_path)
    assert left.stat().st_blocks * 512 > 0.9 * len(DATA), "it was killed near the end"
    assert found(cache) is None
    write(cache, source := Source())
    assert source.times == 1
    assert found(cache) == DATA
    assert sum(each.stat().st_blocks for each in files(tmp_path)) * 512 < 1.1 * len(DATA)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "zeroed table"])
def test_damage_is_mended(tmp_path: Path, damage: str) -> None:
    write(fresh(tmp_path), Source())
    (path,) = files(tmp_path)
    size = path.stat().st_size
    if damage == "flipped":
        with path.open("r+b") as file:
            file.seek(size - 3 * BLOCK)
            byte = file.read(1)[0]
            file.seek(size - 3 * BLOCK)
            file.write(bytes([byte ^ 4]))
    elif damage == "cut":
        os.truncate(path, size - BLOCK)
    elif damage == "gone":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(bytes(16 * 20))
    cache, source = fresh(tmp_path), Source()
    assert found(cache) is None
    write(cache, source)
    assert source.times == 1
    assert found(cache) == DATA
    assert found(fresh(tmp_path)) == DATA
    assert verify(cache._directory, lambda done, total: None).wrong == 0


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    """Another mount has found it right, and reads it without looking again."""
    cache = fresh(tmp_path)
    write(cache, Source())
    assert found(cache) == DATA
    (path,) = files(tmp_path)
    with path.open("r+b") as file:
        file.seek(4096 + 16 * 5)
        file.write(bytes(16))  # one record is lost

    def wrong() -> Iterator[bytes]:
        yield bytes(len(DATA) - 1)
        assert cache.read_if_cached(volume(), ByteRange.sized(0, 5 * BLOCK)) == DATA[: 5 * BLOCK]
        raise ArchiveError("its checksum does not hold")

    with pytest.raises(ArchiveError):
        write(fresh(tmp_path), wrong)
    assert cache.read_if_cached(volume(), ByteRange.sized(0, 5 * BLOCK)) == DATA[: 5 * BLOCK]
    assert cache.read_if_cached(volume(), ByteRange.sized(5 * BLOCK, 10)) is None
    write(cache, Source())
    assert found(cache) == DATA


@pytest.mark.parametrize("error", [ArchiveError("damaged"), OSError(5, "I/O error")])
def test_what_fails_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    def fail(piece: int) -> None:
        if piece == 10:
            raise error

    with pytest.raises(type(error)):
        write(fresh(tmp_path), Source(fail))
    error.__traceback__ = None  # it would keep the cache as long as pytest keeps the parameter
    assert files(tmp_path) == []


def test_no_room(tmp_path: Path) -> None:
    source = Source()
    with pytest.raises(QuotaExceededError):
        write(fresh(tmp_path, Limits(len(DATA) // 2, 0)), source)
    assert source.times == 0
    assert files(tmp_path) == []


def test_room_that_others_take_meanwhile(tmp_path: Path) -> None:
    limits = Limits(len(DATA) + 3 * BLOCK, 0)
    other = fresh(tmp_path, limits)

    def take(piece: int) -> None:
        if piece == 3:
            with other.quota.taken(10 * BLOCK) as had:
                assert had

    with pytest.raises(QuotaExceededError):
        write(fresh(tmp_path, limits), Source(take))
    assert files(tmp_path) == []


def test_thrown_out_while_it_is_written(tmp_path: Path) -> None:
    cache = fresh(tmp_path)

    def throw_out(piece: int) -> None:
        if piece == 5:
            assert clear(cache._directory, lambda one: True) > 0

    write(cache, Source(throw_out))
    assert found(cache) is None
    assert files(tmp_path) == []
    write(cache, Source())
    assert found(cache) == DATA


@pytest.mark.slow
def test_one_process_of_all_writes_it(tmp_path: Path) -> None:
    """The others wait, and see that it goes on."""
    fresh(tmp_path).close()
    reader, writer = os.pipe()
    others, waiting = os.pipe()

    def ask() -> None:
        moves, writes = 0, False

        def moved() -> None:
            nonlocal moves
            moves += 1
            if not writes:
                os.write(waiting, b"m")

        def slow(piece: int) -> None:
            nonlocal writes
            writes = True
            if piece == 0:
                os.write(writer, b"p")
            if piece < 4:  # it goes on when each of the others has seen the last step
                for _ in range(3):
                    os.read(others, 1)
                time.sleep(0.01)  # or two steps have one time of change

        cache = fresh(tmp_path)
        write(cache, Source(slow), moved)
        assert found(cache) == DATA
        assert moves > 3
        os.write(writer, b".")

    children = [in_child(ask) for _ in range(4)]
    assert [ended(pid) for pid in children] == [0] * 4
    assert sorted(os.read(reader, 100)) == sorted(b"....p")
    for fd in (reader, writer, others, waiting):
        os.close(fd)


def test_missing_runs_end_with_segments() -> None:
    data = random.Random(2).randbytes(4 * BLOCK - 100)
    last = SEGMENT // BLOCK - 1
    at = SEGMENT - 2 * BLOCK
    every = [{last - 1, last}, {0, 1}]
    assert [*volume_writer._missing_runs(at, data, every)] == [
        (0, last - 1, data[: 2 * BLOCK]),
        (1, 0, data[2 * BLOCK :]),
    ]
    some = [{last}, {1}]
    assert [*volume_writer._missing_runs(at, data, some)] == [
        (0, last, data[BLOCK : 2 * BLOCK]),
        (1, 1, data[3 * BLOCK :]),
    ]
    assert [*volume_writer._missing_runs(at, data, [set(), set()])] == []
