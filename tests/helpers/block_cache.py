"""A block cache in a directory, and an origin in memory that counts what the cache asks of it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.quota import Limits
from imagenetfs.cache.source_pace import SourcePace
from imagenetfs.cache.volume import Identity, Volume
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

PLENTY = Limits(1 << 40, 0)
DATA = random.Random(1).randbytes(5_000_000)


class Bytes:
    """An origin that is a bytes object, and counts what is asked of it. ``at``: where it is in the
    volume.
    """

    def __init__(self, data: bytes = DATA, at: int = 0) -> None:
        self.data = data
        self.at = at
        self.asked: list[tuple[int, int]] = []
        self.forgotten = 0
        self.same = True

    def read(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        data = self.data[offset - self.at : offset - self.at + length]
        assert len(data) == length, "asked beyond the end"
        return data

    def is_same(self) -> bool:
        return self.same

    def forget(self, offset: int, length: int) -> None:
        self.forgotten += length

    @property
    def bytes(self) -> int:
        return sum(length for _, length in self.asked)


class Steady(SourcePace):
    """The pace of a source of which it is known that a MiB pays."""

    @property
    def range_size(self) -> int:
        return 1 << 20


IDENTITY = Identity(path=b"a/b.tar", size=len(DATA), mtime_ns=5, inode=6, sample=7)


def volume(size: int = len(DATA), apart: bool = False, **changes: Any) -> Volume:
    """DATA's archive; with ``changes`` of its identity another archive, or another version of
    it.
    """
    return Volume(replace(IDENTITY, **changes).key, size, {"archive": "a/b.tar"}, apart)


def members(mean: int = 110_000, seed: int = 2) -> list[tuple[int, int]]:
    """[start, end) of members that fill DATA as images fill a tar."""
    rng, at, found = random.Random(seed), 0, []
    while at < len(DATA) - 4 * mean:
        end = at + rng.randrange(mean // 4, 2 * mean)
        found.append((at + 512, end))
        at = -(-end // 512) * 512
    return found


def read_all(cache: BlockCache, one: Volume, origin: Bytes, seed: int = 3) -> int:
    """Read every member in some order, in pieces as the kernel asks for them; the bytes read."""
    order = members()
    random.Random(seed).shuffle(order)
    total = 0
    for start, end in order:
        for at in range(start, end, 1 << 17):
            length = min(1 << 17, end - at)
            assert (
                cache.read(one, ByteRange.sized(at, length), ByteRange(start, end), origin)
                == DATA[at : at + length]
            )
            total += length
    return total


def fresh(directory: Path, limits: Limits = PLENTY, clock: Clock = SYSTEM_CLOCK) -> BlockCache:
    """The cache as a new mount has it."""
    prepare(directory)
    return BlockCache(CacheDirectory(directory), limits, clock=clock)
