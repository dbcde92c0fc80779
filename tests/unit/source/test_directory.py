"""The root of the source: listings and stat through one descriptor, metered, tried again."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.counters import REQUESTS, SINCE, SOURCE_WORDS
from imagenetfs.errors import SourceMissingError, SourceReadError, SourceUnreadableError
from imagenetfs.source import retry
from imagenetfs.source.directory import DirectoryEntry, SourceDirectory
from tests.helpers.leaks import descriptors, opened_since
from tests.helpers.system_calls import failing


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.0,) * 3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(10_240))
    (tmp_path / "b").write_bytes(b"second")
    return tmp_path


@pytest.fixture
def source(root: Path) -> Iterator[SourceDirectory]:
    one = SourceDirectory(root)
    yield one
    one.close()


# --- the root itself ------------------------------------------------------------------------------


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="does not exist on this node") as caught:
        SourceDirectory(tmp_path / "nothing")
    assert "as the source" in str(caught.value)


def test_a_source_that_is_no_directory(root: Path) -> None:
    with pytest.raises(SourceMissingError, match="is not a directory"):
        SourceDirectory(root / "b")


def test_a_source_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "imagenetfs.source", "open", errno.EACCES, 1)
    with pytest.raises(SourceUnreadableError, match="you may not read the source") as caught:
        SourceDirectory(root)
    assert "`id`" in str(caught.value)


def test_a_source_that_fails_in_another_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "imagenetfs.source", "open", errno.EIO, 1)
    with pytest.raises(SourceUnreadableError, match=r"cannot open .*: Input/output error"):
        SourceDirectory(root)


def test_it_is_reached_by_one_descriptor_wherever_it_is_moved(root: Path) -> None:
    before = descriptors()
    source = SourceDirectory(root)
    assert len(opened_since(before)) == 1
    aside = root.with_name(root.name + "-aside")
    root.rename(aside)
    try:
        assert source.names(b"") == [(b"a", True), (b"b", False)]
    finally:
        aside.rename(root)
    source.close()
    assert opened_since(before) == {}


# --- listings -------------------------------------------------------------------------------------


def test_listings(root: Path, source: SourceDirectory) -> None:
    (root / "link").symlink_to("a")
    (root / "dangling").symlink_to("nowhere")
    (root / "to-file").symlink_to("b")
    assert source.names(b"") == [
        (b"a", True),
        (b"b", False),
        (b"dangling", False),
        (b"link", True),
        (b"to-file", False),
    ]
    entries = {entry.name: entry for entry in source.entries(b"")}
    assert list(entries) == sorted(entries)
    assert entries[b"a"].is_directory
    assert not entries[b"link"].is_directory
    assert not entries[b"link"].is_file
    assert (entries[b"b"].is_file, entries[b"b"].size) == (True, 6)
    assert entries[b"b"].mtime_ns == (root / "b").stat().st_mtime_ns
    assert entries[b"b"].ctime_ns == (root / "b").stat().st_ctime_ns
    assert source.link_target(b"link") == b"a"
    assert source.entries(b"link")[0].name == b"file"
    status = source.status(b"to-file")
    assert status is not None
    assert status.st_size == 6
    assert source.status(b"dangling") is None
    assert source.status(b"b/x") is None


def test_a_link_in_a_circle_spoils_no_listing(root: Path, source: SourceDirectory) -> None:
    (root / "circle").symlink_to("circle")
    assert source.names(b"") == [(b"a", True), (b"b", False), (b"circle", False)]
    with pytest.raises(SourceReadError, match="circle"):
        source.status(b"circle")


def test_names_are_bytes_in_the_order_of_bytes(root: Path, source: SourceDirectory) -> None:
    names = [b"\xff\xfe", "\N{LATIN SMALL LETTER U WITH DIAERESIS}".encode(), b"Z", b"a b\n"]
    for name in names:
        (root / "a" / os.fsdecode(name)).write_bytes(b"")
    expected = sorted([*names, b"file"])
    assert [name for name, _ in source.names(b"a")] == expected
    assert [entry.name for entry in source.entries(b"a")] == expected


def test_whether_there_is_anything(root: Path, source: SourceDirectory) -> None:
    (root / "empty").mkdir()
    assert source.has_entries(b"a")
    assert not source.has_entries(b"empty")


@pytest.mark.parametrize("path", [b"nothing", b"b", b"a/file/x"])
def test_what_is_no_directory_has_no_listing(source: SourceDirectory, path: bytes) -> None:
    before = descriptors()
    for ask in (source.names, source.entries, source.has_entries):
        with pytest.raises(SourceReadError, match=f"cannot read .*/{path.decode()}"):
            ask(path)
    assert opened_since(before) == {}


def test_what_is_no_link_has_no_target(source: SourceDirectory) -> None:
    with pytest.raises(SourceReadError, match="Invalid argument"):
        source.link_target(b"b")


@pytest.mark.parametrize(
    ("mode", "directory", "file"),
    [(stat.S_IFDIR, True, False), (stat.S_IFREG, False, True), (stat.S_IFLNK, False, False)],
)
def test_what_an_entry_is(mode: int, directory: bool, file: bool) -> None:
    entry = DirectoryEntry(b"x", mode | 0o644, 0, 0, 0, 0, 0)
    assert (entry.is_directory, entry.is_file) == (directory, file)


# --- requests -------------------------------------------------------------------------------------

ASKED: list[tuple[str, Callable[[SourceDirectory], object], int]] = [
    ("open", lambda source: source.names(b""), 1),
    ("open", lambda source: source.entries(b"a"), 1),
    ("open", lambda source: source.has_entries(b"a"), 1),
    ("stat", lambda source: source.status(b"b"), 0),
    ("readlink", lambda source: source.link_target(b"link"), 0),
]


@pytest.mark.parametrize(("call", "ask", "requests"), ASKED)
def test_what_passes_is_tried_again_and_is_one_request(
    root: Path,
    source: SourceDirectory,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    ask: Callable[[SourceDirectory], object],
    requests: int,
) -> None:
    """The kernel keeps attributes and targets: these are none."""
    (root / "link").symlink_to("a")
    expected = ask(source)
    before = source.meter[REQUESTS]
    asked = failing(monkeypatch, "imagenetfs.source", call, errno.ESTALE, 3)
    assert ask(source) == expected
    assert asked() >= 4
    assert source.meter[REQUESTS] == before + requests
    assert source.meter[SINCE] == 0


@pytest.mark.parametrize(("call", "ask", "requests"), ASKED)
@pytest.mark.parametrize(
    ("number", "error"), [(errno.EACCES, SourceUnreadableError), (errno.EIO, SourceReadError)]
)
def test_what_does_not_pass_is_the_projects_own_error(
    root: Path,
    source: SourceDirectory,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    ask: Callable[[SourceDirectory], object],
    requests: int,
    number: int,
    error: type[Exception],
) -> None:
    (root / "link").symlink_to("a")
    before = source.meter[REQUESTS]
    failing(monkeypatch, "imagenetfs.source", call, number, 99)
    with pytest.raises(error):
        ask(source)
    assert source.meter[REQUESTS] == before + requests  # asked, and answered so
    assert source.meter[SINCE] == 0


def test_it_is_seen_to_be_asking(source: SourceDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = os.stat, []

    def look(*arguments: object, **more: object) -> object:
        seen.append(source.meter[SINCE])
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", look)
    source.status(b"b")
    assert len(seen) == 1
    assert seen[0] > 0
    assert source.meter[SINCE] == 0


def test_a_meter_that_is_given_is_written_to(root: Path) -> None:
    meter = [0] * SOURCE_WORDS
    source = SourceDirectory(root, meter)
    source.names(b"")
    assert meter[REQUESTS] == 1
    source.close()
