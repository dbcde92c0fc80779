"""Whether the source still lets us read: what is asked, what follows, what the kernel is told.

When the two children run is a matter of their clock, and not looked at here.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest

from imagenetfs.counters import REQUESTS, SOURCE_WORDS
from imagenetfs.errors import SourceReadError
from imagenetfs.fuse.protocol import entry_notice
from imagenetfs.server.access_monitor import (
    AccessMonitor,
    invalidate,
    paths_to_probe,
    probe,
)
from imagenetfs.source.source import Source
from imagenetfs.tree.source_paths import SourcePaths

MANY = 65
"""One more than are asked about one by one."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tars").mkdir()
    for number in range(MANY):
        (tmp_path / "tars" / f"n{number:02}.tar").write_bytes(b"x")
    (tmp_path / "a.tar").write_bytes(b"x")
    (tmp_path / "a.tar").chmod(0o640)
    return tmp_path


@pytest.fixture
def source(root: Path) -> Iterator[Source]:
    one = Source(root)
    yield one
    one.close()


def refuse(
    monkeypatch: pytest.MonkeyPatch, number: int = errno.EACCES, *, only: bytes = b""
) -> None:
    """Let the server refuse to open a path, or all."""
    real = os.open

    def fail(path: bytes, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if only in (b"", path):
            raise OSError(number, os.strerror(number))
        return real(path, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fail)


def tars(count: int) -> list[bytes]:
    return [b"tars/n%02d.tar" % number for number in range(count)]


# --- what is asked about --------------------------------------------------------------------------


def test_a_few_are_each_asked_about(source: Source) -> None:
    paths = [b"a.tar", *tars(MANY - 1)]
    assert list(paths_to_probe(source, paths)) == [(path, None) for path in paths]
    assert source.meter[REQUESTS] == 0


def test_of_many_in_one_directory_those_that_are_new(source: Source, root: Path) -> None:
    found = dict(paths_to_probe(source, tars(MANY)))
    assert set(found) == set(tars(MANY))
    assert source.meter[REQUESTS] == 1  # one listing
    for path, ctime in found.items():
        assert ctime == (root / os.fsdecode(path)).stat().st_ctime_ns
        source.known.note_permitted(path, ctime)
    assert list(paths_to_probe(source, tars(MANY))) == []
    (root / "tars" / "n07.tar").chmod(0o600)
    assert [path for path, _ in paths_to_probe(source, tars(MANY))] == [b"tars/n07.tar"]


def test_what_was_refused_is_asked_about_whatever_its_ctime(source: Source) -> None:
    for path, ctime in paths_to_probe(source, tars(MANY)):
        source.known.note_permitted(path, cast(int, ctime))
    source.known.refuse(b"tars/n07.tar")
    assert [path for path, _ in paths_to_probe(source, tars(MANY))] == [b"tars/n07.tar"]


def test_a_link_s_own_ctime_says_nothing(source: Source, root: Path) -> None:
    (root / "tars" / "n07.tar").unlink()
    (root / "tars" / "n07.tar").symlink_to("../a.tar")
    found = dict(paths_to_probe(source, tars(MANY)))
    assert found[b"tars/n07.tar"] is None
    assert None not in [ctime for path, ctime in found.items() if path != b"tars/n07.tar"]


def test_a_directory_that_cannot_be_listed_may_hold_what_can_be_read(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: bytes) -> list[object]:
        raise SourceReadError("no listing")

    monkeypatch.setattr(source, "entries", fail)
    assert list(paths_to_probe(source, tars(MANY))) == [(path, None) for path in tars(MANY)]


def test_one_that_is_no_longer_listed_is_asked_about(source: Source, root: Path) -> None:
    (root / "tars" / "n07.tar").unlink()
    assert dict(paths_to_probe(source, tars(MANY)))[b"tars/n07.tar"] is None


# --- what follows ---------------------------------------------------------------------------------


def test_what_may_be_read_is_said_by_its_status(source: Source) -> None:
    status = probe(source, b"a.tar")
    assert status is not None
    assert status.st_mode & 0o777 == 0o640
    assert not source.known.some_refused


@pytest.mark.expects_log("until you may, it is refused")
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refusal_is_told_once_and_so_is_its_end(
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, number)
        for _ in range(3):
            assert probe(source, b"a.tar") is None
            assert source.known.is_refused(b"a.tar")
    assert caplog.text.count("you may no longer read a.tar") == 1
    with caplog.at_level("INFO"):
        for _ in range(3):
            assert probe(source, b"a.tar") is not None
    assert caplog.text.count("a.tar may be read again") == 1
    assert not source.known.some_refused


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT, errno.ESTALE, errno.ETIMEDOUT])
def test_other_errors_tell_nothing(
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    """What was refused stays so, what was not is not."""
    source.known.refuse(b"b.tar")
    refuse(monkeypatch, number)
    for path in (b"a.tar", b"b.tar"):
        assert probe(source, path) is None
    assert not source.known.is_refused(b"a.tar")
    assert source.known.is_refused(b"b.tar")
    assert caplog.text == ""


# --- one round of asking --------------------------------------------------------------------------


class Paths:
    """What has been shown, and the names that the kernel may hold."""

    def __init__(self, shown: Iterable[bytes]) -> None:
        self.all = list(shown)

    def shown(self) -> Iterator[bytes]:
        return iter(self.all)

    def names(self, paths: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        return ((5, path) for path in paths)


def count(source: Source) -> list[int]:
    """Have the source counted in a meter of the test's own."""
    meter = [0] * SOURCE_WORDS
    source.count_on(meter)
    return meter


def monitor(source: Source, *shown: bytes, rights: bool = False) -> AccessMonitor:
    paths = cast(SourcePaths, Paths(shown))
    return AccessMonitor(source, paths, 60.0, rights=rights)


@pytest.mark.expects_log("until you may, it is refused")
def test_a_round_finds_what_is_refused(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, only=b"tars/n01.tar")
    meter = count(source)
    one = monitor(source, b"a.tar", *tars(3))
    one._probe_all()
    assert [path for path in (b"a.tar", *tars(3)) if source.known.is_refused(path)] == [
        b"tars/n01.tar"
    ]
    assert source.known.rights(b"a.tar") is None
    assert meter[REQUESTS] == 4


def test_a_second_round_asks_about_none_of_many_that_did_not_change(source: Source) -> None:
    one, meter = monitor(source, *tars(MANY)), count(source)
    one._probe_all()
    before = meter[REQUESTS]
    assert before == 1 + MANY
    one._probe_all()
    assert meter[REQUESTS] == before + 1


def test_rights_are_noted_of_files_and_of_the_directories_above(source: Source, root: Path) -> None:
    (root / "tars").chmod(0o750)
    monitor(source, b"a.tar", *tars(2), rights=True)._probe_all()
    own = (os.getuid(), os.getgid())
    status = (root / "a.tar").stat()
    assert (status.st_uid, status.st_gid) == own
    assert source.known.rights(b"a.tar") == (*own, 0o640)
    assert source.known.rights(b"tars") == (*own, 0o750)
    (root / "tars").chmod(0o700)
    monitor(source, *tars(2), rights=True)._probe_all()
    assert source.known.rights(b"tars") == (*own, 0o700)


@pytest.mark.expects_log("until you may, it is refused")
def test_nothing_is_asked_of_what_lies_above_what_is_refused(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, only=b"tars/n00.tar")
    monitor(source, b"tars/n00.tar", rights=True)._probe_all()
    assert source.known.rights(b"tars") is None


# --- what the kernel is told ----------------------------------------------------------------------


def test_names_are_forgotten_one_by_one() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        invalidate(ours.fileno(), [(1, b"train"), (7, b"n01440764")])
        assert kernel.recv(4096) == entry_notice(1, b"train")
        assert kernel.recv(4096) == entry_notice(7, b"n01440764")


@pytest.mark.expects_log("the kernel keeps a name: Invalid argument")
@pytest.mark.parametrize(
    ("number", "written", "told"),
    [
        (errno.ENOENT, 3, 0),  # the kernel holds nothing of that name
        (errno.ENODEV, 1, 0),  # the mount is gone
        (errno.ENOTCONN, 1, 0),
        (errno.EINVAL, 3, 3),
    ],
)
def test_what_the_kernel_does_not_take(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    written: int,
    told: int,
) -> None:
    asked, real = [], os.write

    def fail(fd: int, data: bytes) -> int:
        if fd != 9999:
            return real(fd, data)
        asked.append(data)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        invalidate(9999, [(1, b"a"), (1, b"b"), (1, b"c")])
    assert len(asked) == written
    assert caplog.text.count("the kernel keeps a name") == told


def test_only_what_is_refused_now_is_told(source: Source) -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        source.known.refuse(b"tars/n01.tar")
        monitor(source, *tars(3))._invalidate_refused(ours.fileno())
        ours.shutdown(socket.SHUT_WR)
        assert kernel.recv(4096) == entry_notice(5, b"tars/n01.tar")
        assert kernel.recv(4096) == b""
