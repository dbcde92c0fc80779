"""A handler made to raise, or to answer nonsense, in every operation: EIO, a
traceback, the mount lives.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount

BREAK = """
from imagenetfs.fuse import operations
from imagenetfs.tree.inode import InodeKind, kind_of
import os

def broken(*arguments):
    if os.path.exists({flag!r}):
        {deed}
    return original(*arguments)

target = {target}
original = getattr(target, {name!r})
setattr(target, {name!r}, broken)
"""

READER = "__import__('imagenetfs.read.reader', fromlist=['Reader']).Reader"
TREE = "__import__('imagenetfs.tree.tree', fromlist=['Tree']).Tree"
LIVE = "__import__('imagenetfs.fuse.status_files', fromlist=['StatusFiles']).StatusFiles"

A_FILE = "ILSVRC2012/wnids.txt"


def _an_image(root: Path) -> Path:
    return next(next((root / "ILSVRC2012" / "train").iterdir()).iterdir())


CASES: list[tuple[str, str, Callable[[Path], object]]] = [
    (TREE, "lookup", lambda root: (root / "ILSVRC2012" / "nothing").stat()),
    (TREE, "attributes", lambda root: os.stat(root / "ILSVRC2012" / "labels.txt")),
    (TREE, "listing", lambda root: os.listdir(root / "ILSVRC2012")),
    (TREE, "file", lambda root: (root / A_FILE).read_bytes()),
    (TREE, "extended", lambda root: os.listxattr(root / A_FILE)),
    (TREE, "extended_value", lambda root: os.getxattr(root / A_FILE, "user.imagenetfs.wnid")),
    (TREE, "bytes_of_archives", lambda root: os.statvfs(root)),
    (LIVE, "contents", lambda root: (root / ".imagenetfs" / "status.json").read_bytes()),
]


@pytest.mark.parametrize(("target", "name", "act"), CASES, ids=[case[1] for case in CASES])
@pytest.mark.parametrize("deed", ["raise ZeroDivisionError('a bug')", "return {'non': 'sense'}"])
def test_bug_in_a_handler(
    sample: Path,
    mount: Mount,
    tmp_path: Path,
    target: str,
    name: str,
    act: Callable[[Path], object],
    deed: str,
) -> None:
    flag = tmp_path / "broken"
    one = mount(sample, before=BREAK.format(flag=str(flag), target=target, name=name, deed=deed))
    flag.touch()
    with pytest.raises(OSError) as caught:
        act(one.mountpoint)
    assert caught.value.errno == errno.EIO
    flag.unlink()
    assert _an_image(one.mountpoint).read_bytes()
    log = one.log.read_text()
    assert "Traceback" in log or "answered with" in log
    assert one.status()["worker_restarts"] == 0
    assert one.status()["counters"]["errors"] >= 1


@pytest.mark.parametrize(
    "deed",
    ["raise ZeroDivisionError('a bug')", "return 'text'", "return None", "return bytearray()"],
)
def test_bug_in_read(sample: Path, mount: Mount, tmp_path: Path, deed: str) -> None:
    flag = tmp_path / "broken"
    before = BREAK.format(flag=str(flag), target=READER, name="find", deed=deed)
    one = mount(sample, before=before)
    image = _an_image(one.mountpoint)
    flag.touch()
    with pytest.raises(OSError) as caught:
        image.read_bytes()
    assert caught.value.errno == errno.EIO
    flag.unlink()
    assert image.read_bytes()
    assert one.status()["worker_restarts"] == 0


@pytest.mark.parametrize(
    "deed",
    [
        "raise ZeroDivisionError('a bug')",
        "return False",
        "os.write(arguments[1], b'x'); return False",
    ],
)
def test_pages_that_cannot_be_handed_on_are_copied(
    sample: Path, mount: Mount, tmp_path: Path, deed: str
) -> None:
    """What went into the pipe before it failed must not reach any reader."""
    flag = tmp_path / "broken"
    target = "__import__('imagenetfs.source.source', fromlist=['SourceFile']).SourceFile"
    before = BREAK.format(flag=str(flag), target=target, name="splice_to", deed=deed)
    one = mount(sample, before=before)
    images = sorted(path for path in (one.root / "train").rglob("*.JPEG"))
    assert sum(path.stat().st_size > 16384 for path in images) > 5
    expected = [read_directly(path) for path in images]
    flag.touch()
    failed = 0
    for path, right in zip(images, expected, strict=True):
        try:
            assert read_directly(path) == right
        except OSError as error:
            assert error.errno == errno.EIO
            failed += 1
    assert (failed > 5) == ("raise" in deed)
    flag.unlink()
    assert [read_directly(path) for path in images] == expected
    assert one.status()["worker_restarts"] == 0


def read_directly(path: Path) -> bytes:
    """The file's bytes, past the kernel's page cache."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        parts = []
        while part := os.read(fd, 1 << 17):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def test_forgotten_names_are_found_again(sample: Path, mount: Mount) -> None:
    """FORGET has no answer: one that was given would end the session."""
    if os.geteuid() != 0:
        pytest.skip("only root may drop the kernel's caches")
    one = mount(sample)
    for path in (one.root / "train").rglob("*.JPEG"):
        path.stat()
    # Unused names and inodes of the whole machine go; the kernel then tells us to forget ours.
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert _an_image(one.mountpoint).read_bytes()
    status = one.status()
    assert status["counters"]["requests"]["forget"] >= 1
    assert status["worker_restarts"] == 0
