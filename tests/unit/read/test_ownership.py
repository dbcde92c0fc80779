"""Who may read what lies below several directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.read.ownership import (
    ROOT_ALONE,
    OwnershipMapper,
    common_ownership,
    effective_ownership,
    parents,
    shown_bits,
)
from imagenetfs.source.file_state import Ownership, SharedFileState
from imagenetfs.source.source import DirectoryEntry, Source
from imagenetfs.tree.inode import class_inode

OPEN: Ownership = (0, 0, 0o755)
FILE: Ownership = (7, 70, 0o640)


@pytest.mark.parametrize(
    ("above", "own", "who"),
    [
        ([OPEN], FILE, FILE),
        ([], (7, 70, 0o604), (7, 70, 0o604)),  # the kernel knows what this means
        ([OPEN, (5, 80, 0o750)], (7, 70, 0o644), (0, 80, 0o040)),
        ([(5, 80, 0o750), OPEN], (7, 80, 0o640), (0, 80, 0o040)),
        ([(5, 80, 0o750)], FILE, ROOT_ALONE),
        ([(5, 80, 0o750), (5, 90, 0o750)], (7, 70, 0o644), ROOT_ALONE),
        ([(5, 80, 0o700)], (7, 70, 0o644), (5, 0, 0o400)),
        ([(5, 80, 0o700)], (6, 70, 0o600), ROOT_ALONE),
        ([(5, 80, 0o700)], (5, 70, 0o600), (5, 0, 0o400)),
        ([(5, 80, 0o705)], (7, 70, 0o644), ROOT_ALONE),  # a group that is kept out
        ([(5, 80, 0o600)], (7, 70, 0o644), ROOT_ALONE),
    ],
)
def test_both_must_be_passed(above: list[Ownership], own: Ownership, who: Ownership) -> None:
    assert effective_ownership(above, own) == who


@pytest.mark.parametrize(
    ("several", "who"),
    [
        ([(0, 0, 0o644)], (0, 0, 0o644)),
        ([(0, 0, 0o644), FILE], FILE),
        ([FILE, FILE, (1, 1, 0o444)], FILE),
        ([FILE, (8, 70, 0o640)], (0, 70, 0o040)),
        ([FILE, (7, 71, 0o640)], ROOT_ALONE),
        ([FILE, ROOT_ALONE], ROOT_ALONE),
    ],
)
def test_what_is_made_of_several(several: list[Ownership], who: Ownership) -> None:
    assert common_ownership(several) == who


def test_the_directories_above() -> None:
    assert list(parents(b"a/b/c.tar")) == [b"a", b"a/b"]
    assert list(parents(b"c.tar")) == list(parents(b"")) == []


def test_what_is_noted() -> None:
    known = SharedFileState()
    known.found_right(b"a", (1, 2, 3, 4))
    assert known.rights(b"a") is None
    for rights in ((0, 0, 0), (0xFFFFFFFE, 24100, 0o4755), (1000, 0xFFFFFFFF, 0o640)):
        known.note_rights(b"a", rights)
        assert known.rights(b"a") == rights
    assert known.rights(b"b") is None
    assert known.is_right(b"a", (1, 2, 3, 4))
    known.close()


class Tars:
    """Class k of a split is read from tars/k.tar; inode 5 is a file made of all of them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def paths(self, inode: int) -> Iterator[bytes]:
        numbers = range(self.count) if inode == 5 else [inode & 0xFFFF]
        yield from (b"tars/%d.tar" % number for number in numbers)


class CountingSource(Source):
    """Counts what is asked of it."""

    listings = stats = 0

    def entries(self, path: bytes) -> list[DirectoryEntry]:
        self.listings += 1
        return super().entries(path)

    def status(self, path: bytes) -> os.stat_result | None:
        self.stats += path.endswith(b".tar")
        return super().status(path)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[CountingSource]:
    (tmp_path / "tars").mkdir()
    source = CountingSource(tmp_path)
    yield source
    source.close()


def _made(tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / "tars" / f"{number}.tar").touch(0o644)


def test_a_class_is_as_closed_as_its_archive_from_the_first_call_on(
    source: CountingSource, tmp_path: Path
) -> None:
    """S14: nobody has opened the archive yet, so nothing is noted of it."""
    _made(tmp_path, 3)
    (tmp_path / "tars" / "1.tar").chmod(0o600)
    mapper = OwnershipMapper(source, Tars(3), 60.0)  # type: ignore[arg-type]
    directory = stat.S_IFDIR | 0o755
    modes = [mapper.of(class_inode(0, k), directory) for k in range(4)]
    own = os.geteuid(), os.getegid()
    assert modes[:3] == [
        (*own, directory),
        (*own, stat.S_IFDIR | 0o700),
        (*own, directory),
    ]
    assert modes[3] == (0, 0, stat.S_IFDIR), "what is not there is for nobody"
    assert mapper.of(5, stat.S_IFREG | 0o444) == (*own, stat.S_IFREG | 0o400)


@pytest.mark.parametrize(
    ("rights", "directory", "file"),
    [
        ((7, 70, 0o644), 0o755, 0o444),
        ((7, 70, 0o640), 0o750, 0o440),
        ((0, 80, 0o040), 0o750, 0o440),  # root passes every check
        ((7, 70, 0o070), 0o050, 0o040),  # but no other owner is let in where the source refuses
        ((5, 0, 0o400), 0o700, 0o400),
        (ROOT_ALONE, 0, 0),
    ],
)
def test_copies_are_usable_by_who_makes_them(rights: Ownership, directory: int, file: int) -> None:
    """No bit lets anyone in whom the source refuses, and a copied directory can be filled."""
    uid, _, bits = rights
    assert shown_bits(uid, bits, is_directory=True, searched=True) == directory
    assert shown_bits(uid, bits, is_directory=False, searched=False) == file


def test_very_many_archives_cost_one_listing(source: CountingSource, tmp_path: Path) -> None:
    """winter21 has 19,167 tars in one directory; a link there tells nothing of what it leads to."""
    _made(tmp_path, 200)
    (tmp_path / "tars" / "7.tar").chmod(0o600)
    (tmp_path / "tars" / "8.tar").unlink()
    (tmp_path / "tars" / "8.tar").symlink_to("7.tar")
    mapper = OwnershipMapper(source, Tars(200), 60.0)  # type: ignore[arg-type]
    inodes = [class_inode(0, k) for k in range(200)]
    mapper.prepare(inodes)
    modes = [(mapper.of(inode, stat.S_IFDIR | 0o755) or (0, 0, 0))[2] & 0o777 for inode in inodes]
    assert [k for k in range(200) if modes[k] != 0o755] == [7, 8]
    assert (source.listings, source.stats) == (1, 1)
    for _ in range(10):
        assert (mapper.of(5, stat.S_IFREG | 0o444) or (0, 0, 0))[2] & 0o777 == 0o400
    assert (source.listings, source.stats) == (1, 1)


def test_what_is_noted_anew_counts_at_once(source: CountingSource, tmp_path: Path) -> None:
    _made(tmp_path, 2)
    mapper = OwnershipMapper(source, Tars(2), 3600.0)  # type: ignore[arg-type]
    mode = stat.S_IFREG | 0o444
    assert (mapper.of(5, mode) or (0, 0, 0))[2] == mode
    for rights in ((7, 70, 0o640), (7, 71, 0o640)):
        source.known.note_rights(b"tars/1.tar", rights)
        assert mapper.of(5, mode) == (*rights[:2], stat.S_IFREG | 0o440)


def test_words_are_for_those_who_may_read_their_file_too(
    source: CountingSource, tmp_path: Path
) -> None:
    _made(tmp_path, 3)
    (tmp_path / "words").touch(0o644)
    mapper = OwnershipMapper(source, Tars(3), 3600.0)  # type: ignore[arg-type]
    assert mapper.covers(class_inode(0, 1), (b"words",))
    source.known.note_rights(b"words", (7, 70, 0o640))
    assert not mapper.covers(class_inode(0, 1), (b"words",))
    source.known.note_rights(b"tars/1.tar", (7, 70, 0o640))
    assert mapper.covers(class_inode(0, 1), (b"words",))
