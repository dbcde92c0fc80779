"""How much is kept, what goes, and that nobody who reads sees any of it; full and broken disks."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache import quota
from imagenetfs.cache.bypass import BYPASS_SECONDS
from imagenetfs.cache.directory import unfit_type
from imagenetfs.cache.quota import Limits, limits_of
from imagenetfs.cache.segment import BLOCK
from imagenetfs.counters import BYPASS_UNTIL, SAVED, TROUBLE
from tests.helpers.block_cache import DATA, Bytes, fresh, read_all, volume
from tests.helpers.children import in_children
from tests.helpers.clocks import FakeClock, RushingClock
from tests.helpers.randomness import seeded
from tests.helpers.system_calls import patch_os

MEGABYTE = 1 << 20


# --- smaller than the data ------------------------------------------------------------------------


def test_the_hit_rate_is_cache_by_data(tmp_path: Path) -> None:
    cache, one = fresh(tmp_path / "cache", Limits(int(0.25 * len(DATA)), 0)), volume()
    read_all(cache, one, Bytes())
    for epoch in range(2):
        origin, saved = Bytes(), cache.meter[SAVED]
        read = read_all(cache, one, origin, seed=10 + epoch)
        rate = (cache.meter[SAVED] - saved) / read
        assert abs(rate - 0.25) <= 0.03, "and the head of the segment is in the 25 % too"
        assert origin.bytes <= 0.80 * read
        # What is not kept is read as asked, but for a block between two that are missing.
        assert origin.bytes + cache.meter[SAVED] - saved <= 1.01 * read


def test_what_is_kept_stays_within_the_size(tmp_path: Path) -> None:
    limits = Limits(2 * MEGABYTE, 0)
    cache = fresh(tmp_path / "cache", limits)
    for number in range(6):
        read_all(cache, volume(inode=number), Bytes())
    held = sum(segment.allocated for segment in cache._directory.segments())
    assert 1.8 * MEGABYTE <= held <= limits.size + 64 * 1024
    assert abs(held - cache.quota.used()) <= 64 * 1024


def test_processes_together_stay_within_the_size(tmp_path: Path) -> None:
    cache = fresh(tmp_path / "cache", Limits(2 * MEGABYTE, 0))

    def work(number: int) -> bool:
        cache.after_fork()
        read_all(cache, volume(), Bytes(), seed=number)
        return True

    in_children(5, work)
    held = sum(segment.allocated for segment in cache._directory.segments())
    assert 1.8 * MEGABYTE <= held <= 2 * MEGABYTE + 64 * 1024


def test_a_wrong_account_is_put_right(tmp_path: Path) -> None:
    """Whoever was killed between taking room and writing has left it too high."""
    cache = fresh(tmp_path / "cache", Limits(20 * MEGABYTE, 0))
    cache.read(volume(), ByteRange.sized(0, 10), ByteRange(0, 10), Bytes())
    (tmp_path / "cache" / "used").write_bytes(b"\xff" * 8)
    origin = Bytes()
    for _ in range(2):
        cache.read(
            volume(), ByteRange.sized(2 * BLOCK, 10), ByteRange(2 * BLOCK, 3 * BLOCK), origin
        )
    assert origin.asked == [(2 * BLOCK, BLOCK)], "it was kept at once"
    held = sum(segment.allocated for segment in cache._directory.segments())
    assert abs(held - cache.quota.used()) <= BLOCK


def test_unused_segments_go_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "cache"
    cache = fresh(directory, Limits(6 * MEGABYTE, 0))
    read_all(cache, volume(inode=1), Bytes())
    cache.close()
    old = next(directory.glob("*.00000"))
    later = fresh(directory, Limits(6 * MEGABYTE, 0))
    read_all(later, volume(inode=2), Bytes())
    assert old.exists(), "what was used just now stays"
    os.utime(old, (0, time.time() - 2 * quota.UNUSED_SECONDS))
    newer = fresh(directory, Limits(6 * MEGABYTE, 0))
    read_all(newer, volume(inode=2), Bytes())
    assert not old.exists()
    origin = Bytes()
    read_all(newer, volume(inode=2), origin, seed=9)
    assert origin.asked == [], "and now there is room for all of it"


@pytest.mark.slow
def test_room_is_made_while_eight_read(tmp_path: Path) -> None:
    """Another program takes the disk, again and again: segments go, and no reader sees a hole."""
    cache = fresh(tmp_path / "cache", clock=RushingClock(10.0))
    stop = tmp_path / "stop"

    def work(number: int) -> bool:
        if number == 8:  # the other program
            evicted = 0
            while evicted < 40:
                for segment in cache._directory.segments():
                    cache._directory.remove(segment.name)
                    evicted += 1
                time.sleep(0.02)
            stop.touch()
            return True
        turn = 0
        while not stop.exists():
            if turn % 5 == 0:
                cache.after_fork()
                volumes = [volume(inode=n) for n in range(2)]
            turn += 1
            read_all(cache, volumes[turn % 2], Bytes(), seed=number * 1000 + turn)
        return True

    in_children(9, work)


def test_a_floor_of_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "cache"
    cache = fresh(directory, Limits(1 << 40, 1 << 30))
    free = {"bytes": (1 << 30) + 2 * MEGABYTE}
    monkeypatch.setattr(cache.quota, "_free", lambda: free["bytes"])
    read_all(cache, volume(), Bytes())
    assert cache.quota.used() > MEGABYTE
    free["bytes"] = (1 << 30) - 1  # somebody else has taken the rest
    assert cache.quota.evict()
    assert list(directory.glob("*.00000")) == []
    read_all(cache, volume(), Bytes())
    assert list(directory.glob("*.00000")) == [], "and nothing new is kept"


def test_what_has_gone_counts_though_somebody_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk stays full until the last descriptor is closed; nobody throws out more meanwhile."""
    directory = tmp_path / "cache"
    limits, clock = Limits(1 << 40, 1 << 30), FakeClock()
    monkeypatch.setattr(quota.SpaceQuota, "_free", lambda room: 1 << 40)
    for number in range(5):
        read_all(fresh(directory, limits), volume(inode=number), Bytes())
    monkeypatch.setattr(quota.SpaceQuota, "_free", lambda room: (1 << 30) - 1)
    gone = [fresh(directory, limits, clock).quota.evict() for _ in range(8)]  # eight workers
    assert gone == [True] + 7 * [False]
    assert len(list(directory.glob("*.00000"))) == 4
    clock.advance(quota._COMES_BACK_SECONDS - 1)
    assert not fresh(directory, limits, clock).quota.evict()
    clock.advance(2)
    assert fresh(directory, limits, clock).quota.evict()
    assert len(list(directory.glob("*.00000"))) == 3


def test_limits_from_settings(tmp_path: Path) -> None:
    cache = fresh(tmp_path / "cache")
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize
    half = limits_of(cache._directory, lambda whole: whole // 2, lambda whole: 7)
    assert half.floor == 7
    assert abs(half.size - free // 2) < free // 20
    whole = status.f_blocks * status.f_frsize
    assert limits_of(cache._directory, lambda _: 9, lambda all: all) == Limits(9, whole)


# --- the disk fails -------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """``small_disk(options)``: a tmpfs with these mount options."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a tmpfs")

    def mount(options: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
        return place

    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def test_a_full_disk_is_no_error(small_disk: Callable[..., Path]) -> None:
    directory = small_disk("size=2m") / "cache"
    cache = fresh(directory)
    for epoch in range(2):
        read_all(cache, volume(), Bytes(), seed=epoch)
    assert cache.meter[TROUBLE] == errno.ENOSPC or cache.quota.used() > MEGABYTE
    assert cache.meter[SAVED] > 0


def test_few_inodes(small_disk: Callable[..., Path]) -> None:
    directory = small_disk("size=64m,nr_inodes=5") / "cache"
    cache = fresh(directory)
    for number in range(8):
        read_all(cache, volume(inode=number), Bytes())
    assert cache.meter[TROUBLE] == errno.ENOSPC


def test_remounted_read_only(small_disk: Callable[..., Path]) -> None:
    disk = small_disk("size=64m")
    before = fresh(disk / "cache")
    cache_half = DATA[: 20 * BLOCK]
    for at in range(0, len(cache_half), BLOCK):
        before.read(volume(), ByteRange.sized(at, 100), ByteRange(at, at + 100), Bytes())
    before.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    clock = FakeClock()
    cache, origin = fresh(disk / "cache", clock=clock), Bytes()
    read_all(cache, volume(), origin)
    assert cache.meter[SAVED] > 0, "what is there is used"
    assert cache.meter[TROUBLE] == errno.EROFS
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    clock.advance(BYPASS_SECONDS)
    cache.after_fork()
    read_all(cache, volume(), Bytes())
    origin = Bytes()
    read_all(cache, volume(), origin)
    assert origin.asked == [], "it is back when the disk is"


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("call", ["pwrite", "pread", "open", "fstat", "ftruncate", "link"])
def test_any_call_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Every call on the cache's disk fails now and then, at random."""
    rng, real, failed = seeded(call, number), getattr(os, call), list[int]()

    def fails(*arguments: object, **named: object) -> object:
        if rng.random() < 0.3 or not failed:
            failed.append(1)
            raise OSError(number, os.strerror(number))
        return real(*arguments, **named)

    cache = fresh(tmp_path / "cache", clock=RushingClock(10.0))
    with monkeypatch.context() as patch:
        patch_os(patch, "imagenetfs.cache", **{call: fails})
        for epoch in range(3):
            read_all(cache, volume(inode=epoch), Bytes(), seed=epoch)
    cache.close()
    assert failed
    later, origin = fresh(tmp_path / "cache"), Bytes()
    read_all(later, volume(inode=0), origin)
    read_all(later, volume(inode=0), origin)


def test_it_steps_aside_for_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    cache, one, origin, tried = fresh(tmp_path / "cache", clock=clock), volume(), Bytes(), []

    def full(*arguments: object) -> int:
        tried.append(1)
        raise OSError(errno.EDQUOT, "quota")

    patch_os(monkeypatch, "imagenetfs.cache", pwrite=full)
    for at in range(0, 50 * BLOCK, BLOCK):
        assert (
            cache.read(one, ByteRange.sized(at, 10), ByteRange(at, at + 10), origin)
            == DATA[at : at + 10]
        )
    assert len(tried) == 1
    assert origin.asked[1:] == [(at, 10) for at in range(BLOCK, 50 * BLOCK, BLOCK)]
    assert cache.meter[TROUBLE] == errno.EDQUOT
    assert cache.meter[BYPASS_UNTIL] == clock.monotonic_ns() + 1e9 * BYPASS_SECONDS
    monkeypatch.undo()
    clock.advance(BYPASS_SECONDS - 0.1)
    origin = Bytes()
    for _ in range(2):
        cache.read(one, ByteRange.sized(0, 10), ByteRange(0, 10), origin)
    assert len(origin.asked) == 2, "not yet"
    clock.advance(0.2)
    origin = Bytes()
    for _ in range(2):
        cache.read(one, ByteRange.sized(0, 10), ByteRange(0, 10), origin)
    assert len(origin.asked) == 1


def test_a_directory_that_was_removed(tmp_path: Path) -> None:
    """It is not made anew, and found where it was; it must be ours then too."""
    directory = tmp_path / "cache"
    cache, one = fresh(directory, clock=RushingClock(10.0)), volume()
    read_all(cache, one, Bytes())
    shutil.rmtree(directory)
    read_all(cache, one, Bytes())
    assert cache.meter[TROUBLE] == errno.ENOENT
    assert not directory.exists()
    directory.mkdir()
    directory.chmod(0o755)
    read_all(cache, one, Bytes())
    assert list(directory.iterdir()) == []
    directory.chmod(0o700)
    origin = Bytes()
    for seed in range(2):
        origin = Bytes()
        read_all(cache, one, origin, seed)
    assert origin.asked == []
    assert len(list(directory.glob("*.00000"))) == 1


def test_memory_is_unfit(small_disk: Callable[..., Path]) -> None:
    assert unfit_type(small_disk("size=1m") / "not" / "there") == "tmpfs"
