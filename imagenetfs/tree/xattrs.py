"""Where an image comes from and what is on it: the extended attributes ``user.imagenetfs.*``.

On images: ``source`` (path in the source), ``offset`` (bytes into that file, where they stand there
as they are), ``wnid``, ``words``, ``label`` (from 0, in the order of sorted wnids). On class
directories: ``wnid``, ``words``, ``label``, ``count``; and ``order``, how the images stand in their
archives, which is not listed, so that no copy has it.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence

from imagenetfs.index.archives import Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table import Table
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.inode import fields
from imagenetfs.tree.split_backend import UNLABELED
from imagenetfs.tree.stored_order import stored_order

PREFIX = b"user.imagenetfs."

ORDER = PREFIX + b"order"

MOST_ORDERED = 1 << 15
"""Linux takes 64 KiB for an attribute's value."""

Xattrs = dict[bytes, bytes]

MayShow = Callable[[int, tuple[bytes, ...]], bool]
"""Whether those who may read an inode may know what is in these files of the source too."""


def _stands_there(members: Table, row: int) -> bool:
    """Whether a file's bytes stand in the source as they are: not deflated, and without holes."""
    if isinstance(members, ArrayTable):
        return bool(members.data.stored)
    if isinstance(members, MemberTable):
        return not members.packed(row) and row not in members.sparse
    return True


class ExtendedAttributes:
    """Answers for all versions of a catalogue."""

    def __init__(self, index: Index, versions: Sequence[Version]) -> None:
        self._index = index
        self._versions = versions
        self._labels: dict[int, dict[bytes, int]] = {}
        self.may_show: MayShow = lambda inode, paths: True

    def of_file(self, inode: int) -> Xattrs:
        """The attributes of a member, an npz's row or a loose file."""
        archive, inner, row = fields(inode)
        container = self._index.container(archive, inner)
        members, kind = container.members, container.extent.kind
        if not stat.S_ISREG(members.mode(row)):
            return {}
        path, offset, _ = container.locate(row)
        found = {PREFIX + b"source": container.extent.path if kind is Kind.NPZ else path}
        if _stands_there(members, row):
            found[PREFIX + b"offset"] = b"%d" % offset
        for version in self._versions:
            for split in version.splits:
                number = split.backend.class_of(archive, inner, row)
                if number is not None:
                    return found | self._of_wnid(inode, version, split.backend.classes[number])
        return found

    def of_class(self, inode: int, version: Version, split: Split, number: int) -> Xattrs:
        """The attributes of a class directory. Indexes the class, to count its images."""
        count = {PREFIX + b"count": b"%d" % len(split.backend.listing(number))}
        return self._of_wnid(inode, version, split.backend.classes[number]) | count

    def order_of_class(self, split: Split, number: int) -> bytes | None:
        """Which image of a class, by its place in the order of names, stands first in the archives,
        which second, ...: 16 bits each, little-endian. None where an attribute has no room for it.
        """
        listing = split.backend.listing(number)
        if len(listing) > MOST_ORDERED:
            return None
        order = stored_order(self._index, listing.columns(0, len(listing)).inodes)
        return order.astype("<u2").tobytes()

    def _of_wnid(self, inode: int, version: Version, wnid: bytes) -> Xattrs:
        if wnid == UNLABELED:
            return {}
        found = {PREFIX + b"wnid": wnid}
        if wnid in version.words and self.may_show(inode, version.words_from):
            found[PREFIX + b"words"] = version.words[wnid].encode()
        labels = self._labels.get(id(version))
        if labels is None:
            labels = {name: label for label, name in enumerate(version.wnids)}
            self._labels[id(version)] = labels
        if wnid in labels:
            found[PREFIX + b"label"] = b"%d" % labels[wnid]
        return found
