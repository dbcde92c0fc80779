"""What a mount shows from the start: the root, versions, splits, label
files, views, .imagenetfs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagenetfs.index.archives import OUTER
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.inode import InodeKind, class_inode, inode
from imagenetfs.tree.label_files import PathLabels, label_file_sources, label_files
from imagenetfs.tree.node import (
    DynamicFile,
    FixedDirectory,
    FixedFile,
    GeneratedFile,
    Node,
    SplitDirectory,
)

LIVE_FILES = ("status.json", "log")


@dataclass(slots=True)
class StaticTree:
    """Fixed nodes by inode (0 is no inode, 1 the root), and the splits by the number of their
    directory (a split has one a name) with their versions.
    """

    catalogue: Catalogue
    nodes: list[Node] = field(default_factory=lambda: [FixedDirectory(), FixedDirectory()])
    splits: list[Split] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)

    def add(self, node: Node) -> int:
        """The inode of a new node."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def add_split(self, version: Version, split: Split) -> int:
        """The inode of a new directory that shows a split's classes."""
        self.splits.append(split)
        self.versions.append(version)
        return self.add(SplitDirectory(split, len(self.splits) - 1))


def build_static_tree(catalogue: Catalogue, version: str) -> StaticTree:
    """All fixed nodes. ``version`` is this program's."""
    static_tree = StaticTree(catalogue)
    root = static_tree.nodes[1]
    assert isinstance(root, FixedDirectory)
    for shown in catalogue.versions:
        root.children[shown.name] = static_tree.add(_version(static_tree, shown))
    top = catalogue.numbers[b""]
    # Unlisted, so that a walk of the mount does not come upon every image twice more.
    root.hidden[b"source"] = inode(InodeKind.SOURCE, top, OUTER, 0)
    root.children[b"archives"] = inode(InodeKind.ARCHIVES, top, OUTER, 0)
    if catalogue.views:
        views = FixedDirectory()
        for view in catalogue.views:
            views.children[view.name] = static_tree.add(_splits(static_tree, view))
        root.children[b"views"] = static_tree.add(views)
    own = FixedDirectory()
    own.children[b"version"] = static_tree.add(FixedFile(GeneratedFile(f"{version}\n".encode)))
    for name in LIVE_FILES:
        own.children[name.encode()] = static_tree.add(DynamicFile(name))
    root.hidden[b".imagenetfs"] = static_tree.add(own)
    return static_tree


def _splits(static_tree: StaticTree, version: Version) -> FixedDirectory:
    node = FixedDirectory()
    for split in version.splits:
        node.children[split.name] = static_tree.add_split(version, split)
        for alias in split.aliases:
            node.hidden[alias] = static_tree.add_split(version, split)
    return node


def _version(static_tree: StaticTree, version: Version) -> FixedDirectory:
    node = _splits(static_tree, version)
    for name, make in label_files(version).items():
        files = label_file_sources(version, name)
        node.children[name] = static_tree.add(FixedFile(GeneratedFile(make), files=files))
    if b"meta.bin" in node.children:
        for name in (*node.children, *node.hidden):
            split = static_tree.nodes[node.children.get(name) or node.hidden[name]]
            if isinstance(split, SplitDirectory):
                split.hidden[b"meta.bin"] = node.children[b"meta.bin"]
    _add_lists(static_tree, version, node)
    for name, path in version.hidden_directories.items():
        archive = static_tree.catalogue.numbers[path]
        node.hidden.setdefault(name, inode(InodeKind.ALIAS, archive, OUTER, 0))
    train = version.split(b"train") if version.classes_beside_splits else None
    if train is not None:
        static_tree.add_split(version, train)
        number = len(static_tree.splits) - 1
        node.hidden.update({n: class_inode(number, at) for at, n in enumerate(train.wnids)})
    return node


def _add_lists(static_tree: StaticTree, version: Version, node: FixedDirectory) -> None:
    """meta/{train,val}.txt; and where other programs look for the same, unlisted: meta_data/, and
    train_list.txt and val_list.txt, whose paths begin with the split.
    """
    labels = {wnid: label for label, wnid in enumerate(version.wnids)}
    meta = FixedDirectory()
    for name in (b"train", b"val"):
        listed = version.split(name)
        if listed is None or not listed.wnids:
            continue
        meta.children[name + b".txt"] = _list_of(static_tree, listed, labels, b"")
        node.hidden[name + b"_list.txt"] = _list_of(static_tree, listed, labels, name + b"/")
    if meta.children:
        node.children[b"meta"] = static_tree.add(meta)
        node.hidden[b"meta_data"] = static_tree.add(FixedDirectory(dict(meta.children)))


def _list_of(
    static_tree: StaticTree, split: Split, labels: Mapping[bytes, int], above: bytes
) -> int:
    contents = PathLabels(split, labels, above)
    return static_tree.add(FixedFile(contents, lazy=True, files=split.labels_from, split=split))
