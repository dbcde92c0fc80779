"""The tree: from an inode number to what it is. Decides everything, reads nothing itself.

Errors are the project's own (NoEntryError, NotDirectoryError, ...); the index below raises
ArchiveError and SourceReadError where a table cannot be made.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from imagenetfs.errors import (
    IsDirectoryError,
    NoAttributeError,
    NoEntryError,
    NotDirectoryError,
    NotLinkError,
)
from imagenetfs.tree.archive_view import container_mtime_ns
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split
from imagenetfs.tree.inode import (
    InodeKind,
    class_fields,
    class_inode,
    fields,
    kind_of,
)
from imagenetfs.tree.listing import (
    DIRECTORY_MODE,
    FILE_MODE,
    UNCOUNTED,
    Attributes,
    FixedListing,
    Listing,
    member_attributes,
)
from imagenetfs.tree.node import DynamicFile, FixedDirectory, FixedFile, Node, SplitDirectory
from imagenetfs.tree.source_view import loose_listing
from imagenetfs.tree.static_tree import build_static_tree
from imagenetfs.tree.xattrs import ORDER, PREFIX, ExtendedAttributes, MayShow

_LOOSE = (InodeKind.SOURCE, InodeKind.ALIAS, InodeKind.ARCHIVES)


class Tree:
    """All that a mount shows, made from a catalogue."""

    def __init__(self, catalogue: Catalogue, version: str) -> None:
        self.catalogue = catalogue
        self._index = catalogue.index
        static_tree = build_static_tree(catalogue, version)
        self._nodes = static_tree.nodes
        self._splits = static_tree.splits
        self._versions = static_tree.versions
        self._listings: dict[int, Listing] = {}
        self._provenance = ExtendedAttributes(catalogue.index, catalogue.versions)

    def close(self) -> None:
        """Let go of all listings, and so of the tables behind them."""
        self._listings.clear()

    # --- questions --------------------------------------------------------------------------------

    def _node(self, number: int) -> Node:
        if 0 < number < len(self._nodes):
            return self._nodes[number]
        raise NoEntryError(f"no inode {number}.")

    def lookup(self, parent: int, name: bytes) -> int:
        """The inode of a name in a directory; NoEntryError where there is none."""
        number = self.listing(parent).find(name)
        if number is None:
            number = self._hidden(parent, name)
        if number is None:
            raise NoEntryError(f"no entry {name!r}.")
        return number

    def _hidden(self, parent: int, name: bytes) -> int | None:
        if kind_of(parent) != InodeKind.FIXED:
            return None
        node = self._node(parent)
        if isinstance(node, FixedDirectory):
            return node.hidden.get(name)
        if isinstance(node, SplitDirectory):
            hidden = node.hidden.get(name)
            return node.split.backend.find_anywhere(name) if hidden is None else hidden
        return None

    def listing(self, number: int) -> Listing:
        """What a directory shows; NotDirectoryError where it is none."""
        listing = self._listings.get(number)
        if listing is None:
            listing = self._listings[number] = self._make_listing(number)
        return listing

    def _make_listing(self, number: int) -> Listing:
        kind = kind_of(number)
        if kind == InodeKind.CLASS:
            split, member = class_fields(number)
            if split >= len(self._splits) or member >= len(self._splits[split].backend.classes):
                raise NoEntryError(f"no inode {number}.")
            made = self._splits[split].backend.listing(member)
            self.catalogue.ledgers.listed(self._versions[split], self._splits[split], member, made)
            return made
        if kind in _LOOSE:
            return loose_listing(self.catalogue, number)
        if kind != InodeKind.FIXED:
            raise NotDirectoryError("this is a file.")
        node = self._node(number)
        if isinstance(node, FixedDirectory):
            children = list(node.children.items())
            return FixedListing(children, self.listed_attributes, self.is_lazy)
        if isinstance(node, SplitDirectory):
            if node.split.lost is not None:
                raise node.split.lost
            children = [
                (name, class_inode(node.number, at))
                for at, name in enumerate(node.split.backend.classes)
            ]
            return FixedListing(children, self.attributes)
        raise NotDirectoryError("this is a file.")

    def class_of(self, number: int) -> tuple[int, int] | None:
        """(number of the split directory, class) where the inode is a class directory."""
        return class_fields(number) if kind_of(number) == InodeKind.CLASS else None

    @property
    def split_directories(self) -> list[Split]:
        """The splits by the number of their directory (a split has one a name)."""
        return self._splits

    def take_stock(self, split: int) -> None:
        """Tell what of a split does not add up, once it is indexed; by its directory's number."""
        self.catalogue.ledgers.complete(self._versions[split], self._splits[split])

    def named(self) -> Iterator[tuple[int, bytes, int]]:
        """(directory, name, inode) of all that stands in a fixed directory, listed or not."""
        for number, node in enumerate(self._nodes):
            if isinstance(node, FixedDirectory):
                for name, inode in (*node.children.items(), *node.hidden.items()):
                    yield number, name, inode
            elif isinstance(node, SplitDirectory):
                for name, inode in node.hidden.items():
                    yield number, name, inode

    def split_of(self, number: int) -> tuple[int, Split] | None:
        """(its number, the split) where the inode is the directory of a split."""
        node = self._node(number) if kind_of(number) == InodeKind.FIXED else None
        return (node.number, node.split) if isinstance(node, SplitDirectory) else None

    def listed_attributes(self, number: int) -> Attributes:
        """Attributes as a listing gives them: nothing is indexed to know a size."""
        if kind_of(number) == InodeKind.FIXED:
            node = self._node(number)
            if isinstance(node, FixedFile) and node.lazy:
                return Attributes(FILE_MODE, 0, self.catalogue.mtime_ns, 1)
        return self.attributes(number)

    def is_lazy(self, number: int) -> bool:
        """Whether a listing's attributes of this inode must not be kept."""
        if kind_of(number) != InodeKind.FIXED:
            return False
        node = self._node(number)
        return (isinstance(node, FixedFile) and node.lazy) or isinstance(node, DynamicFile)

    def generated_file(self, number: int) -> FixedFile | None:
        """The generated file that an inode is, if it is one."""
        node = self._node(number) if kind_of(number) == InodeKind.FIXED else None
        return node if isinstance(node, FixedFile) else None

    @property
    def generated_files(self) -> Iterator[FixedFile]:
        """All of them."""
        return (node for node in self._nodes if isinstance(node, FixedFile))

    def live_file(self, number: int) -> DynamicFile | None:
        """The file that an inode is, if it changes while the mount lives."""
        node = self._node(number) if kind_of(number) == InodeKind.FIXED else None
        return node if isinstance(node, DynamicFile) else None

    def bytes_of_archives(self) -> int:
        """The size of all archives that the splits read, as statfs tells it; 0 where unknown."""
        return self.catalogue.size

    def archive_count(self) -> int:
        """How many archives the source has."""
        return len(self.catalogue.archives)

    def attributes(self, number: int) -> Attributes:
        """(mode, size, mtime, nlink) of an inode."""
        kind = kind_of(number)
        if kind == InodeKind.FILE:
            archive, inner, row = fields(number)
            members = self._index.container(archive, inner).members
            if row >= len(members):
                raise NoEntryError(f"no inode {number}.")
            return member_attributes(members, row)
        if kind == InodeKind.CLASS:
            return self._class_attributes(number)
        if kind in _LOOSE:
            return self._loose_attributes(number)
        node = self._node(number)
        if isinstance(node, FixedFile):
            return Attributes(FILE_MODE, node.contents.size(), self.catalogue.mtime_ns, 1)
        if isinstance(node, DynamicFile):
            return Attributes(FILE_MODE, 0, self.catalogue.mtime_ns, 1)
        return Attributes(
            DIRECTORY_MODE, 0, self.catalogue.mtime_ns, 2 + self._subdirectories(node)
        )

    def _class_attributes(self, number: int) -> Attributes:
        split, member = class_fields(number)
        if split >= len(self._splits) or member >= len(self._splits[split].backend.classes):
            raise NoEntryError(f"no inode {number}.")
        mtime_ns = self._splits[split].backend.mtime_ns(member)
        return Attributes(DIRECTORY_MODE, 0, mtime_ns or self.catalogue.mtime_ns, 2)

    def _loose_attributes(self, number: int) -> Attributes:
        archive, inner, row = fields(number)
        if row:
            mtime_ns = self._index.container(archive, inner).members.mtime_ns(row - 1)
        else:
            mtime_ns = container_mtime_ns(self.catalogue, archive, inner)
        return Attributes(DIRECTORY_MODE, 0, mtime_ns, UNCOUNTED)

    def _subdirectories(self, node: Node) -> int:
        if isinstance(node, SplitDirectory):
            return len(node.split.backend.classes)
        if not isinstance(node, FixedDirectory):
            return 0
        return sum(self._is_directory(number) for number in node.children.values())

    def _is_directory(self, number: int) -> bool:
        if kind_of(number) != InodeKind.FIXED:
            return kind_of(number) != InodeKind.FILE
        return isinstance(self._node(number), FixedDirectory | SplitDirectory)

    def file(self, number: int) -> FixedFile | DynamicFile | None:
        """The generated file that an inode is; None where it is a member.

        Errors for directories.
        """
        kind = kind_of(number)
        if kind == InodeKind.FILE:
            return None
        node = self._node(number) if kind == InodeKind.FIXED else None
        if isinstance(node, FixedFile | DynamicFile):
            return node
        raise IsDirectoryError("this is a directory.")

    def link_target(self, number: int) -> bytes:
        """Where a symbolic link leads."""
        if kind_of(number) == InodeKind.FILE:
            archive, inner, row = fields(number)
            members = self._index.container(archive, inner).members
            if stat.S_ISLNK(members.mode(row)):
                return members.links[row]
        raise NotLinkError("this is no symbolic link.")

    # --- extended attributes ----------------------------------------------------------------------

    def show_words_if(self, may_show: MayShow) -> None:
        """Have ``may_show`` asked before an inode's words are shown."""
        self._provenance.may_show = may_show

    def extended(self, number: int) -> dict[bytes, bytes]:
        """The extended attributes of an inode, by name."""
        kind = kind_of(number)
        if kind == InodeKind.FILE:
            return self._provenance.of_file(number)
        if kind == InodeKind.CLASS:
            split, member = class_fields(number)
            if split < len(self._splits) and member < len(self._splits[split].backend.classes):
                version, shown = self._versions[split], self._splits[split]
                return self._provenance.of_class(number, version, shown, member)
        return {}

    def _order_of_class(self, number: int) -> bytes | None:
        split, member = class_fields(number)
        if split >= len(self._splits) or member >= len(self._splits[split].backend.classes):
            return None
        return self._provenance.order_of_class(self._splits[split], member)

    def extended_value(self, number: int, name: bytes) -> bytes:
        """One extended attribute; NoAttributeError where there is none of that name."""
        if name == ORDER and kind_of(number) == InodeKind.CLASS:
            value = self._order_of_class(number)
        else:
            value = self.extended(number).get(name) if name.startswith(PREFIX) else None
        if value is None:
            raise NoAttributeError(f"no attribute {name!r}.")
        return value
