"""Attributes and directory entries as the kernel reads them: struct fuse_attr
and what stands around it.

A single entry is packed by struct; a directory's entries by numpy, a thousand at a time, for
listing a class of ImageNet is most of the work before training starts (see
docs/benchmarks.md).
"""

from __future__ import annotations

import math
import os
import stat
import time
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from imagenetfs.fuse.protocol import ATTR, ATTR_HEAD, ENTRY_HEAD
from imagenetfs.index.columns import Array
from imagenetfs.read.ownership import OwnershipMapper
from imagenetfs.source.file_state import Ownership
from imagenetfs.tree.inode import ROOT, InodeKind, kind_of
from imagenetfs.tree.listing import Attributes, Columns, Listing

KEEP_SECONDS = 24 * 3600
"""How long the kernel may keep names and attributes: the mount is read-only."""

REVISIT_SECONDS = 60.0
"""How long it may keep the names of versions and splits: a process that reads what the kernel has,
and so asks for nothing else, is still seen to be there once a minute.
"""

FILE_BLOCK = 128 * 1024
"""st_blksize of a file: what readers take as a good size for a buffer."""

DIRECTORY_BLOCK = 512 * 1024
"""st_blksize of a directory: the C library asks for so much of a listing at once (Linux 6.14 and
later pass that on, others ask for a page).
"""

_WINDOW = 2048
_KEPT_WINDOWS = 8
_SECOND = 1_000_000_000
_UNSIGNED = (1 << 64) - 1

_DIRENT = np.dtype(
    [
        *(("nodeid", "u8"), ("generation", "u8"), ("entry_valid", "u8"), ("attr_valid", "u8")),
        *(("entry_valid_nsec", "u4"), ("attr_valid_nsec", "u4")),
        *(("ino", "u8"), ("size", "u8"), ("blocks", "u8")),
        *(("atime", "i8"), ("mtime", "i8"), ("ctime", "i8")),
        *(("atimensec", "u4"), ("mtimensec", "u4"), ("ctimensec", "u4")),
        *(("mode", "u4"), ("nlink", "u4"), ("uid", "u4"), ("gid", "u4"), ("rdev", "u4")),
        *(("blksize", "u4"), ("flags", "u4")),
        *(("d_ino", "u8"), ("off", "u8"), ("namelen", "u4"), ("type", "u4")),
    ]
)
"""struct fuse_direntplus without its name, which follows, padded to 8 bytes."""

_WORDS = _DIRENT.itemsize // 8


def _split(seconds: float) -> tuple[int, int]:
    """(seconds, nanoseconds)."""
    return divmod(int(seconds * _SECOND), _SECOND)


def _block_size(mode: int) -> int:
    return DIRECTORY_BLOCK if stat.S_ISDIR(mode) else FILE_BLOCK


def _is_revisited(inode: int, mode: int) -> bool:
    return kind_of(inode) == InodeKind.FIXED and stat.S_ISDIR(mode)


class AttributePacker:
    """Packs single answers; owner and group are those of the mounting process.

    ``revisit``: see REVISIT_SECONDS. ``root_access``: owner, group and permission bits of the root
    directory, where the kernel shall let in by them; ``access``: those of all else, then.
    """

    def __init__(
        self,
        revisit: float = REVISIT_SECONDS,
        root_access: Ownership | None = None,
        access: OwnershipMapper | None = None,
    ) -> None:
        self._revisit_seconds = revisit
        self._revisit = _split(revisit)
        self._access = access
        self._kept = _split(KEEP_SECONDS if access is None else access.keep)
        self.uid = os.geteuid()
        self.gid = os.getegid()
        self._root_access = root_access

    def for_directories(self) -> EntryPacker:
        """What packs the entries of directories as this one packs single answers."""
        return EntryPacker(self._revisit_seconds, self._access)

    def _attributes(self, inode: int, what: Attributes) -> bytes:
        mode, size, mtime_ns, nlink = what
        uid, gid = self.uid, self.gid
        if inode == ROOT and self._root_access is not None:
            uid, gid, bits = self._root_access
            mode = stat.S_IFMT(mode) | bits
        elif self._access is not None:
            uid, gid, mode = self._access.of(inode, mode) or (uid, gid, mode)
        seconds, nanoseconds = divmod(mtime_ns, _SECOND)
        seconds &= _UNSIGNED
        return ATTR.pack(
            *(inode, size, (size + 511) // 512, seconds, seconds, seconds),
            *(nanoseconds, nanoseconds, nanoseconds),
            *(mode, nlink, uid, gid, 0, _block_size(mode), 0),
        )

    def entry(self, inode: int, what: Attributes, keep: bool = True) -> bytes:
        """The answer to LOOKUP; ``keep`` False where the kernel must ask again each time."""
        name, attributes = ((KEEP_SECONDS, 0), self._kept) if keep else ((0, 0), (0, 0))
        if keep and _is_revisited(inode, what.mode):
            name = self._revisit
        head = ENTRY_HEAD.pack(inode, 0, name[0], attributes[0], name[1], attributes[1])
        return head + self._attributes(inode, what)

    def attributes(self, inode: int, what: Attributes, keep: bool = True) -> bytes:
        """The answer to GETATTR."""
        seconds, nanoseconds = self._kept if keep else (0, 0)
        return ATTR_HEAD.pack(seconds, nanoseconds, 0) + self._attributes(inode, what)


@dataclass(frozen=True, slots=True)
class _Window:
    """Packed entries of positions ``first`` and following; entry i ends at ``ends[i]``. They are
    good until the monotonic time ``until``, in seconds.
    """

    first: int
    data: memoryview
    ends: list[int]
    until: float

    def has(self, position: int) -> bool:
        """Whether the entry is in it and good."""
        within = self.first <= position < self.first + len(self.ends)
        return within and (self.until == math.inf or time.monotonic() < self.until)


class EntryPacker:
    """Packs what READDIRPLUS answers; keeps the windows it packed last, for the next request."""

    def __init__(
        self, revisit: float = REVISIT_SECONDS, access: OwnershipMapper | None = None
    ) -> None:
        """``revisit``, ``access``: see AttributePacker."""
        self._revisit = _split(revisit)
        self._access = access
        template = np.zeros(1, dtype=_DIRENT)
        template["uid"], template["gid"] = os.geteuid(), os.getegid()
        self._template = template
        self._windows: OrderedDict[int, _Window] = OrderedDict()

    def entries(self, directory: int, listing: Listing, position: int, size: int) -> memoryview:
        """The entries from ``position`` on that fit in ``size`` bytes; none at the end."""
        window = self._windows.get(directory)
        if window is None or not window.has(position):
            window = self._pack(listing, position)
            self._windows[directory] = window
            while len(self._windows) > _KEPT_WINDOWS:
                self._windows.popitem(last=False)
        at = position - window.first
        start = window.ends[at - 1] if at else 0
        stop = bisect_right(window.ends, start + size)
        return window.data[start : window.ends[stop - 1] if stop > at else start]

    def _pack(self, listing: Listing, first: int) -> _Window:
        until = math.inf if self._access is None else time.monotonic() + self._access.keep
        data, ends = self.packed(listing.columns(first, first + _WINDOW), first)
        return _Window(first, data.data.cast("B"), ends.tolist(), until)

    def packed(self, some: Columns, first: int) -> tuple[Array, Array]:
        """(bytes, where each entry ends) of entries that stand at positions
        ``first`` and following.
        """
        starts = np.concatenate((np.zeros(1, dtype=np.int64), some.ends[:-1]))[: len(some.ends)]
        middles = some.ends - starts
        lengths = middles + (len(some.prefix) + len(some.suffix))
        ends = np.cumsum(_DIRENT.itemsize + (lengths + 7 & ~7))
        data = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
        if not len(ends):
            return data, ends
        begins = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1]))
        heads = self._heads(some, first, lengths)
        words = begins[:, np.newaxis] // 8 + np.arange(_WORDS)
        data.view(np.uint64)[words] = heads.view(np.uint64).reshape(-1, _WORDS)
        names = begins + _DIRENT.itemsize
        _put(data, names, some.prefix)
        _put(data, names + lengths - len(some.suffix), some.suffix)
        shift = names + len(some.prefix) - starts
        data[np.repeat(shift, middles) + np.arange(len(some.middles))] = some.middles
        return data, ends

    def _heads(self, some: Columns, first: int, lengths: Array) -> Array:
        heads = np.repeat(self._template, len(some.ends))
        heads["nodeid"] = heads["ino"] = heads["d_ino"] = some.inodes
        heads["entry_valid"] = heads["attr_valid"] = np.where(some.keep, KEEP_SECONDS, 0)
        heads["size"] = some.sizes
        heads["blocks"] = (some.sizes.astype(np.int64) + 511) // 512
        times = np.divmod(some.mtimes_ns, _SECOND)
        for name in ("atime", "mtime", "ctime"):
            heads[name], heads[name + "nsec"] = times
        modes = np.asarray(some.modes)
        heads["mode"] = modes
        heads["nlink"] = some.nlinks
        is_directory = modes & 0o170000 == stat.S_IFDIR
        heads["blksize"] = np.where(is_directory, DIRECTORY_BLOCK, FILE_BLOCK)
        if kind_of(int(some.inodes.min())) == InodeKind.FIXED:
            revisited = is_directory & (some.inodes >> 60 == InodeKind.FIXED)
            seconds, nanoseconds = self._revisit
            heads["entry_valid"][revisited] = seconds
            heads["entry_valid_nsec"][revisited] = nanoseconds
        if self._access is not None:
            self._set_rights(heads, self._access)
        heads["off"] = np.arange(first + 1, first + 1 + len(heads), dtype=np.uint64)
        heads["namelen"] = lengths
        heads["type"] = modes >> 12 & 0o17
        return heads

    def _set_rights(self, heads: Array, access: OwnershipMapper) -> None:
        """Each entry's own; those that are kept are kept no longer than
        what was looked at is good.
        """
        access.prepare(heads["nodeid"].tolist())
        for head in heads:
            if not head["attr_valid"]:  # the kernel asks for these each time
                continue
            rights = access.of(int(head["nodeid"]), int(head["mode"]))
            if rights is not None:
                head["uid"], head["gid"], head["mode"] = rights
        kept = heads["attr_valid"] != 0
        heads["attr_valid"][kept], heads["attr_valid_nsec"][kept] = _split(access.keep)


def _put(data: Array, places: Array, text: bytes) -> None:
    """The same bytes at every place."""
    if text:
        columns = places[:, np.newaxis] + np.arange(len(text))
        data[columns] = np.frombuffer(text, dtype=np.uint8)
