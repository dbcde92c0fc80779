"""A source that changes under the mount: what a reader sees."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.imagenet_tars import TRAIN, VAL
from tests.helpers.mounts import Mount
from tests.helpers.passthrough import SlowSource, slow_source


@pytest.fixture
def tree(sample: Path, tmp_path: Path) -> Path:
    """A copy of ILSVRC2012's archives, to change."""
    copy = tmp_path / "imagenet" / "ILSVRC2012"
    copy.mkdir(parents=True)
    for name in (TRAIN, VAL):
        shutil.copy(sample / "ILSVRC2012" / name, copy)
    kit = "ILSVRC2012_devkit_t12"
    shutil.copytree(sample / "ILSVRC2012" / kit, copy / kit)
    return copy.parent


@pytest.fixture
def source(tree: Path) -> Iterator[SlowSource]:
    with slow_source(tree) as slow:
        yield slow


def _archive(tree: Path, name: str = VAL) -> Path:
    return tree / "ILSVRC2012" / name


def _refused(path: Path, number: int) -> None:
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    assert caught.value.errno == number, path


def _another(path: Path) -> bytes:
    """The archive with its first two members' places exchanged: the same size, other headers."""
    data = path.read_bytes()
    first = 512 + -(-int(data[124:135], 8) // 512) * 512
    second = first + 512 + -(-int(data[first + 124 : first + 135], 8) // 512) * 512
    return data[first:second] + data[:first] + data[second:]


def _replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(_another(path))
    os.replace(new, path)


def _overwrite(path: Path) -> None:
    data = _another(path)
    with open(path, "r+b") as file:
        file.write(data)


CHANGES: dict[str, Callable[[Path], None]] = {
    "replaced": _replace,
    "overwritten": _overwrite,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.expects_log(
    "bytes, cut off by the end; whole before that",
    "is no longer there",
    r"unmount and mount again to see what it holds\.",
)
@pytest.mark.parametrize("how", CHANGES)
def test_an_archive_that_changes(
    tree: Path,
    source: SlowSource,
    images: dict[str, bytes],
    mount: Mount,
    how: str,
) -> None:
    """S4 S5 S6: EIO for that archive, one line in the log, all others as ever; a
    remount shows the new one.
    """
    one = mount(source.path)
    val = [name for name in images if name.startswith("val/")]
    train = [name for name in images if name.startswith("train/")]
    assert (one.root / val[0]).read_bytes() == images[val[0]]
    CHANGES[how](_archive(tree))
    assert (one.root / val[0]).read_bytes() == images[val[0]]  # the kernel has it
    with ThreadPoolExecutor(8) as readers:  # each is tried again, which takes its time
        list(readers.map(lambda name: _refused(one.root / name, errno.EIO), val[1:]))
    for name in train[:50]:
        assert (one.root / name).read_bytes() == images[name]
    sentence = "is no longer there" if how == "removed" else "is another file now"
    assert one.log.read_text().count(sentence) == 1
    status = one.status()
    assert status["counters"]["errors"] >= len(val) - 1
    assert [sentence in problem for problem in status["problems"]] == [True]
    assert f"{status['failures'][0]['requests']:,} requests failed" in status["warnings"][-1]
    one.close()
    again = mount(source.path)
    if how in ("replaced", "overwritten"):
        for name in val:
            assert (again.root / name).read_bytes() == images[name]


def _same_contents_anew(path: Path) -> None:
    shutil.copy(path, path.with_name("c"))
    os.replace(path.with_name("c"), path)


@pytest.mark.parametrize(
    "touch",
    [
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.chmod(0o600),
        lambda path: os.chown(path, -1, 4242) if os.geteuid() == 0 else path.chmod(0o640),
        _same_contents_anew,
    ],
    ids=["touch", "chmod", "chgrp", "the same contents anew"],
)
def test_a_touch_changes_nothing(
    tree: Path,
    source: SlowSource,
    images: dict[str, bytes],
    mount: Mount,
    touch: Callable[[Path], object],
) -> None:
    """S7: times, owner, group and mode of an archive may change under the
    mount, and its inode too.
    """
    one = mount(source.path)
    val = [name for name in images if name.startswith("val/")]
    assert (one.root / val[0]).read_bytes() == images[val[0]]
    touch(_archive(tree))
    for name in val[1:]:
        assert (one.root / name).read_bytes() == images[name]
    assert "another file" not in one.log.read_text()


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_a_class_that_was_not_indexed_yet(tree: Path, source: SlowSource, mount: Mount) -> None:
    """S4: no table is made of an archive that is another one than when it was mounted."""
    one = mount(source.path)
    classes = sorted(os.listdir(one.root / "train"))
    _replace(_archive(tree, TRAIN))
    with pytest.raises(OSError) as caught:
        os.listdir(one.root / "train" / classes[3])
    assert caught.value.errno == errno.EIO


def test_the_server_is_not_asked_for_each_read(
    source: SlowSource,
    images: dict[str, bytes],
    mount: Mount,
) -> None:
    """One request a read: whether the archive is still the same costs none in between."""
    one = mount(source.path)
    val = [name for name in images if name.startswith("val/")]
    for name in val[:20]:
        (one.root / name).read_bytes()
    before = source.counters()
    for name in val[20:60]:
        (one.root / name).read_bytes()
    after = source.counters()
    assert after["read"] - before["read"] <= 42  # an image of the miniature is one request
    assert after["open"] - before["open"] <= 2  # by a worker that was not there before
    assert after["getattr"] - before["getattr"] <= 6
