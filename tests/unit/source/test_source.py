"""The source: exact bytes or an error, bounded descriptors, links followed where they should be."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

import pytest

from imagenetfs.counters import BYTES, LATENCY, REQUESTS, SINCE, SOURCE_WORDS
from imagenetfs.errors import (
    SourceChangedError,
    SourceMissingError,
    SourceReadError,
    SourceUnreadableError,
)
from imagenetfs.source import source as directory_module
from imagenetfs.source.source import Source
from tests.helpers.clocks import FakeClock
from tests.helpers.leaks import descriptors, opened_since
from tests.helpers.system_calls import patch_os


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "b").write_bytes(b"second")
    return tmp_path


def test_reading(root: Path) -> None:
    data, source = (root / "a" / "file").read_bytes(), Source(root)
    file = source.open(b"a/file")
    for offset, length in ((0, 0), (0, 1), (5, 100), (0, len(data)), (len(data) - 1, 1)):
        assert file.read(offset, length) == data[offset : offset + length]
    assert file.read_up_to(len(data) - 3, 100) == data[-3:]
    assert file.read_up_to(len(data) + 3, 100) == b""
    with pytest.raises(SourceChangedError, match="a/file ended at byte 10,240"):
        file.read(len(data) - 3, 4)
    source.close()


@pytest.mark.parametrize("most", [1, 7, 511])
def test_short_answers_are_completed(
    root: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    pread = os.pread
    patch_os(monkeypatch, "imagenetfs.source", pread=lambda fd, n, at: pread(fd, min(n, most), at))
    source = Source(root)
    assert source.open(b"a/file").read(3, 1500) == (root / "a" / "file").read_bytes()[3:1503]
    assert source.read_whole(b"b") == b"second"


def test_a_file_cut_while_open(root: Path) -> None:
    source = Source(root)
    file = source.open(b"a/file")
    os.truncate(root / "a" / "file", 100)
    with pytest.raises(SourceChangedError, match="written to"):
        file.read(50, 100)
    with pytest.raises(SourceChangedError):
        file.read(5000, 1)
    with pytest.raises(SourceChangedError, match="written to"):
        file.read(0, 100)  # all there, but of which file?


def test_an_error_while_reading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(root, clock=FakeClock())
    file = source.open(b"a/file")

    def fail(fd: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch_os(monkeypatch, "imagenetfs.source", pread=fail)
    with pytest.raises(SourceReadError, match="cannot read a/file at byte 1,000: Input/output"):
        file.read(1000, 10)
    assert source.meter[SINCE] == 0


def test_an_error_in_the_middle_of_a_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, pread = Source(root, clock=FakeClock()), os.pread
    file = source.open(b"a/file")

    def fail(fd: int, length: int, offset: int) -> bytes:
        if offset:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return pread(fd, 10, offset)

    patch_os(monkeypatch, "imagenetfs.source", pread=fail)
    with pytest.raises(SourceReadError):
        file.read(0, 100)


def test_the_meter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter, pread, seen = [0] * SOURCE_WORDS, os.pread, []

    def look(fd: int, length: int, offset: int) -> bytes:
        seen.append(meter[SINCE])
        return pread(fd, length, offset)

    patch_os(monkeypatch, "imagenetfs.source", pread=look)
    source = Source(root, meter)
    source.open(b"a/file").read(0, 1000)
    source.open(b"a/file").read(0, 500)
    assert seen[0] > 0
    assert meter[:LATENCY] == [0, 3, 1500, 0]  # one open, two reads
    other = [0] * SOURCE_WORDS
    source.count_on(other)
    source.open(b"a/file").read(0, 10)
    assert meter[BYTES] == 1500
    assert other[REQUESTS] == 1


def test_descriptors_are_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "_MAX_OPEN_FILES", 5)
    for n in range(40):
        (root / f"f{n:02d}").write_bytes(b"%d" % n)
    before = descriptors()
    source = Source(root)
    for turn in range(3):
        for n in range(40):
            assert source.open(b"f%02d" % n).read(0, len(b"%d" % n)) == b"%d" % n
            # the directory, what is known, failures, the files
            assert len(opened_since(before)) <= 3 + 5, turn
    source.close()
    assert opened_since(before) == {}


def test_nothing_leaks_where_it_fails(root: Path) -> None:
    before = descriptors()
    source = Source(root)
    for path in (b"nothing", b"a/file/x", b"a/nothing"):
        with pytest.raises(SourceReadError):
            source.open(path)
        with pytest.raises(SourceReadError):
            source.read_whole(path)
        with pytest.raises(SourceReadError):
            source.entries(path)
    with pytest.raises(SourceReadError, match="more than such a file"):
        source.read_whole(b"a/file", limit=100)
    source.close()
    with pytest.raises(SourceMissingError):
        Source(root / "b")
    assert opened_since(before) == {}


def test_descriptors_do_not_reach_other_programs(root: Path) -> None:
    source = Source(root)
    assert not os.get_inheritable(source._fd)
    assert not os.get_inheritable(source.open(b"b").fd)


def test_names_that_are_no_text(root: Path) -> None:
    name = b"\xff\xfe\n name"
    (root / os.fsdecode(name)).write_bytes(b"x")
    source = Source(root)
    assert name in dict(source.names(b""))
    assert source.open(name).read(0, 1) == b"x"
    with pytest.raises(SourceChangedError) as caught:
        source.open(name).read(0, 2)
    assert str(caught.value)


def test_it_holds_when_something_is_mounted_or_moved_over_it(root: Path, tmp_path: Path) -> None:
    source = Source(root)
    aside = tmp_path.with_name(tmp_path.name + "-aside")
    root.rename(aside)
    try:
        assert source.open(b"b").read(0, 6) == b"second"
        assert source.names(b"")
        with pytest.raises(SourceMissingError, match="does not exist on this node"):
            Source(root)
    finally:
        aside.rename(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(root: Path) -> None:
    source = Source(root)
    (root / "b").chmod(0)
    with pytest.raises(SourceUnreadableError, match="you may not read"):
        source.open(b"b")
    (root / "a").chmod(0)
    with pytest.raises(SourceUnreadableError):
        Source(root / "a")
    (root / "a").chmod(0o700)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_no_permission_as_anybody(root: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = Source(root)

    def refuse(*arguments: object, **more: object) -> int:
        raise OSError(number, os.strerror(number))

    patch_os(monkeypatch, "imagenetfs.source", open=refuse)
    with pytest.raises(SourceUnreadableError, match=r"you may not read .*/b"):
        source.open(b"b")
    with pytest.raises((SourceUnreadableError, SourceMissingError)):
        Source(root)


def test_what_is_no_file(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(root / "socket"))
        with pytest.raises(SourceReadError):
            Source(root).open(b"socket")


def test_a_fifo_is_not_waited_for(root: Path) -> None:
    import signal

    from tests.helpers.children import ended, in_child

    os.mkfifo(root / "fifo.tar")
    source = Source(root)

    def read() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with contextlib.suppress(SourceReadError):
            source.open(b"fifo.tar").read(0, 1)

    assert ended(in_child(read)) == 0


def test_a_source_that_is_mounted_anew(tmp_path: Path) -> None:
    """S3: the root is opened anew by its path where another directory stands there."""
    place = tmp_path / "source"
    place.mkdir()
    (place / "a").write_bytes(b"old")
    source = Source(place, revalidate=0.0)
    try:
        assert source.open(b"a").read(0, 3) == b"old"
        assert not source.renew_root()
        place.rename(tmp_path / "elsewhere")
        assert not source.renew_root()  # nothing is there: the old one is as good as any
        assert source.open(b"a").read(0, 3) == b"old"
        place.mkdir()
        assert not source.renew_root()  # nor is an empty mountpoint any better
        assert source.open(b"a").read(0, 3) == b"old"
        (place / "a").write_bytes(b"new")
        source.open(b"a")  # the look at the path that finds it
        assert source.open(b"a").read(0, 3) == b"new"
    finally:
        source.close()


def test_a_directory_that_went_away_is_over_when_one_of_its_files_can_be_read(root: Path) -> None:
    source = Source(root, revalidate=0.0)
    try:
        source.open(b"a/file")
        (root / "a").rename(root / "c")
        with pytest.raises(SourceReadError) as raised:
            source.open(b"a/another")
        assert raised.value.path == b"a"
        source.failures.note(b"a", "kind", str(raised.value))
        (root / "c").rename(root / "a")
        source.open(b"a/file").read(0, 3)
        source.open(b"a/file").read(0, 3)
        assert [failure.is_over for failure in source.failures.all()] == [True]
    finally:
        source.close()


def test_a_source_below_our_own_mount_is_never_opened_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would ask the mount that it serves, and wait for itself."""
    line = f"36 35 0:52 / {tmp_path} ro - fuse.imagenetfs /src ro,user_id=0,group_id=0\n"
    table = tmp_path / "mountinfo"
    table.write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + line)
    (tmp_path / "source").mkdir()
    source = Source(tmp_path / "source")
    try:
        (tmp_path / "source").rename(tmp_path / "elsewhere")
        (tmp_path / "source" / "ILSVRC2012").mkdir(parents=True)
        monkeypatch.setattr("imagenetfs.system.mounts.MOUNT_TABLE", table)
        assert not source.renew_root()
        table.write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        assert source.renew_root()
    finally:
        source.close()
