"""How the images of a directory stand in their archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagenetfs.index.archives import OUTER
from imagenetfs.tree.inode import InodeKind, inode
from imagenetfs.tree.stored_order import stored_order
from tests.helpers.archives import image, index_of, tar_of


def number(archive: int, row: int, inner: int = OUTER) -> int:
    return inode(InodeKind.FILE, archive, inner, row)


def test_by_archive_and_offset(tmp_path: Path) -> None:
    """Names stand sorted in a table, and in any order in the tar."""
    stored = [f"{name}.JPEG" for name in "dbeac"]
    for tar in ("one.tar", "two.tar"):
        (tmp_path / tar).write_bytes(tar_of({name: image(1) for name in stored}))
    index = index_of(tmp_path, "one.tar", "two.tar")
    inodes = np.array([number(0, row) for row in range(5)], dtype=np.uint64)
    assert stored_order(index, inodes).tolist() == [3, 1, 4, 0, 2]
    both = np.array([number(1, 0), number(0, 4), number(1, 3), number(0, 1)], dtype=np.uint64)
    assert stored_order(index, both).tolist() == [3, 1, 2, 0]


def test_within_a_tar_in_a_tar(tmp_path: Path) -> None:
    inner = tar_of({f"{name}.JPEG": image(1) for name in "cab"})
    (tmp_path / "t.tar").write_bytes(tar_of({"n1.tar": inner}))
    index = index_of(tmp_path, "t.tar")
    inodes = np.array([number(0, row, 0) for row in range(3)], dtype=np.uint64)
    assert stored_order(index, inodes).tolist() == [2, 0, 1]


def test_files_of_their_own_stand_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in "cab":
        (tmp_path / "d" / f"{name}.JPEG").write_bytes(image(1))
    index = index_of(tmp_path, "d")
    inodes = np.array([number(0, row) for row in (2, 0, 1)], dtype=np.uint64)
    assert stored_order(index, inodes).tolist() == [1, 2, 0]
    assert stored_order(index, inodes[:0]).tolist() == []
