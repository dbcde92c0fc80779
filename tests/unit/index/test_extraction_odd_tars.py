"""Odd tars are shown as GNU tar extracts them; where that is not so, docs/formats.md says what is
shown."""

from __future__ import annotations

import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.read.reader import Reader
from imagenetfs.tree.inode import InodeKind, inode
from tests.helpers.archives import index_of
from tests.helpers.odd_tars import Entry, extracted, long, odd_tars
from tests.helpers.tars import END, member

ODD = odd_tars()


def shown(index: Index, archive: int, inner: int = OUTER) -> dict[bytes, Entry]:
    """What a container's table says that is there, with the bytes that a reader gives."""
    members = index.container(archive, inner).members
    reader = Reader(index, index.source)
    same: dict[int, set[bytes]] = {}
    for row in range(len(members)):
        same.setdefault(members.owner(row), set()).add(members.name(row))
    found = {}
    for row in range(len(members)):
        kind, data = stat.S_IFMT(members.mode(row)), members.links.get(row, b"")
        if kind == stat.S_IFREG:
            size = members.size(row)
            data = reader.read(inode(InodeKind.FILE, archive, inner, members.owner(row)), 0, size)
            assert len(data) == size
        found[members.name(row)] = Entry(kind, data, frozenset(same[members.owner(row)]))
    return found


@pytest.mark.slow
@pytest.mark.expects_log(
    "header with an impossible size",
    "left out, for it has no name",
    "left out, for it is a hard link to",
    "left out, for it lies below what is no",
    "left out, for it would take the place of",
    "left out, for its name has",
    "left out, for its name is longer than a",
    "no tar header here: its checksum does not hold",
    "not all members are shown",
    "pax record that is not of the form",
    "pax size that is no number",
    "zeros, as at an archive's end, and",
)
@pytest.mark.parametrize("name", ODD)
def test_as_gnu_tar_extracts(name: str, tmp_path: Path) -> None:
    (tmp_path / "odd.tar").write_bytes(ODD[name])
    index = index_of(tmp_path, "odd.tar")
    tree = shown(index, 0)
    # By a short way: a name may be as long as the kernel takes.
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert tree == extracted(Path("odd.tar"), Path("x"))
    finally:
        os.chdir(here)
    assert b"z" in tree or "holes" in name


@pytest.mark.parametrize("form", ["old", "0.1", "1.0"])
def test_a_tar_with_holes_within_a_tar(form: str, tmp_path: Path) -> None:
    (tmp_path / "odd.tar").write_bytes(ODD[f"holes {form}"])
    index = index_of(tmp_path, "odd.tar")
    extracted(tmp_path / "odd.tar", tmp_path / "x")
    inner = shown(index, 0, 0)
    assert inner == extracted(tmp_path / "x" / "inner.tar", tmp_path / "y")
    assert set(inner) == {b"big", b"sp", b"y", b"z"}
    members = index.container(0, 0).members
    assert (members.problem, members.left_out) == (None, None)


def test_a_tar_with_holes_is_read_in_parts_too(tmp_path: Path) -> None:
    (tmp_path / "odd.tar").write_bytes(ODD["holes old"])
    index = index_of(tmp_path, "odd.tar")
    whole, reader = shown(index, 0, 0), Reader(index, index.source)
    members = index.container(0, 0).members
    for row in range(len(members)):
        number, data = inode(InodeKind.FILE, 0, 0, row), whole[members.name(row)].contents
        for at in range(0, len(data), max(1, len(data) // 97)):
            assert reader.read(number, at, 5000) == data[at : at + 5000]


@pytest.mark.slow
@pytest.mark.expects_log("left out, for its name is longer than a")
@pytest.mark.parametrize(
    "data",
    [
        long(b"a/" * 40_000 + b"f") + member(b"a", b"1"),
        b"".join(long(b"%04d/" % i + b"a/" * 2000 + b"f") + member(b"a", b"1") for i in range(50)),
        b"".join(member(b"%x" % i) for i in range(1950)),
    ],
    ids=["one deep name", "many deep names", "many members"],
)
def test_memory_is_linear_in_the_bytes_of_headers(data: bytes, tmp_path: Path) -> None:
    assert len(data) < 1 << 20
    (tmp_path / "odd.tar").write_bytes(data + END)
    index = index_of(tmp_path, "odd.tar")
    tracemalloc.start()
    try:
        members = index.container(0).members
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000 + 90 * len(data), "100 MB for 1 MB"
    assert len(members) == 0 or members.name(len(members) - 1)
