"""What readers have come to, as a stager sees it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from imagenetfs.index.archives import OUTER, Extent, Kind
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.read import recent_parts
from imagenetfs.read.recent_parts import Part, RecentParts, part_of
from tests.helpers.archives import index_of, train_tar
from tests.helpers.children import ended
from tests.helpers.sources import write


@pytest.fixture
def index(tmp_path: Path) -> Index:
    write(tmp_path / "t.tar", train_tar(2))
    write(tmp_path / "d" / "n01" / "0.JPEG", b"x")
    return index_of(tmp_path, "t.tar", "d")


def test_parts_of_archives_and_directories(index: Index) -> None:
    inner = index.container(0, 1)
    assert part_of(0, 1, inner) == Part(0, OUTER, inner.extent.start, inner.extent.end)
    assert part_of(1, 0, index.container(1, 0)) == Part(1, 0, 0, 0)


def test_what_is_listed_is_noted_in_its_order(index: Index) -> None:
    recent = RecentParts()
    assert recent.listed_since(0) == ([], 0)
    index.on_load = recent.note_listed
    for archive, inner in ((0, 1), (1, 0), (0, 0), (0, 1)):
        index.container(archive, inner)
    expected = [part_of(a, i, index.container(a, i)) for a, i in ((0, 1), (1, 0), (0, 0))]
    # Archives of archives are noted by what is in them; each is noted once by a process.
    assert recent.listed_since(0) == (expected, 3)
    assert recent.listed_since(2) == (expected[2:], 3)
    assert recent.listed_since(3) == ([], 3)


def test_of_very_many_the_first_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_parts, "_SLOTS", 4)
    recent = RecentParts()
    members = SimpleNamespace(nested=())
    one = cast(Container, SimpleNamespace(members=members, extent=Extent(b"t", 0, 512, Kind.TAR)))
    for number in range(10):
        recent.note_listed(number, OUTER, one)
    parts, count = recent.listed_since(2)
    assert ([part.archive for part in parts], count) == ([6, 7, 8, 9], 10)


def test_other_processes_see_it() -> None:
    recent = RecentParts()
    assert recent.read_last() is None
    part = Part(3, OUTER, 512, 1024)
    pid = os.fork()
    if pid == 0:
        recent.note_read(part)
        os._exit(0)
    assert ended(pid) == 0
    assert recent.read_last() == part
