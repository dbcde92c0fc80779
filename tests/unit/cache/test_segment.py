"""A segment's file: whatever is done to it, what it gives is right, or it gives nothing."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.segment import BLOCK, SegmentPath, Verified
from imagenetfs.cache.segment_file import open_segment
from tests.helpers.block_cache import DATA, Bytes, fresh, members, read_all, volume
from tests.helpers.children import in_children
from tests.helpers.randomness import seeded

MUTATIONS = int(os.environ.get("IMAGENETFS_TEST_MUTATIONS", "200"))
"""Set to 1000 for the full number."""


def flip(file: bytearray, rng: random.Random) -> None:
    """One bit, anywhere; or one in the table, where most is at stake."""
    at = rng.randrange(len(file)) if rng.random() < 0.5 else rng.randrange(4096 + 16 * 80)
    file[at] ^= 1 << rng.randrange(8)


def swap(file: bytearray, rng: random.Random) -> None:
    """Two blocks change places; half the time their records with them."""
    records = [4096 + 16 * rng.randrange(76) for _ in range(2)]
    blocks = [266_240 + BLOCK * ((at - 4096) // 16) for at in records]
    pairs = [(blocks, BLOCK), (records, 16)]
    for (one, other), size in pairs[: 1 + rng.randrange(2)]:
        first, second = file[one : one + size], file[other : other + size]
        file[one : one + size], file[other : other + size] = second, first


def cut(file: bytearray, rng: random.Random) -> None:
    """The end is missing."""
    del file[rng.randrange(len(file)) :]


def zero(file: bytearray, rng: random.Random) -> None:
    """A stretch is zeros, as after a crash."""
    at = rng.randrange(len(file))
    size = rng.choice((1, 16, 4096, BLOCK, len(file)))
    file[at : at + size] = bytes(len(file[at : at + size]))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mutations(tmp_path: Path) -> None:
    rng, directory = seeded("mutations of a segment"), tmp_path / "cache"
    read_all(fresh(directory), volume(), Bytes())
    file = next(directory.glob("*.00000"))
    sound = file.read_bytes()
    fetched = 0
    for turn in range(MUTATIONS):
        mutated = bytearray(sound)
        for _ in range(rng.randrange(1, 4)):
            rng.choice((flip, swap, cut, zero))(mutated, rng)
            if not mutated:
                break
        file.unlink(missing_ok=True)  # what an earlier turn has open stays as it is
        file.write_bytes(mutated)
        file.chmod(0o600)
        cache, one, origin = fresh(directory), volume(), Bytes()
        read_all(cache, one, origin, seed=turn)
        fetched += origin.bytes
        again = len(origin.asked)
        read_all(cache, one, origin, seed=turn + 1)
        assert len(origin.asked) == again, "what was damaged has been put right"
        cache.close()
    assert fetched > 0


def test_a_file_cut_or_emptied_under_the_reader(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    cache, one, origin = fresh(directory), volume(), Bytes()
    read_all(cache, one, origin)
    file = next(directory.glob("*.00000"))
    for size in (file.stat().st_size // 2, 5000, 0):
        os.truncate(file, size)
        read_all(cache, one, origin)


def test_a_record_without_its_data(tmp_path: Path) -> None:
    """After a power failure: the record is on disk, the data is not."""
    directory = tmp_path / "cache"
    read_all(fresh(directory), volume(), Bytes())
    file = next(directory.glob("*.00000"))
    size = file.stat().st_size
    os.truncate(file, 266_240)
    os.truncate(file, size)
    origin = Bytes()
    read_all(fresh(directory), volume(), origin)
    assert origin.bytes > 0


def test_a_checksum_is_looked_at_once_in_a_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "cache"
    read_all(fresh(directory), volume(), Bytes())
    cache, one, sums = fresh(directory), volume(), list[int]()
    real = zlib.crc32

    def counted(data: bytes) -> int:
        sums.append(1)
        return real(data)

    monkeypatch.setattr(zlib, "crc32", counted)
    read_all(cache, one, Bytes())
    assert 0 < len(sums) <= len(DATA) // BLOCK + 2
    done = len(sums)

    def work(number: int) -> bool:  # the workers of the mount know of it
        cache.after_fork()
        read_all(cache, volume(), Bytes(), seed=number)
        return len(sums) == done

    in_children(2, work)


def test_what_it_counted_stays_with_it(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    cache = fresh(directory)
    read = read_all(cache, volume(), Bytes())
    cache.close()
    again = fresh(directory)
    read_all(again, volume(), Bytes())
    again.close()
    name = next(directory.glob("*.00000")).name
    opened = CacheDirectory(directory)
    place = SegmentPath(opened.fd, name, volume().key, 0, len(DATA))
    segment = open_segment(place, Verified())
    assert segment is not None
    hits, misses, saved = segment.counters()
    assert saved >= read
    assert hits >= len(members())
    assert 0 < misses <= len(members())
    segment.close()


Spoil = Callable[[bytearray, random.Random], None]


@pytest.mark.parametrize("spoil", [flip, swap, cut, zero])
def test_the_mutations_do_mutate(spoil: Spoil) -> None:
    before = bytearray(random.Random(1).randbytes(6_000_000))
    rng = seeded(spoil.__name__)
    for _ in range(20):
        after = bytearray(before)
        spoil(after, rng)
        if after != before:
            return
    raise AssertionError("nothing was changed")
