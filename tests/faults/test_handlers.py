"""A handler made to raise, or to answer nonsense, in every operation: EIO, a
traceback, the mount lives.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount, Mounted, mounted

BREAK = """
import importlib, os

def breakable(module, owner, name):
    target = getattr(importlib.import_module(module), owner)
    original = getattr(target, name)
    flag = os.path.join({flags!r}, owner + "." + name)

    def broken(*arguments):
        if os.path.exists(flag):
            deed = {{}}
            exec("def act(arguments):\\n    " + open(flag).read(), {{"os": os}}, deed)
            return deed["act"](arguments)
        return original(*arguments)

    setattr(target, name, broken)

for each in {targets!r}:
    breakable(*each)
"""

READER = ("imagenetfs.read.reader", "Reader")
TREE = ("imagenetfs.tree.tree", "Tree")
STATUS = ("imagenetfs.fuse.status_files", "StatusFiles")
FILE = ("imagenetfs.source.source", "SourceFile")
Target = tuple[str, str]

A_FILE = "wnids.txt"


def _an_image(root: Path) -> Path:
    return next(next((root / "ILSVRC2012" / "train").iterdir()).iterdir())


CASES: list[tuple[Target, str, Callable[[Path], object]]] = [
    (TREE, "lookup", lambda root: (root / "nothing").stat()),
    (TREE, "attributes", lambda root: os.stat(root / "labels.txt")),
    (TREE, "listing", lambda root: os.listdir(root)),
    (TREE, "file", lambda root: (root / A_FILE).read_bytes()),
    (TREE, "extended", lambda root: os.listxattr(root / A_FILE)),
    (TREE, "extended_value", lambda root: os.getxattr(root / A_FILE, "user.imagenetfs.wnid")),
    (TREE, "bytes_of_archives", lambda root: os.statvfs(root)),
    (STATUS, "contents", lambda root: (root.parent / ".imagenetfs" / "status.json").read_bytes()),
]
BREAKABLE = [(*target, name) for target, name, _ in CASES]
BREAKABLE += [(*READER, "find"), (*FILE, "splice_to")]


class Breakable:
    """A mount of which each handler can be made to do something else, while a ``with`` lasts."""

    def __init__(self, mounted: Mounted, flags: Path) -> None:
        self.mounted = mounted
        self._flags = flags

    @contextlib.contextmanager
    def broken(self, target: Target, name: str, deed: str) -> Iterator[None]:
        flag = self._flags / f"{target[1]}.{name}"
        flag.with_suffix(".new").write_text(deed)
        flag.with_suffix(".new").rename(flag)
        try:
            yield
        finally:
            flag.unlink()

    def errors(self) -> int:
        errors: int = self.mounted.status()["counters"]["errors"]
        return errors


@pytest.fixture(scope="module")
def breakable(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Breakable]:
    """One for all tests: none may leave the mount any worse."""
    flags = tmp_path_factory.mktemp("flags")
    before = BREAK.format(flags=str(flags), targets=BREAKABLE)
    one = mounted(sample, tmp_path_factory.mktemp("breakable") / "mnt", before=before)
    try:
        yield Breakable(one, flags)
    finally:
        one.close()


@pytest.mark.expects_log(
    "answered with <class", "failed", "getxattr", "listxattr", "lookup", "readdirplus", "statfs"
)
@pytest.mark.parametrize(("target", "name", "act"), CASES, ids=[case[1] for case in CASES])
@pytest.mark.parametrize(
    ("deed", "version"),
    [
        ("raise ZeroDivisionError('a bug')", "ILSVRC2012"),
        ("return {'non': 'sense'}", "Imagenet8"),
    ],
)
def test_bug_in_a_handler(
    breakable: Breakable,
    target: Target,
    name: str,
    act: Callable[[Path], object],
    deed: str,
    version: str,
) -> None:
    """Each act is about names of its own: what the kernel keeps, it does not ask for."""
    one = breakable.mounted
    known, errors = len(one.log.read_text()), breakable.errors()
    with breakable.broken(target, name, deed):
        with pytest.raises(OSError) as caught:
            act(one.mountpoint / version)
        assert caught.value.errno == errno.EIO
    assert read_directly(_an_image(one.mountpoint))
    log = one.log.read_text()[known:]
    assert "Traceback" in log or "answered with" in log
    assert one.status()["worker_restarts"] == 0
    assert breakable.errors() > errors


@pytest.mark.expects_log("answered with <class", "failed")
@pytest.mark.parametrize(
    "deed",
    ["raise ZeroDivisionError('a bug')", "return 'text'", "return None", "return bytearray()"],
)
def test_bug_in_read(breakable: Breakable, deed: str) -> None:
    one = breakable.mounted
    image = _an_image(one.mountpoint)
    with breakable.broken(READER, "find", deed):
        with pytest.raises(OSError) as caught:
            read_directly(image)
        assert caught.value.errno == errno.EIO
    assert read_directly(image)
    assert one.status()["worker_restarts"] == 0


@pytest.mark.expects_log("failed")
@pytest.mark.parametrize(
    "deed",
    [
        "raise ZeroDivisionError('a bug')",
        "return False",
        "os.write(arguments[1], b'x'); return False",
    ],
)
def test_pages_that_cannot_be_handed_on_are_copied(breakable: Breakable, deed: str) -> None:
    """What went into the pipe before it failed must not reach any reader."""
    one = breakable.mounted
    images = sorted(path for path in (one.root / "train").rglob("*.JPEG"))
    assert sum(path.stat().st_size > 16384 for path in images) > 5
    expected = [read_directly(path) for path in images]
    failed = 0
    with breakable.broken(FILE, "splice_to", deed):
        for path, right in zip(images, expected, strict=True):
            try:
                assert read_directly(path) == right
            except OSError as error:
                assert error.errno == errno.EIO
                failed += 1
    assert (failed > 5) == ("raise" in deed)
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
