"""Namespaces, by processes that make and enter them; and what /proc says of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.system import namespaces
from tests.helpers.forked import answer, held_child
from tests.helpers.leaks import descriptors, opened_since


def _may_make_own() -> bool:
    def attempt() -> bool:
        try:
            namespaces.make_own()
        except OSError:
            return False
        return True

    made: bool = answer(attempt)
    return made


needs_namespaces = pytest.mark.skipif(
    not _may_make_own(), reason="no namespaces may be made on this machine"
)


@needs_namespaces
def test_what_is_mounted_there_is_seen_there_alone(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()

    def first() -> None:
        namespaces.make_own()
        namespaces.mount_private(place)
        (place / "inside").write_text("seen")

    def enter(pid: int) -> Callable[[], list[object]]:
        def look() -> list[object]:
            os.chdir(tmp_path)
            namespaces.enter_namespaces(pid)
            status = place.stat()
            return [
                (place / "inside").read_text(),
                os.getcwd(),
                status.st_mode & 0o777,
                status.st_uid,
                os.statvfs(place).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC),
                namespaces.mount_namespace(),
            ]

        return look

    with held_child(first) as pid:
        found = answer(enter(pid))
        theirs = os.readlink(f"/proc/{pid}/ns/mnt")
    flags = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
    assert found == ["seen", str(tmp_path), 0o700, os.geteuid(), flags, theirs]
    assert theirs != namespaces.mount_namespace()
    assert list(place.iterdir()) == []


@needs_namespaces
def test_the_user_stays_the_same_there() -> None:
    def look() -> list[object]:
        namespaces.make_own()
        return [os.geteuid(), os.getegid(), namespaces.may_mount()]

    assert answer(look) == [os.geteuid(), os.getegid(), True]


@needs_namespaces
def test_a_working_directory_that_was_removed_is_no_hindrance(tmp_path: Path) -> None:
    def enter() -> str:
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        namespaces.enter_namespaces(pid)
        return os.getcwd()

    with held_child(namespaces.make_own) as pid:
        assert answer(enter) == "/"


def test_one_s_own_namespaces_need_not_be_entered() -> None:
    def enter() -> str:
        namespaces.enter_namespaces(os.getppid())
        return namespaces.mount_namespace()

    assert answer(enter) == namespaces.mount_namespace()


def test_the_namespaces_of_a_process_that_has_ended() -> None:
    with held_child() as pid:
        pass
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        namespaces.enter_namespaces(pid)
    assert opened_since(before) == {}


def test_a_refusal_is_the_kernels(tmp_path: Path) -> None:
    def attempt() -> int:
        if namespaces.may_mount():
            namespaces.make_own()
        try:
            namespaces.mount_private(tmp_path / "not there")
        except OSError as error:
            return error.errno or 0
        return 0

    assert answer(attempt) in (errno.ENOENT, errno.EPERM)


@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("CapEff:\t000001ffffffffff", True),
        ("CapEff:\t0000000000200000", True),
        ("CapEff:\t0000000000000000", False),
        ("CapEff:\t000001ffffdfffff", False),
        ("CapPrm:\t000001ffffffffff", False),
    ],
)
def test_who_may_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, may: bool
) -> None:
    monkeypatch.setattr(namespaces, "_SELF", tmp_path)
    (tmp_path / "status").write_text(f"Name:\tpython\nCapInh:\t0000000000200000\n{line}\n")
    assert namespaces.may_mount() is may


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("         0          0 4294967295\n", False),
        ("      1000       1000          1\n", True),
        ("         0       1000          1\n", True),
        ("         0          0 4294967295\n         1          1          1\n", True),
        ("", True),
    ],
)
def test_the_systems_own_user_namespace_has_all_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, inside: bool
) -> None:
    monkeypatch.setattr(namespaces, "_SELF", tmp_path)
    (tmp_path / "uid_map").write_text(text)
    assert namespaces.in_user_namespace() is inside
