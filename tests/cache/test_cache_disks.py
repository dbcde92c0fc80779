"""Disks that fill up, run out of inodes, turn read-only or break under the
cache: no error to any reader.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.cache.directory import prepare
from tests.helpers.bench import until
from tests.helpers.cache import PLENTY, epoch, files, make_train, sums
from tests.helpers.mounts import Mount, Mounted


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A source of 100 MB, and the checksums of its images."""
    source = tmp_path_factory.mktemp("train")
    make_train(source, classes=9, images=100)
    return source, {}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``disk("ext4")``: a loop-mounted file system of 64 MiB;
    ``disk("tmpfs:OPTIONS")``: one in memory.
    """
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root mounts file systems")

    def mount(kind: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", kind.partition(":")[2], "none", str(place)]
        if kind == "ext4":
            image = tmp_path / "image"
            image.touch()
            os.truncate(image, 64 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
            command = ["mount", "-o", "loop,errors=remount-ro", str(image), str(place)]
        subprocess.run(command, check=True)
        return place

    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def check(mounted: Mounted, seed: int) -> None:
    """Two epochs, with every byte looked at in the second; no error."""
    paths = files(mounted.root / "train")
    epoch(paths, seed)
    again = sums(mounted.root, paths)
    assert len(again) == 900
    assert EXPECTED.setdefault("sums", again) == again
    assert mounted.status()["counters"]["errors"] == 0


EXPECTED: dict[str, dict[str, str]] = {}


def _trouble(mounted: Mounted) -> str | None:
    found: str | None = mounted.status()["cache"]["steps_aside"]
    return found


@pytest.mark.timeout(300)
def test_a_disk_smaller_than_the_data(
    train: tuple[Path, object], mount: Mount, disk: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = mount(train[0])
    EXPECTED["sums"] = sums(plain.root, files(plain.root / "train"))
    plain.close()
    cache = disk("ext4") / "cache"
    prepare(cache)
    mounted = mount(train[0], cache_dir=cache, cache_size=PLENTY)
    check(mounted, seed=1)
    log = mounted.log.read_text()
    assert log.count("steps aside (No space left on device)") <= 2, "a line a minute at most"
    before = mounted.status()["counters"]["cache_bytes"]
    epoch(files(mounted.root / "train"), seed=9)
    assert mounted.status()["counters"]["cache_bytes"] - before > 35e6, "what fits is there"


@pytest.mark.expects_log("what it does not have is read from the")
@pytest.mark.timeout(300)
def test_few_inodes(train: tuple[Path, object], mount: Mount, disk: Callable[[str], Path]) -> None:
    cache = disk("tmpfs:size=1g,nr_inodes=3") / "cache"
    prepare(cache)  # takes the second of them
    mounted = mount(train[0], cache_dir=cache, cache_size=PLENTY)
    check(mounted, seed=2)


@pytest.mark.expects_log("what it does not have is read from the")
@pytest.mark.timeout(300)
def test_a_disk_that_turns_read_only(
    train: tuple[Path, object], mount: Mount, disk: Callable[[str], Path]
) -> None:
    """As ext4 does after an error, under those who write: here by its own switch for tests."""
    place = disk("ext4")
    cache = place / "cache"
    prepare(cache)
    mounted = mount(train[0], cache_dir=cache, cache_size=PLENTY)
    paths = files(mounted.root / "train")
    epoch(paths[:200], seed=1)
    device = os.stat(place).st_dev
    name = os.path.basename(
        os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    )
    Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("test")
    with pytest.raises(OSError, match="Read-only"):
        (place / "x").touch()
    check(mounted, seed=3)
    assert _trouble(mounted) == os.strerror(errno.EROFS)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that lets calls fail; see faults.c."""
    compiler, library = shutil.which("gcc"), tmp_path_factory.mktemp("faults") / "faults.so"
    if compiler is None:
        pytest.skip("no gcc to compile what lets calls fail")
    code = Path(__file__).with_name("faults.c")
    options = ["-shared", "-fPIC", "-O2", "-o"]
    subprocess.run([compiler, *options, library, code, "-ldl"], check=True)
    return library


@pytest.mark.expects_log("what it does not have is read from the")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "calls", "every"),
    [
        (errno.EDQUOT, "w", 1),
        (errno.EDQUOT, "wo", 3),
        (errno.EIO, "rwo", 3),
        (errno.EIO, "rwo", 1),
    ],
)
def test_calls_that_fail(
    train: tuple[Path, object],
    mount: Mount,
    faults: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    calls: str,
    every: int,
) -> None:
    """Over quota, or broken, for all of the server's processes: whatever it
    calls on the cache's disk.
    """
    cache, switch = tmp_path / "cache", tmp_path / "broken"
    prepare(cache)
    with monkeypatch.context() as environ:
        environ.setenv("LD_PRELOAD", str(faults))
        facts = {"DIRECTORY": cache, "SWITCH": switch, "ERRNO": number, "CALLS": calls}
        for name, value in {**facts, "EVERY": every}.items():
            environ.setenv(f"FAULT_{name}", str(value))
        mounted = mount(train[0], cache_dir=cache, cache_size=PLENTY)
    paths = files(mounted.root / "train")
    epoch(paths[:100], seed=1)
    switch.touch()
    check(mounted, seed=4)
    assert _trouble(mounted) == os.strerror(number)
    switch.unlink()
    assert until(lambda: _trouble(mounted) is None)  # it is back when the disk is
    epoch(paths, seed=5)
    epoch(paths, seed=6)
    before_bytes = mounted.source_bytes()
    epoch(paths, seed=7)
    assert mounted.source_bytes() == before_bytes
    assert mounted.log.read_text().count("steps aside") == 1


def _free(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


IMPATIENT = {
    "imagenetfs.server.cache_monitor:_IDLE_LOOK_SECONDS": 1.0,
    "imagenetfs.server.cache_monitor:_KEEP_SECONDS": 1.0,
}
"""A supervisor that looks after what is idle every second, and not every ten."""


def _segments(cache: Path) -> list[Path]:
    return list(cache.glob("*.[0-9][0-9][0-9][0-9][0-9]"))


def test_an_idle_mount_gives_space_back(
    train: tuple[Path, object], mount: Mount, disk: Callable[[str], Path]
) -> None:
    """Nobody reads any more, and another program fills the disk: what is kept
    goes, and its space too.
    """
    place = disk("tmpfs:size=300m")
    cache, floor = place / "cache", 100 << 20
    prepare(cache)
    plan = {"cache_dir": cache, "cache_size": PLENTY, "keep_free": floor}
    mounted = mount(train[0], constants=IMPATIENT, **plan)
    paths = files(mounted.root / "train")
    epoch(paths, seed=1)
    assert len(_segments(cache)) == 1
    held = _free(place)
    (place / "other").write_bytes(bytes(held - floor + (1 << 20)))
    assert _free(place) < floor
    assert until(lambda: _free(place) >= floor + (50 << 20))
    assert _segments(cache) == []
    (place / "other").unlink()
    epoch(paths, seed=2)
    assert len(_segments(cache)) == 1, "it is used again when there is room"
    assert mounted.status()["worker_restarts"] == 0
    assert mounted.status()["counters"]["errors"] == 0


def test_what_is_cleared_under_an_idle_mount_is_free(
    train: tuple[Path, object], mount: Mount, disk: Callable[[str], Path]
) -> None:
    place = disk("tmpfs:size=300m")
    cache = place / "cache"
    prepare(cache)
    mounted = mount(train[0], cache_dir=cache, cache_size=PLENTY, constants=IMPATIENT)
    paths = files(mounted.root / "train")
    before = _free(place)
    epoch(paths, seed=1)
    expected = sums(mounted.root, paths[:100])
    for segment in _segments(cache):
        segment.unlink()
    assert _free(place) < before - (50 << 20)
    assert until(lambda: _free(place) >= before - (1 << 20))
    assert sums(mounted.root, paths[:100]) == expected
    assert mounted.status()["worker_restarts"] == 0
