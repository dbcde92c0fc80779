"""The mount under fire while it starts: the kernel's first requests meet a
supervisor that takes just one.

Where the process may enlarge pipes (real root may), one request more in the supervisor would make
libfuse create a splice pipe that all workers inherit, and readers would hang.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount, Mounted, mounted, mounts_below

PIPE_MAX_SIZE = Path("/proc/sys/fs/pipe-max-size")

HAMMER = """
import os, sys, time
mountpoint, end = sys.argv[1], time.monotonic() + 60
while time.monotonic() < end and not os.path.exists(sys.argv[2]):
    try:
        os.stat(os.path.join(mountpoint, "ILSVRC2012", "wnids.txt"))
        with open(os.path.join(mountpoint, "ILSVRC2012", "words.txt"), "rb") as file:
            file.read()
    except OSError:
        pass
"""


@pytest.fixture
def large_pipes() -> Iterator[None]:
    """pipe-max-size at 4 MiB, put back afterwards; as it is where it may not be set."""
    before = PIPE_MAX_SIZE.read_text()
    try:
        PIPE_MAX_SIZE.write_text(str(4 << 20))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        PIPE_MAX_SIZE.write_text(before)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("large_pipes")
def test_start_under_fire(sample: Path, tmp_path: Path) -> None:
    mountpoint, stop = tmp_path / "mnt", tmp_path / "stop"
    mountpoint.mkdir()
    hammers = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(mountpoint), str(stop)])
        for _ in range(6)
    ]
    try:
        for _ in range(5):
            one = mounted(sample, mountpoint)
            try:
                _read_everything_at_once(one)
            finally:
                one.close()
            assert not mounts_below(mountpoint)
    finally:
        stop.touch()
        for hammer in hammers:
            hammer.wait(30)


def _read_everything_at_once(one: Mounted) -> None:
    paths = [str(p) for p in sorted(one.root.glob("train/*/*.JPEG"))[:64]]
    readers = [subprocess.Popen(["cat", *paths[n::4]], stdout=subprocess.DEVNULL) for n in range(4)]
    for reader in readers:
        assert reader.wait(30) == 0


def test_session_ends_when_unmounted_from_outside(sample: Path, mount: Mount) -> None:
    one = mount(sample)
    subprocess.run(["fusermount3", "-u", str(one.mountpoint)], check=True, timeout=30)
    assert one.process.wait(15) == 0
    assert "unmounted" in one.log.read_text()
