"""Mounts whose index cannot be written, or stands in the source itself; mounts that share one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.index.search_path import IN_SOURCE, IndexSearchPath
from tests.helpers.mounts import Mount, Mounted, mounted

GROUP = "ILSVRC2012_img_train"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount for the test")


@contextlib.contextmanager
def _small_disk(directory: Path, *options: str) -> Iterator[None]:
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def _served(mount: Mounted, sample: Path) -> None:
    """Every train image of the first class, as the extracted sample has it."""
    train = mount.root / "train"
    wnid = sorted(os.listdir(train))[0]
    names = sorted(os.listdir(train / wnid))
    assert names
    extracted = sample / "ILSVRC2012" / "train" / wnid
    for name in names:
        assert (train / wnid / name).read_bytes() == (extracted / name).read_bytes()


def _indexed_ahead(mount: Mounted) -> None:
    """Wait until the indexing process has ended: then it has tried to write."""
    deadline = time.monotonic() + 30
    while "indexed" not in mount.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "indexed" in mount.log.read_text()


@pytest.mark.expects_log("cannot be written: No space left on device")
def test_a_full_index_directory(sample: Path, mount: Mount, tmp_path: Path) -> None:
    place = tmp_path / "index"
    with _small_disk(place, "-t", "tmpfs", "-o", "size=8k", "none"):
        with contextlib.suppress(OSError), (place / "full").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        one = mount(sample, index_dir=place)
        _served(one, sample)
        _indexed_ahead(one)
        assert "cannot be written" in one.log.read_text()
        one.close()


@pytest.mark.expects_log("cannot be written: Read-only file system")
def test_a_read_only_index_directory(sample: Path, mount: Mount, tmp_path: Path) -> None:
    place = tmp_path / "index"
    place.mkdir()
    with _small_disk(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        one = mount(sample, index_dir=place)
        _served(one, sample)
        _indexed_ahead(one)
        assert list(place.iterdir()) == []
        one.close()


def test_no_room_for_temporary_files_either(
    sample: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "small"
    with _small_disk(place, "-t", "tmpfs", "-o", "size=64k", "none"):
        monkeypatch.setenv("TMPDIR", str(place))
        one = mount(sample, index_dir=place / "index")
        _served(one, sample)
        one.close()


def test_an_index_in_the_source_under_a_mount_over_it(
    sample_copy: Path, sample: Path, mount: Mount, tmp_path: Path
) -> None:
    """A look at it by its path would be a question to the mount itself, which never answers."""
    first = mount(sample_copy, index_dir=sample_copy / IN_SOURCE)
    _served(first, sample)
    _indexed_ahead(first)
    first.close()
    file = IndexSearchPath(sample_copy / IN_SOURCE, sample_copy).file(GROUP)
    assert file == sample_copy / IN_SOURCE / f"{GROUP}.idx"
    assert file.exists()
    second = mounted(sample_copy, sample_copy, index_dir=None)
    try:
        _served(second, sample)
        opened = [os.readlink(link) for link in Path(f"/proc/{second.process.pid}/fd").iterdir()]
        assert any(path.endswith(f"{IN_SOURCE}/{GROUP}.idx") for path in opened)
    finally:
        second.close()


def test_two_mounts_share_a_place(sample: Path, mount: Mount, tmp_path: Path) -> None:
    place = tmp_path / "index"
    one, other = mount(sample, index_dir=place), mount(sample, index_dir=place)
    _served(one, sample)
    _served(other, sample)
    _indexed_ahead(one)
    _indexed_ahead(other)
    file = IndexSearchPath(place, sample).file(GROUP)
    assert file is not None
    assert file.exists()
    assert [path.name for path in file.parent.iterdir() if ".lease" in path.name] == []
