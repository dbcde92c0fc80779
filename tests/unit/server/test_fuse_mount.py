"""The mount's options, and what is said where it is refused; without a mount."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyfuse3
import pytest

from imagenetfs.errors import FuseRefusedError
from imagenetfs.server import fuse_mount as module
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from imagenetfs.system import mounts


def plan(**more: Any) -> MountPlan:
    settings = ServerSettings(workers=4, in_flight=None, index_dir=None, read_timeout=35.0)
    return MountPlan(source=Path("/s"), mountpoint=Path("/m"), settings=settings, **more)


@pytest.mark.parametrize(
    ("path", "escaped"),
    [("/data/a b", "/data/a b"), ("/a,b", "/a\\,b"), ("/a\\b", "/a\\\\b"), ("/\u00fc", "/?")],
)
def test_a_path_as_a_mount_option(path: str, escaped: str) -> None:
    assert module._escaped(Path(path)) == escaped


@pytest.fixture
def initiated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """What pyfuse3 was asked to mount, where and with what options."""
    asked: list[tuple[str, set[str]]] = []

    def init(operations: object, place: str, options: set[str]) -> None:
        asked.append((place, options))

    @contextlib.contextmanager
    def new_session() -> Iterator[list[int]]:
        yield [7]

    monkeypatch.setattr(pyfuse3, "init", init)
    monkeypatch.setattr(module, "new_session", new_session)
    monkeypatch.setattr(mounts, "read_table", list)
    return asked


def test_a_mount_is_read_only_and_says_what_it_is(
    initiated: list[tuple[str, set[str]]],
) -> None:
    _, session_fd = module._mount(plan(fuse_options=("allow_other",)))
    assert session_fd == 7
    assert initiated == [("/m", {"fsname=/s", "subtype=imagenetfs", "ro", "allow_other"})]


def test_for_another_group_it_is_mounted_before(
    initiated: list[tuple[str, set[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def mount_for(*what: object) -> int:
        asked.append(what)
        return 9

    monkeypatch.setattr(module, "mount_for", mount_for)
    module._mount(plan(shown_to="users"))
    options = {"fsname=/s", "subtype=imagenetfs", "ro"}
    assert asked == [("users", Path("/m"), options)]
    assert initiated == [("/dev/fd/9", options)]


@pytest.mark.parametrize(
    ("options", "uid", "may", "words"),
    [
        ((), 1000, False, "fusermount3 -V"),
        (("allow_other",), 1000, False, "may say allow_other only where an administrator"),
        (("allow_root",), 1000, False, "may say allow_root only where an administrator"),
        (("allow_other",), 1000, True, "fusermount3 -V"),
        (("allow_other",), 0, False, "fusermount3 -V"),
    ],
)
def test_a_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], uid: int, may: bool, words: str
) -> None:
    def refuse(*what: object) -> None:
        raise RuntimeError("fuse_session_mount failed")

    monkeypatch.setattr(pyfuse3, "init", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(module, "may_let_others_in", lambda: may)
    with pytest.raises(FuseRefusedError, match="fuse_session_mount failed") as caught:
        module._mount(plan(fuse_options=options))
    assert words in str(caught.value)
