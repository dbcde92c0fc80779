"""Deflated arrays through a mount: unpacked once for many readers; without room an error that says so."""

from __future__ import annotations

import errno
import os
import subprocess
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
