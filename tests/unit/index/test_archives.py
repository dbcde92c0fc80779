"""Tars that are found while the mount serves: numbered first come, first
served, alike in all processes.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from imagenetfs.counters import REQUESTS
from imagenetfs.index import arena as arena_module
from imagenetfs.index.archives import Archive, Archives, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.index import Index
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.inode import ROOT, InodeKind, fields, kind_of
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import class_tar
from tests.helpers.children import ended, in_child

KNOWN = [Archive(0, b"", Kind.DIRECTORY), Archive(1, b"a.tar", Kind.TAR)]


def pair(most: int = 1 << 20) -> tuple[Archives, Archives]:
    """As two processes have them."""
    arena = Arena(len(KNOWN))
    return Archives(KNOWN, arena, most), Archives(KNOWN, arena, most)


def test_what_one_adds_all_have() -> None:
    one, other = pair()
    assert [one.add(b"x/%d.tar" % n) for n in range(3)] == [2, 3, 4]
    assert other.number(b"x/1.tar") == 3
    assert other.add(b"y.tar") == 5
    assert other.add(b"x/2.tar") == 4
    assert list(one) == list(other)
    assert one[5] == Archive(5, b"y.tar", Kind.TAR)
    assert len(one) == len(other) == 6
    assert one.add(b"a.tar") == 1
    assert one.number(b"nothing") is None
    with pytest.raises(IndexError):
        other[6]


@pytest.mark.slow
def test_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the borders of the tables of records and of segments."""
    monkeypatch.setattr(arena_module, "_MAPPING", 1 << 18)
    one, other = pair()
    paths = [b"some/directory/%d.tar" % number for number in range(8000)]
    assert [one.add(path) for path in paths] == list(range(2, 8002))
    assert [other.number(path) for path in paths] == list(range(2, 8002))
    assert [archive.path for archive in other][2:] == paths


def test_slots_are_their_own() -> None:
    arena = Arena(2)
    archives = Archives(KNOWN, arena)
    numbers = [archives.add(b"%d.tar" % n) for n in range(1500)]
    for number in numbers:
        assert number is not None
        assert arena.get(arena.slot(number)) is None
        arena.put(arena.slot(number), b"%d" % number, children=2)
    for number in numbers:
        assert number is not None
        assert bytes(arena.get(arena.slot(number)) or b"") == b"%d" % number
        assert arena.get(arena.child_slot(arena.slot(number), 1)) is None
    assert list(archives)[2].path == b"0.tar"


@pytest.mark.slow
def test_processes_agree() -> None:
    arena = Arena(len(KNOWN))
    archives = Archives(KNOWN, arena)
    reader, writer = os.pipe()

    def add(start: int) -> None:
        arena.after_fork()
        every = [(start + 37 * n) % 400 for n in range(400)]
        numbers = {n: archives.add(b"%d.tar" % n) for n in every}
        os.write(writer, b"%d\n" % hash(tuple(sorted(numbers.items()))))

    children = [in_child(partial(add, start)) for start in (0, 99, 200, 301)]
    assert [ended(pid) for pid in children] == [0] * 4
    said = os.read(reader, 1000).split()
    assert len(said) == 4
    assert len(set(said)) == 1
    assert {archive.path for archive in archives} >= {b"%d.tar" % n for n in range(400)}
    assert len(archives) == 402
    os.close(reader)
    os.close(writer)


def test_one_that_is_killed_holds_up_nobody() -> None:
    arena = Arena(len(KNOWN))
    archives = Archives(KNOWN, arena)

    def die() -> None:
        arena.after_fork()
        with arena.adding():
            os.kill(os.getpid(), signal.SIGKILL)

    assert ended(in_child(die)) == -signal.SIGKILL
    assert archives.add(b"x.tar") == 2


@pytest.mark.expects_log("archives are all that a mount has numbers for:")
def test_when_there_are_no_more_numbers(caplog: pytest.LogCaptureFixture) -> None:
    one, other = pair(most=4)
    assert [one.add(path) for path in (b"1", b"2", b"3")] == [2, 3, None]
    assert [other.add(path) for path in (b"3", b"2", b"4")] == [None, 3, None]
    assert caplog.text.count("4 archives are all that a mount has numbers for") == 1


# --- in a tree ------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for place in ("winter21_whole", "site/b/c/d", "site/b/c/e", "site/b/f"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(3):
            name = f"n{number:08}.tar" if place == "winter21_whole" else f"{number}.tar"
            (tmp_path / place / name).write_bytes(class_tar(number, 2))
    (tmp_path / "site" / "b" / "note.txt").touch()  # so that it is no mere level between others
    return tmp_path


def walk(tree: Tree, place: str) -> int:
    number = tree.lookup(ROOT, b"archives")
    for part in place.split("/"):
        number = tree.lookup(number, part.encode())
    return number


def tree_of(source: Path, one: Source | None = None) -> Tree:
    return Tree(build_catalogue(one or Source(source), places=IndexSearchPath(None, source)), "1")


@pytest.mark.parametrize("place", ["site/b/c/d", "site/b/c/e", "site/b/f"])
def test_every_tar_is_a_directory(source: Path, place: str) -> None:
    tree = tree_of(source)
    first = len(tree.catalogue.archives)
    names = [name for name, _, _ in tree.listing(walk(tree, place)).entries(0)]
    assert names == [b"0.tar", b"1.tar", b"2.tar"]
    inodes = [walk(tree, f"{place}/{number}.tar") for number in range(3)]
    assert [fields(number)[0] for number in inodes] == [first, first + 1, first + 2]
    assert {kind_of(number) for number in inodes} == {InodeKind.ARCHIVES}
    for number in inodes:
        assert len(tree.listing(number)) == 2


def test_a_listing_that_is_known_asks_nothing_of_the_source(source: Path) -> None:
    one = Source(source)
    tree = tree_of(source, one)
    walk(tree, "site/b/c/d")
    before = one.meter[REQUESTS]
    for number in range(3):
        found = walk(tree, f"site/b/c/d/{number}.tar")
        assert tree.attributes(found).mtime_ns == (
            (source / "site/b/c/d" / f"{number}.tar").stat().st_mtime_ns
        )
    assert one.meter[REQUESTS] == before


@pytest.mark.expects_log("archives are all that a mount has numbers for:")
def test_beyond_the_numbers_they_are_files(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tree = tree_of(source)
    index: Index = tree.catalogue.index
    monkeypatch.setattr(index.archives, "_most", len(tree.catalogue.archives) + 1)
    inodes = [walk(tree, f"site/b/c/d/{number}.tar") for number in range(3)]
    kinds = [kind_of(number) for number in inodes]
    assert kinds == [InodeKind.ARCHIVES, InodeKind.FILE, InodeKind.FILE]
    assert "more are shown as files" in caplog.text


def test_class_tars_of_a_split_are_what_they_are_there(source: Path) -> None:
    """A file has one inode, also where the class tars lie in a directory that
    the survey does not read.
    """
    train = source / "ILSVRC2012" / "train"
    train.mkdir(parents=True)
    for number in range(3):
        (train / f"n{number:08}.tar").write_bytes(class_tar(number, 2))
    tree = tree_of(source)
    for version, place in (
        ("winter21_whole", "winter21_whole"),
        ("ILSVRC2012", "ILSVRC2012/train"),
    ):
        split = tree.lookup(tree.lookup(ROOT, version.encode()), b"train")
        shown = [*tree.listing(tree.lookup(split, b"n00000001")).entries(0)]
        tar = walk(tree, f"{place}/n00000001.tar")
        assert len(shown) == 2
        assert [n for _, n, _ in shown] == [n for _, n, _ in tree.listing(tar).entries(0)]
