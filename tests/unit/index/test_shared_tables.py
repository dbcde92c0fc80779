"""What the processes of a mount have published for one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER, Archives
from imagenetfs.index.arena import Arena
from imagenetfs.index.shared_tables import SharedTables
from tests.helpers.archives import class_tar, index_of, tar_of


@pytest.fixture
def blocks(tmp_path: Path) -> list[bytes]:
    """The blocks of a tar, and of the tar in it."""
    (tmp_path / "t.tar").write_bytes(tar_of({"n00000001.tar": class_tar(1)}))
    index = index_of(tmp_path, "t.tar")
    return [index.build_task(0, inner)() for inner in (OUTER, 0)]


def test_a_block_is_there_once_it_is_published(blocks: list[bytes], tmp_path: Path) -> None:
    arena = Arena(1)
    tables = SharedTables(arena, index_of(tmp_path, "t.tar").archives)
    for inner, block in zip((OUTER, 0), blocks, strict=True):
        assert not tables.is_published(0, inner)
        assert tables.meta(0, inner) is None
        with tables.locked(0, inner):
            assert bytes(tables.publish(0, inner, block)) == block
        assert tables.is_published(0, inner)
        found = tables.block(0, inner)
        assert found is not None
        assert bytes(found) == block
    meta = tables.meta(0, 0)
    assert meta is not None
    assert meta["rows"] == 3
    arena.close()


def test_an_archive_that_there_is_not_has_none() -> None:
    arena = Arena(0)
    tables = SharedTables(arena, Archives([], arena))
    for archive in (-1, 0, 7):
        assert not tables.is_published(archive, OUTER)
        assert tables.meta(archive, OUTER) is None
    arena.close()
