"""A handler made to raise, or to answer nonsense, in every operation: EIO, a traceback, the mount lives."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Mounted

BREAK = """
from imagenetfs.serve import operations
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

READER = "__import__('imagenetfs.serve.reader', fromlist=['Reader']).Reader"
TREE = "__import__('imagenetfs.tree.tree', fromlist=['Tree']).Tree"
LIVE = "__import__('imagenetfs.serve.live', fromlist=['LiveFiles']).LiveFiles"

A_FILE = "ILSVRC2012/wnids.txt"


def _an_image(root: Path) -> Path:
    return next(next((root / "ILSVRC2012" / "train").iterdir()).iterdir())


CASES: list[tuple[str, str, Callable[[Path], object]]] = [
    (TREE, "lookup", lambda root: (root / "ILSVRC2012" / "nothing").stat()),
    (TREE, "attributes", lambda root: os.stat(root / "ILSVRC2012" / "labels.txt")),
    (TREE, "listing", lambda root: os.listdir(root / "ILSVRC2012")),
    (TREE, "file", lambda root: (root / A_FILE).read_bytes()),
    (TREE, "bytes_of_archives", lambda root: os.statvfs(root)),
    (LIVE, "contents", lambda root: (root / ".imagenetfs" / "status.json").read_bytes()),
]


@pytest.mark.parametrize(("target", "name", "act"), CASES, ids=[case[1] for case in CASES])
@pytest.mark.parametrize("deed", ["raise ZeroDivisionError('a bug')", "return {'non': 'sense'}"])
def test_bug_in_a_handler(
    sample: Path,
    mount: Callable[..., Mounted],
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
def test_bug_in_read(
    sample: Path, mount: Callable[..., Mounted], tmp_path: Path, deed: str
) -> None:
    flag = tmp_path / "broken"
    before = BREAK.format(flag=str(flag), target=READER, name="read", deed=deed)
    one = mount(sample, before=before)
    image = _an_image(one.mountpoint)
    fd = os.open(image, os.O_RDONLY | os.O_DIRECT)
    os.close(fd)
    flag.touch()
    with pytest.raises(OSError) as caught:
        image.read_bytes()
    assert caught.value.errno == errno.EIO
    flag.unlink()
    assert image.read_bytes()
    assert one.status()["worker_restarts"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may drop the kernel's caches")
def test_bug_in_forget(sample: Path, mount: Callable[..., Mounted]) -> None:
    """Nobody waits for its answer; it must not end the worker either."""
    before = """
from imagenetfs.serve.operations import Operations
def broken(self, inodes):
    raise ZeroDivisionError("a bug")
Operations._forgotten = broken
"""
    one = mount(sample, before=before)
    for directory in (one.root / "train").iterdir():
        for path in directory.iterdir():
            path.stat()
    # Unused names and inodes of the whole machine go; the kernel then tells us to forget ours.
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert _an_image(one.mountpoint).read_bytes()
    assert one.status()["worker_restarts"] == 0
    assert "forget failed" in one.log.read_text()
