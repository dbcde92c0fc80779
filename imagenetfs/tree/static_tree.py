"""What a mount shows from the start: the root, versions, splits, label
files, views, .imagenetfs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imagenetfs.index.archives import OUTER
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.inode import InodeKind, class_inode, inode
from imagenetfs.tree.label_files import PathLabels, label_files
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
    garden = StaticTree(catalogue)
    root = garden.nodes[1]
    assert isinstance(root, FixedDirectory)
    for shown in catalogue.versions:
        root.children[shown.name] = garden.add(_version(garden, shown))
    top = catalogue.numbers[b""]
    root.children[b"source"] = inode(InodeKind.SOURCE, top, OUTER, 0)
    root.children[b"archives"] = inode(InodeKind.ARCHIVES, top, OUTER, 0)
    if catalogue.views:
        views = FixedDirectory()
        for view in catalogue.views:
            views.children[view.name] = garden.add(_splits(garden, view))
        root.children[b"views"] = garden.add(views)
    own = FixedDirectory()
    own.children[b"version"] = garden.add(FixedFile(GeneratedFile(f"{version}\n".encode)))
    for name in LIVE_FILES:
        own.children[name.encode()] = garden.add(DynamicFile(name))
    root.hidden[b".imagenetfs"] = garden.add(own)
    return garden


def _splits(garden: StaticTree, version: Version) -> FixedDirectory:
    node = FixedDirectory()
    for split in version.splits:
        node.children[split.name] = garden.add_split(version, split)
        for alias in split.aliases:
            node.hidden[alias] = garden.add_split(version, split)
    return node


def _version(garden: StaticTree, version: Version) -> FixedDirectory:
    node = _splits(garden, version)
    for name, make in label_files(version).items():
        node.children[name] = garden.add(FixedFile(GeneratedFile(make)))
    labels = {wnid: label for label, wnid in enumerate(version.wnids)}
    meta = FixedDirectory()
    for name in (b"train", b"val"):
        listed = version.split(name)
        if listed is not None:
            contents = PathLabels(listed, labels)
            meta.children[name + b".txt"] = garden.add(FixedFile(contents, lazy=True))
    node.children[b"meta"] = garden.add(meta)
    for name, path in version.hidden_directories.items():
        archive = garden.catalogue.numbers[path]
        node.hidden.setdefault(name, inode(InodeKind.ALIAS, archive, OUTER, 0))
    train = version.split(b"train") if version.classes_beside_splits else None
    if train is not None:
        garden.add_split(version, train)
        number = len(garden.splits) - 1
        node.hidden.update({n: class_inode(number, at) for at, n in enumerate(train.wnids)})
    return node
