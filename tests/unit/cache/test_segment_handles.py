"""The segments that a process has open: when they are opened, made, told, and let go of."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.cache.directory import CacheDirectory, prepare, segment_name
from imagenetfs.cache.quota import Limits, QuotaExceededError, SpaceQuota
from imagenetfs.cache.segment import BLOCK, SEGMENT, Verified
from imagenetfs.cache.segment_file import length_of
from imagenetfs.cache.segment_handles import SegmentHandles
from imagenetfs.cache.volume import Volume
from tests.helpers.leaks import descriptors

KEY = bytes(range(32))
PLENTY, NOTHING = Limits(1 << 40, 0), Limits(0, 0)


class Cache:
    """A directory, and handles of it."""

    def __init__(self, path: Path) -> None:
        prepare(path)
        self.path = path
        self.directory = CacheDirectory(path)
        self.handles = SegmentHandles(self.directory, Verified())
        self.quota = SpaceQuota(self.directory, PLENTY)
        self.quota.has(0)  # it opens its own file then
        self.volume = Volume(KEY, SEGMENT + 5 * BLOCK, {"archive": "t.tar"})

    def close(self) -> None:
        self.handles.close()
        self.quota.close()
        self.directory.close()

    def file(self, number: int) -> Path:
        return self.path / segment_name(KEY, number)

    def make(self, number: int = 0) -> None:
        self.handles.to_write(self.volume, number, self.quota)

    def told(self, number: int = 0) -> tuple[int, int, int]:
        """The counters in the file."""
        other = SegmentHandles(self.directory, Verified())
        segment = other.get(Volume(KEY, self.volume.size, {}), number)
        assert segment is not None
        counters = segment.counters()
        other.close()
        return counters


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    one = Cache(tmp_path / "cache")
    yield one
    one.close()


def opened(cache: Cache) -> int:
    """How many files of the cache are open, and its directory."""
    below = os.readlink(f"/proc/self/fd/{cache.directory.fd}")
    return sum(what.startswith(below) for what in descriptors().values())


def test_there_is_none_before_it_is_made(cache: Cache) -> None:
    before = opened(cache)
    assert cache.handles.get(cache.volume, 0) is None
    assert cache.volume.segments == {}
    assert opened(cache) == before


def test_one_that_is_made_stands_in_its_volume(cache: Cache) -> None:
    segment = cache.handles.to_write(cache.volume, 0, cache.quota)
    assert cache.volume.segments == {0: segment}
    assert cache.volume.tally == {0: [0, 0, 0]}
    assert cache.handles.get(cache.volume, 0) is segment
    assert cache.handles.to_write(cache.volume, 0, cache.quota) is segment
    assert segment.about() == {"archive": "t.tar"}


@pytest.mark.parametrize(("number", "length"), [(0, SEGMENT), (1, 5 * BLOCK)])
def test_the_last_segment_is_as_long_as_what_is_left(
    cache: Cache, number: int, length: int
) -> None:
    cache.make(number)
    assert length_of(cache.directory.fd, segment_name(KEY, number)) == length


def test_one_that_another_process_made_is_opened(cache: Cache, tmp_path: Path) -> None:
    other = Cache(tmp_path / "cache")
    other.make()
    assert cache.handles.get(cache.volume, 0) is not None
    other.close()


def test_nothing_is_made_where_there_is_no_room(cache: Cache) -> None:
    room = SpaceQuota(cache.directory, NOTHING)
    with pytest.raises(QuotaExceededError):
        cache.handles.to_write(cache.volume, 0, room)
    assert not cache.file(0).exists()
    cache.make()
    cache.handles.close()
    assert cache.handles.to_write(cache.volume, 0, room)  # what is there needs none
    room.close()


@pytest.mark.parametrize("how", ["unlinked", "cut"])
def test_one_that_is_gone_is_made_anew_to_write_to(cache: Cache, how: str) -> None:
    cache.make()
    first = cache.volume.segments[0]
    if how == "unlinked":
        cache.file(0).unlink()
    else:
        os.truncate(cache.file(0), 5000)
    before = opened(cache)
    second = cache.handles.to_write(cache.volume, 0, cache.quota)
    assert second is not first
    assert second.is_current()
    assert opened(cache) == before


def test_one_of_a_disk_that_became_read_only_is_read_not_written_to(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.make()
    cache.handles.close()
    real = os.open

    def refuse(path: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *more, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert cache.handles.get(cache.volume, 0) is not None
        with pytest.raises(OSError, match="Read-only") as caught:
            cache.handles.to_write(cache.volume, 0, cache.quota)
        assert caught.value.errno == errno.EROFS
        assert cache.handles.get(cache.volume, 0) is not None
    assert cache.handles.to_write(cache.volume, 0, cache.quota).writable


# --- looking --------------------------------------------------------------------------------------


def test_a_look_lets_go_of_what_is_gone(cache: Cache) -> None:
    cache.make(0)
    cache.make(1)
    before = opened(cache)
    cache.file(0).unlink()
    cache.handles.check(100.0)
    assert list(cache.volume.segments) == list(cache.volume.tally) == [1]
    assert opened(cache) == before - 1
    assert cache.handles.check_at == 101.0


def test_what_was_counted_is_left_with_the_file_now_and_then(cache: Cache) -> None:
    cache.make()
    cache.handles.check(100.0)
    cache.volume.tally[0] = [3, 2, 1000]
    cache.handles.check(109.9)
    assert cache.told() == (0, 0, 0)
    cache.handles.check(110.0)
    assert cache.told() == (3, 2, 1000)
    assert cache.volume.tally[0] == [0, 0, 0]
    cache.volume.tally[0] = [1, 0, 5]
    cache.handles.check(120.0)
    assert cache.told() == (4, 2, 1005)


def test_a_segment_that_was_used_says_so(cache: Cache) -> None:
    cache.make()
    os.utime(cache.file(0), (1, 1))
    cache.handles.check(100.0)
    assert cache.file(0).stat().st_mtime == 1
    cache.volume.segments[0].used = True
    cache.handles.check(200.0)
    assert cache.file(0).stat().st_mtime > 1
    os.utime(cache.file(0), (1, 1))
    cache.handles.check(300.0)
    assert cache.file(0).stat().st_mtime == 1


def test_what_cannot_be_told_is_no_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.make()

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        cache.volume.tally[0] = [3, 2, 1000]
        cache.handles.check(100.0)
        cache.handles.close()
    assert cache.told() == (0, 0, 0)


# --- the end --------------------------------------------------------------------------------------


def test_closing_tells_and_they_are_opened_again_when_needed(cache: Cache) -> None:
    before = opened(cache)
    cache.make()
    cache.volume.tally[0] = [1, 1, 7]
    cache.handles.close()
    assert (cache.volume.segments, cache.volume.tally) == ({}, {})
    assert opened(cache) == before
    assert cache.told() == (1, 1, 7)
    assert cache.handles.get(cache.volume, 0) is not None


def test_a_forked_child_tells_nothing_of_what_its_parent_counted(cache: Cache) -> None:
    cache.make()
    cache.volume.tally[0] = [1, 1, 7]
    before = opened(cache)
    cache.handles.forget()
    assert (cache.volume.segments, cache.volume.tally) == ({}, {})
    assert opened(cache) == before - 1
    assert cache.told() == (0, 0, 0)


def test_no_more_are_open_than_may_be(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.handles, "_most_open", 3)
    volumes = [Volume(bytes([n]) * 32, BLOCK, {}) for n in range(5)]
    before = opened(cache)
    for volume in volumes:
        cache.handles.to_write(volume, 0, cache.quota)
        volume.tally[0][0] += 1
    assert opened(cache) == before + 3
    assert [len(volume.segments) for volume in volumes] == [0, 0, 1, 1, 1]
    segment = cache.handles.get(volumes[0], 0)
    assert segment is not None
    assert segment.counters() == (1, 0, 0)
    assert [len(volume.segments) for volume in volumes] == [1, 0, 0, 1, 1]
