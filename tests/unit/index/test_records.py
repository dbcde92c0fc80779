"""What an index file keeps: of which containers, and what is not written again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import write_index_file
from imagenetfs.index.records import is_complete, is_persisted, record_of
from tests.helpers.archives import class_tar, close, index_of, train_tar

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A tar of class tars, a class tar, and a directory that was changed long ago."""
    (tmp_path / "s" / "d").mkdir(parents=True)
    (tmp_path / "s" / "t.tar").write_bytes(train_tar(2))
    (tmp_path / "s" / "c.tar").write_bytes(class_tar(7))
    (tmp_path / "s" / "d" / "x.JPEG").write_bytes(b"image")
    for path in ("d/x.JPEG", "d"):
        os.utime(tmp_path / "s" / path, (1000, 1000))
    return tmp_path


@pytest.fixture
def index(site: Path) -> Iterator[Index]:
    found = opened(site)
    yield found
    close(found)


def opened(site: Path) -> Index:
    stores = [(frozenset({0, 1, 2}), (site / "one.idx",))]
    return index_of(site / "s", "t.tar", "c.tar", "d", stores=stores)


def keep(index: Index, site: Path, *containers: tuple[int, int], complete: bool = False) -> Index:
    """The records of these in the index file, and an index that finds them."""
    records = [record_of(index, *container) for container in containers]
    found = [one for one in records if one is not None]
    write_index_file(site / "one.idx", found, complete=complete)
    return opened(site)


def test_nothing_is_kept_of_what_has_not_been_built(index: Index) -> None:
    assert record_of(index, 0, OUTER) is None
    assert is_persisted(index, 0, OUTER), "there is nothing to write"


def test_a_record_is_the_block_and_where_it_holds(index: Index) -> None:
    index.container(0, 1)
    record = record_of(index, 0, 1)
    assert record is not None
    extent = index.extent(0, 1)
    assert (record.start, record.stop) == (extent.start, extent.end)
    assert record.block == bytes(index.tables.block(0, 1) or b"")
    assert record.key == index.key(0, 1) != index.key(0, 0)


def test_a_record_that_says_the_same_is_itself_the_record(index: Index) -> None:
    index.container(1)
    present = record_of(index, 1, OUTER)
    assert present is not None
    assert record_of(index, 1, OUTER, present) is present
    moved = replace(present, start=present.start + 512)
    again = record_of(index, 1, OUTER, moved)
    assert again == present and again is not moved
    other = replace(present, block=present.block + b"\0")
    assert record_of(index, 1, OUTER, other) == present


def test_what_the_file_has_need_not_be_written(index: Index, site: Path) -> None:
    index.container(1)
    assert not is_persisted(index, 1, OUTER)
    later = keep(index, site, (1, OUTER))
    assert is_persisted(later, 1, OUTER)
    later.container(1)
    assert is_persisted(later, 1, OUTER)
    later.container(0)
    assert not is_persisted(later, 0, OUTER)
    close(later)


def test_complete_is_what_a_complete_file_has(index: Index, site: Path) -> None:
    index.container(1)
    for complete in (False, True):
        later = keep(index, site, (1, OUTER), complete=complete)
        assert is_complete(later, [])
        assert is_complete(later, [1]) is complete
        assert not is_complete(later, [1, 2])
        close(later)
