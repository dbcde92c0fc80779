"""What a mount shows from the start: inodes of directories that nothing is read for."""

from __future__ import annotations

import pytest

from imagenetfs.tree.inode import InodeKind, class_fields, kind_of
from imagenetfs.tree.node import DynamicFile, FixedDirectory, FixedFile, SplitDirectory
from imagenetfs.tree.static_tree import LIVE_FILES, StaticTree, build_static_tree
from imagenetfs.tree.tree import Tree
from imagenetfs.tree.versions import views
from tests.helpers.trees import ilsvrc2012, tree_of


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return tree_of(ilsvrc2012(tmp_path_factory.mktemp("s") / "imagenet"))


def built(tree: Tree) -> tuple[StaticTree, FixedDirectory]:
    static = build_static_tree(tree.catalogue, "1.2.3")
    root = static.nodes[1]
    assert isinstance(root, FixedDirectory)
    return static, root


def directory(static: StaticTree, number: int) -> FixedDirectory:
    node = static.nodes[number]
    assert isinstance(node, FixedDirectory)
    return node


def test_the_root(tree: Tree) -> None:
    _, root = built(tree)
    assert {*root.children} == {b"ILSVRC2012", b"ILSVRC2012_t3", b"archives"}
    assert {*root.hidden} == {b".imagenetfs", b"source"}
    assert kind_of(root.hidden[b"source"]) == InodeKind.SOURCE
    assert kind_of(root.children[b"archives"]) == InodeKind.ARCHIVES


def test_our_own_files(tree: Tree) -> None:
    static, root = built(tree)
    own = directory(static, root.hidden[b".imagenetfs"])
    assert {*own.children} == {b"version", *(name.encode() for name in LIVE_FILES)}
    for name in LIVE_FILES:
        assert static.nodes[own.children[name.encode()]] == DynamicFile(name)


def test_aliases_are_split_directories_of_their_own(tree: Tree) -> None:
    static, root = built(tree)
    version = directory(static, root.children[b"ILSVRC2012"])
    val, alias = version.children[b"val"], version.hidden[b"validation"]
    one, other = static.nodes[val], static.nodes[alias]
    assert isinstance(one, SplitDirectory) and isinstance(other, SplitDirectory)
    assert one.split is other.split
    assert one.number != other.number
    for number, split in enumerate(static.splits):
        shown = [node for node in static.nodes if isinstance(node, SplitDirectory)]
        assert [node.split for node in shown if node.number == number] in ([split], [])
    assert len(static.versions) == len(static.splits)


def test_lists_of_images_are_sized_late(tree: Tree) -> None:
    static, root = built(tree)
    version = directory(static, root.children[b"ILSVRC2012"])
    meta = directory(static, version.children[b"meta"])
    assert {*meta.children} == {b"train.txt", b"val.txt"}
    for number in meta.children.values():
        node = static.nodes[number]
        assert isinstance(node, FixedFile)
        assert node.lazy
    t3 = directory(static, root.children[b"ILSVRC2012_t3"])
    assert {*directory(static, t3.children[b"meta"]).children} == {b"train.txt"}


def test_directories_that_are_not_listed(tree: Tree) -> None:
    static, root = built(tree)
    version = directory(static, root.children[b"ILSVRC2012"])
    assert kind_of(version.hidden[b"ILSVRC2012_devkit_t12"]) == InodeKind.ALIAS


def test_classes_beside_the_splits(tree: Tree) -> None:
    version = tree.catalogue.versions[0]
    version.classes_beside_splits = True
    try:
        static, root = built(tree)
    finally:
        version.classes_beside_splits = False
    node = directory(static, root.children[b"ILSVRC2012"])
    beside = {name for name in node.hidden if name.startswith(b"n0")}
    assert beside == {b"n00000001", b"n00000002", b"n00000003"}
    number, member = class_fields(node.hidden[b"n00000002"])
    assert static.splits[number].backend.classes[member] == b"n00000002"


def test_views_stand_below_a_directory_of_their_own(tree: Tree) -> None:
    catalogue = tree.catalogue
    view, _ = views.view("mine", b"n00000002\n", catalogue.versions, lambda what: None)
    catalogue.views.append(view)
    try:
        static, root = built(tree)
    finally:
        catalogue.views.clear()
    shown = directory(static, directory(static, root.children[b"views"]).children[b"mine"])
    assert {*shown.children} == {b"train"}
