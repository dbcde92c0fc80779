"""Deflated arrays through a mount: unpacked once for many readers; without room an error that says so."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import Mounted

MountIt = Callable[..., Mounted]


def paths(one: Mounted) -> list[Path]:
    return sorted((one.mountpoint / "Imagenet32" / "train").glob("*/*"))


def test_once_for_many_readers(sample: Path, sample_mount: Mounted, mount: MountIt) -> None:
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
"""More than workers; one more, and the kernel itself lets nobody else read where its limit cannot be raised."""


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_waits_for_an_array_holds_up_nobody_else(
    sample: Path, sample_mount: Mounted, tmp_path: Path, mount: MountIt
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


def test_without_room(
    sample: Path, small_tmpdir: Path, sample_mount: Mounted, mount: MountIt
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
