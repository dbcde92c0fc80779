"""From an inode back to the files of the source, and to the names that the kernel may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.tree.source_paths import SourcePaths
from imagenetfs.tree.tree import Tree
from tests.helpers.devkit import LEAVES
from tests.helpers.sources import write
from tests.helpers.trees import at, ilsvrc2012, names, tree_of

TRAIN, VAL_TAR = b"ILSVRC2012/ILSVRC2012_img_train.tar", b"ILSVRC2012/ILSVRC2012_img_val.tar"
EXTRA = "ILSVRC2012/extra/deep/x.JPEG"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = ilsvrc2012(tmp_path / "imagenet")
    write(root / EXTRA, b"x")
    return tree_of(root)


def paths(tree: Tree, path: str) -> list[bytes]:
    return list(SourcePaths(tree).paths(at(tree, path)))


def test_files_behind_inodes(tree: Tree) -> None:
    assert paths(tree, "ILSVRC2012/train/n00000002/n00000002_1.JPEG") == [TRAIN]
    assert paths(tree, "ILSVRC2012/train/n00000002") == [TRAIN]
    assert paths(tree, "archives/ILSVRC2012/ILSVRC2012_img_val.tar") == [VAL_TAR]
    assert set(paths(tree, "ILSVRC2012/test/unlabeled")) == {
        b"ILSVRC2012/ILSVRC2012_img_test_v10102019.tar",
        b"ILSVRC2012/ILSVRC2012_img_test_patch_images_v10102019.tar",
    }


def test_loose_files_and_directories(tree: Tree) -> None:
    found = paths(tree, f"source/{EXTRA}")
    assert found[-1] == EXTRA.encode()
    assert b"ILSVRC2012/extra/deep" in paths(tree, "source/ILSVRC2012/extra/deep")
    assert paths(tree, "source") == [b""]


def test_what_is_made_has_no_files(tree: Tree) -> None:
    for path in ("ILSVRC2012", "ILSVRC2012/train", "ILSVRC2012/wnids.txt", ".imagenetfs/version"):
        assert paths(tree, path) == []


def test_only_what_has_a_table_has_been_shown(tree: Tree) -> None:
    assert VAL_TAR not in set(SourcePaths(tree).shown())
    names(tree, f"ILSVRC2012/val/{LEAVES[1].decode()}")
    assert VAL_TAR in set(SourcePaths(tree).shown())
    assert EXTRA.rpartition("/")[0].encode() not in set(SourcePaths(tree).shown())
    names(tree, "source/ILSVRC2012/extra/deep")
    assert any(path.startswith(b"ILSVRC2012/extra") for path in SourcePaths(tree).shown())


def names_of(tree: Tree, *refused: bytes) -> set[tuple[int, bytes]]:
    return set(SourcePaths(tree).names(refused))


def test_a_split_of_which_no_class_is_left_goes_with_its_classes(tree: Tree) -> None:
    names(tree, "ILSVRC2012/train/n00000001")
    names(tree, "archives/ILSVRC2012")
    version = at(tree, "ILSVRC2012")
    train = at(tree, "ILSVRC2012/train")
    found = names_of(tree, TRAIN)
    assert {(train, b"n%08d" % n) for n in (1, 2, 3)} <= found
    assert (version, b"train") in found
    assert (version, b"val") not in found
    assert (at(tree, "archives/ILSVRC2012"), b"ILSVRC2012_img_train.tar") in found


def test_a_split_that_was_not_touched_has_no_names(tree: Tree) -> None:
    found = names_of(tree, VAL_TAR)
    assert not [name for _, name in found if name.startswith(b"n0") or name == b"val"]


def test_a_file_of_the_source_goes_by_its_own_name(tree: Tree) -> None:
    directory = at(tree, "source/ILSVRC2012/extra/deep")
    names(tree, "source/ILSVRC2012/extra/deep")
    assert (directory, b"x.JPEG") in names_of(tree, EXTRA.encode())
    assert names_of(tree) == set()


def test_a_directory_that_the_kernel_never_saw_has_no_names(tree: Tree) -> None:
    assert names_of(tree, b"nowhere/at/all") == set()
