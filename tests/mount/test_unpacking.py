"""Deflated arrays through a mount: unpacked once for many readers and, with a cache, for the mounts
to come; without room an error that says so.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.inventory import list_volumes
from tests.helpers.cache import PLENTY
from tests.helpers.mounts import Mount, Mounted, detach
from tests.helpers.passthrough import slow_source

pytestmark = pytest.mark.spread


def paths(one: Mounted) -> list[Path]:
    return sorted((one.mountpoint / "Imagenet32" / "train").glob("*/*"))


def test_once_for_many_readers(sample: Path, sample_mount: Mounted, mount: Mount) -> None:
    one = mount(sample)
    every = paths(one)
    with ThreadPoolExecutor(16) as pool:
        data = list(pool.map(Path.read_bytes, every))
    assert data == [path.read_bytes() for path in paths(sample_mount)]
    log = one.log.read_text()
    for batch in range(1, 11):
        assert (
            log.count(f"unpacking DownSampled/Imagenet32_train_npz/train_data_batch_{batch}.npz")
            == 1
        )
        assert (
            log.count(f"unpacked DownSampled/Imagenet32_train_npz/train_data_batch_{batch}.npz")
            == 1
        )


GATED = """
import os, time
from imagenetfs.formats import npz

inflate = npz.contents

def contents(read_at, array):
    while array.name == "data" and not os.path.exists({gate!r}):
        time.sleep(0.01)
    yield from inflate(read_at, array)

npz.contents = contents
"""


READERS = 11
"""More than workers; one more, and the kernel itself lets nobody else read where
its limit cannot be raised.
"""


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_waits_for_an_array_holds_up_nobody_else(
    sample: Path, sample_mount: Mounted, tmp_path: Path, mount: Mount
) -> None:
    gate = tmp_path / "gate"
    one = mount(sample, workers=8, before=GATED.format(gate=str(gate)))
    few = [path.relative_to(one.mountpoint) for path in paths(one)[::60]][:READERS]
    other = next((one.root / "val").glob("*/*")).relative_to(one.mountpoint)

    def waiting() -> int:
        return sum("in the source" in worker["state"] for worker in one.status()["workers"])

    with ThreadPoolExecutor(len(few)) as pool:
        try:
            data = [pool.submit((one.mountpoint / path).read_bytes) for path in few]
            wait_until(lambda: waiting() == READERS)
            expected = (sample_mount.mountpoint / other).read_bytes()
            assert (one.mountpoint / other).read_bytes() == expected
            assert [each for each in data if each.done()] == []
        finally:
            gate.touch()
        for path, each in zip(few, data, strict=True):
            assert each.result() == (sample_mount.mountpoint / path).read_bytes()
    wait_until(lambda: len(one.status()["workers"]) <= 8)


@pytest.fixture
def small_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """$TMPDIR on a file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a tmpfs")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=True)
    monkeypatch.setenv("TMPDIR", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.expects_log("point --cache-dir or TMPDIR to a directory on this")
def test_without_room(
    sample: Path, small_tmpdir: Path, sample_mount: Mounted, mount: Mount
) -> None:
    one = mount(sample)
    right, failed = 0, []
    for path, other in zip(paths(one), paths(sample_mount), strict=True):
        try:
            assert path.read_bytes() == other.read_bytes()
            right += 1
        except OSError as error:
            failed.append(error.errno)
    assert right > 0
    assert set(failed) == {errno.EIO}
    assert "--cache-dir or TMPDIR" in one.log.read_text()
    for path in (one.mountpoint / "Imagenet16" / "train").glob("*/*"):
        assert path.read_bytes()


# --- with a cache ---------------------------------------------------------------------------------


def read_all(one: Mounted, sample_mount: Mounted) -> None:
    """Every row is right."""
    for path, other in zip(paths(one), paths(sample_mount), strict=True):
        assert path.read_bytes() == other.read_bytes()


def unpackings(*mounts: Mounted) -> int:
    return sum(one.log.read_text().count("INFO unpacking ") for one in mounts)


def test_the_next_mount_unpacks_nothing(
    sample: Path, sample_mount: Mounted, cache_dir: Path, mount: Mount
) -> None:
    with slow_source(sample) as source:
        plan = {"cache_dir": cache_dir, "cache_size": PLENTY}
        first = mount(source.path, **plan)
        read_all(first, sample_mount)
        assert unpackings(first) == 10
        first.close()
        later = mount(source.path, **plan)
        paths(later)
        before = source.counters()["bytes"]
        read_all(later, sample_mount)
        assert source.counters()["bytes"] == before
    assert unpackings(later) == 0
    assert later.status()["counters"]["cache_misses"] == 0
    directory = CacheDirectory(cache_dir)
    rows = [one for one in list_volumes(directory) if "Imagenet32_train" in one.archive]
    directory.close()
    assert {one.version for one in rows} == {"Imagenet32"}
    assert [one.bytes for one in rows] == [one.size for one in rows]
    assert len(rows) == 10


def test_two_mounts_unpack_once(
    sample: Path, sample_mount: Mounted, cache_dir: Path, mount: Mount
) -> None:
    two = [mount(sample, cache_dir=cache_dir, cache_size=PLENTY) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        every = [path for pair in zip(*map(paths, two), strict=True) for path in pair]
        data = list(pool.map(Path.read_bytes, every))
    assert data[::2] == data[1::2] == [path.read_bytes() for path in paths(sample_mount)]
    assert unpackings(*two) == 10


STOPPED = """
import os, time
from imagenetfs.formats import npz

inflate = npz.contents

def contents(read_at, array):
    pieces = inflate(read_at, array)
    if array.name == "data":
        piece = next(pieces)
        half = len(piece) // 2
        yield piece[:half]
        open({there!r}, "x").close()
        time.sleep(60)
    yield from pieces

npz.contents = contents
"""


def test_killed_in_the_middle(
    sample: Path, sample_mount: Mounted, cache_dir: Path, tmp_path: Path, mount: Mount
) -> None:
    """Nothing that it left is believed."""
    there = tmp_path / "there"
    plan = {"cache_dir": cache_dir, "cache_size": PLENTY}
    first = mount(sample, before=STOPPED.format(there=str(there)), **plan)
    path = paths(first)[0]
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(path.read_bytes)
        wait_until(there.exists)
        first.process.kill()
        first.process.wait()
        detach(first.mountpoint)
        assert reading.exception() is not None
    directory = CacheDirectory(cache_dir)
    (stored,) = directory.segments()
    assert stored.allocated > 0
    assert [one.bytes for one in list_volumes(directory)] == [0]
    directory.close()
    later = mount(sample, **plan)
    read_all(later, sample_mount)
    assert unpackings(later) == 10


@pytest.mark.parametrize("damage", ["flipped", "cut", "thrown out"])
def test_damage_is_unpacked_again(
    sample: Path, sample_mount: Mounted, cache_dir: Path, mount: Mount, damage: str
) -> None:
    plan = {"cache_dir": cache_dir, "cache_size": PLENTY}
    first = mount(sample, **plan)
    read_all(first, sample_mount)
    first.close()
    segments = list(cache_dir.glob("*.00000"))
    assert len(segments) == 10
    for path in segments:
        if damage == "thrown out":
            path.unlink()
        elif damage == "cut":
            os.truncate(path, path.stat().st_size - 100)
        else:
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path.write_bytes(data)
    later = mount(sample, **plan)
    read_all(later, sample_mount)
    assert unpackings(later) == 10
    later.close()
    third = mount(sample, **plan)
    read_all(third, sample_mount)
    assert unpackings(third) == 0


def test_thrown_out_under_the_mount(
    sample: Path, sample_mount: Mounted, cache_dir: Path, mount: Mount
) -> None:
    one = mount(sample, cache_dir=cache_dir, cache_size=PLENTY)
    read_all(one, sample_mount)
    for path in cache_dir.glob("*.00000"):
        path.unlink()
    drop = [os.open(path, os.O_RDONLY) for path in paths(one)]
    for fd in drop:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    time.sleep(1.1)  # a worker looks once a second whether what it has open is still there
    read_all(one, sample_mount)
    assert unpackings(one) == 20
    assert "this mount alone" not in one.log.read_text()


@pytest.mark.expects_log("is unpacked for this mount alone, into")
def test_a_cache_without_room(
    sample: Path, sample_mount: Mounted, cache_dir: Path, mount: Mount
) -> None:
    one = mount(sample, cache_dir=cache_dir, cache_size=100_000)
    read_all(one, sample_mount)
    assert one.log.read_text().count("is unpacked for this mount alone") == 10
    assert unpackings(one) == 10
    assert list(cache_dir.glob("*.00000")) == []


def test_a_replaced_npz_gets_nothing_of_the_old_one(
    tmp_path: Path, cache_dir: Path, mount: Mount
) -> None:
    directory = tmp_path / "imagenet" / "DownSampled" / "Imagenet8_train_npz"
    directory.mkdir(parents=True)
    batch, rng = directory / "train_data_batch_1.npz", np.random.default_rng(3)
    plan = {"cache_dir": cache_dir, "cache_size": PLENTY}
    for number in range(2):
        rows = rng.integers(0, 256, (50, 192), dtype=np.uint8)
        np.savez_compressed(batch, data=rows, labels=np.ones(50, int))
        os.utime(batch, (1_300_000_000, 1_300_000_000))
        one = mount(tmp_path / "imagenet", **plan)
        shown = sorted((one.mountpoint / "Imagenet8" / "train" / "unlabeled").iterdir())
        pixels = [np.asarray(Image.open(path)).transpose(2, 0, 1).ravel() for path in shown]
        assert np.array_equal(np.array(pixels), rows)
        assert unpackings(one) == 1, number
        one.close()
