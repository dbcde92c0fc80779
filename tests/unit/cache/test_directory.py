"""The cache's directory: where it makes sense, whose it must be, and what is in it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.cache.directory import (
    CacheDirectory,
    holds_removed,
    prepare,
    segment_name,
    unfit_type,
)
from imagenetfs.errors import NoSpaceError, PlaceRefusedError
from imagenetfs.system import mounts
from imagenetfs.system.mounts import MountEntry
from tests.helpers.leaks import descriptors, opened_since

KEY = bytes(range(32))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    prepare(tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def directory(place: Path) -> Iterator[CacheDirectory]:
    one = CacheDirectory(place)
    yield one
    one.close()


# --- where it may lie -----------------------------------------------------------------------------


def table(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, str]) -> None:
    entries = [
        MountEntry(number, "0:1", mountpoint, kind, "source", "rw")
        for number, (mountpoint, kind) in enumerate(places)
    ]
    monkeypatch.setattr(mounts, "read_table", lambda: entries)
    monkeypatch.setattr(mounts, "resolve", Path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/scratch/me", None),
        ("/dev/shm/x/not/yet", "tmpfs"),
        ("/dev/shm", "tmpfs"),
        ("/dev/shmem", None),
        ("/home/me/cache", "nfs4"),
        ("/home/local/me", None),
        ("/lustre/me", "lustre"),
        ("/mnt/sshfs/cache", "fuse.sshfs"),
        ("/mnt/block", "fuseblk"),
    ],
)
def test_the_type_of_the_file_system_that_holds_it(
    monkeypatch: pytest.MonkeyPatch, path: str, kind: str | None
) -> None:
    table(
        monkeypatch,
        *(("/", "ext4"), ("/dev/shm", "tmpfs"), ("/home", "nfs4"), ("/home/local", "xfs")),
        *(("/lustre", "lustre"), ("/mnt/sshfs", "fuse.sshfs"), ("/mnt/block", "fuseblk")),
    )
    assert unfit_type(Path(path)) == kind


def test_of_several_at_one_place_the_last_lies_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, ("/", "ext4"), ("/a", "nfs"), ("/a", "xfs"), ("/b", "xfs"), ("/b", "tmpfs"))
    assert unfit_type(Path("/a/c")) is None
    assert unfit_type(Path("/b/c")) == "tmpfs"


def test_without_a_mount_table_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch)
    assert unfit_type(Path("/a")) is None


# --- whose it must be -----------------------------------------------------------------------------


def test_it_is_made_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        prepare(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    status = (tmp_path / "a" / "b").stat()
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == os.geteuid()
    prepare(tmp_path / "a" / "b")
    CacheDirectory(tmp_path / "a" / "b").close()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("link", "is a symbolic link"),
        ("file", "is no directory"),
        ("group", r"may be entered by others \(its mode is 750, not 700\)"),
        ("others", r"may be entered by others \(its mode is 701, not 700\)"),
    ],
)
def test_what_is_not_ours_alone_is_refused(tmp_path: Path, what: str, words: str) -> None:
    path = tmp_path / "cache"
    if what == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        path.symlink_to("real")
    elif what == "file":
        path.write_bytes(b"")
    else:
        path.mkdir()
        path.chmod(0o750 if what == "group" else 0o701)
    before = descriptors()
    with pytest.raises(PlaceRefusedError, match=words) as caught:
        prepare(path)
    assert "--cache-dir" in str(caught.value)
    with pytest.raises(PlaceRefusedError, match=words):
        CacheDirectory(path)
    assert opened_since(before) == {}


def test_another_users_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    for attempt in (prepare, CacheDirectory):
        with pytest.raises(PlaceRefusedError, match="belongs to another user"):
            attempt(place)


def test_one_that_cannot_be_made_or_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoSpaceError, match="cannot be made: Not a directory") as caught:
        prepare(tmp_path / "file" / "cache")
    assert "--cache-dir" in str(caught.value)
    with pytest.raises(NoSpaceError, match="cannot be opened: No such file"):
        CacheDirectory(tmp_path / "nothing")


# --- gone and come again --------------------------------------------------------------------------


def test_one_that_is_there_stays_the_same(directory: CacheDirectory) -> None:
    before = os.fstat(directory.fd).st_ino
    directory.find_again()
    assert os.fstat(directory.fd).st_ino == before


def test_what_stands_at_its_path_takes_the_place_of_one_removed(
    directory: CacheDirectory, place: Path
) -> None:
    before = descriptors()
    place.rmdir()
    directory.find_again()
    assert not place.exists()
    assert list(directory.segments()) == []
    place.mkdir(mode=0o700)
    (place / segment_name(KEY, 0)).write_bytes(b"x")
    directory.find_again()
    assert [one.number for one in directory.segments()] == [0]
    assert not os.get_inheritable(directory.fd)
    assert opened_since(before) == {}


def test_another_that_is_not_ours_alone_does_not(directory: CacheDirectory, place: Path) -> None:
    place.rmdir()
    place.mkdir()
    place.chmod(0o777)
    directory.find_again()
    assert os.fstat(directory.fd).st_nlink == 0


# --- what is in it --------------------------------------------------------------------------------


def test_names_say_what_they_are_of() -> None:
    assert segment_name(KEY, 3) == KEY.hex() + ".00003"
    assert segment_name(KEY, 123_456) == KEY.hex() + ".123456"


def test_segments_are_files_of_such_names(directory: CacheDirectory, place: Path) -> None:
    for number in (7, 0, 123_456):
        (place / segment_name(KEY, number)).write_bytes(b"x" * 5000)
        os.utime(place / segment_name(KEY, number), (1, 1000 + number))
    for other in ("used", "." + segment_name(KEY, 1), segment_name(KEY, 2) + ".5", "x.00001"):
        (place / other).write_bytes(b"")
    (place / (KEY.hex().upper() + ".00001")).write_bytes(b"")
    (place / segment_name(KEY, 3)).mkdir()
    (place / segment_name(KEY, 4)).symlink_to(segment_name(KEY, 0))
    found = list(directory.segments())
    assert [(one.key, one.number, one.used) for one in found] == [
        (KEY, 0, 1000.0),
        (KEY, 7, 1007.0),
        (KEY, 123_456, 124_456.0),
    ]
    for one in found:
        assert one.allocated == (place / one.name).stat().st_blocks * 512 > 0


def test_one_that_goes_while_they_are_listed(
    directory: CacheDirectory, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (place / segment_name(KEY, number)).write_bytes(b"")
    found = directory.segments()
    assert next(found).number == 0
    (place / segment_name(KEY, 1)).unlink()
    assert [one.number for one in found] == [2]


def test_a_segment_is_removed_once(directory: CacheDirectory, place: Path) -> None:
    path = place / segment_name(KEY, 0)
    path.write_bytes(b"")
    directory.remove(path.name)
    assert not path.exists()
    directory.remove(path.name)
    (place / "d").mkdir()
    with pytest.raises(OSError, match="directory"):
        directory.remove("d")


@pytest.mark.parametrize(
    ("name", "held"), [(segment_name(KEY, 0), True), ("used", False), ("x" + KEY.hex(), False)]
)
def test_a_process_that_holds_what_was_removed(place: Path, name: str, held: bool) -> None:
    (place / name).write_bytes(b"")
    with open(place / name, "rb") as file:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
    try:
        assert not holds_removed(child.pid)
        (place / name).unlink()
        assert holds_removed(child.pid) is held
    finally:
        child.kill()
        child.wait()
    assert not holds_removed(child.pid)
