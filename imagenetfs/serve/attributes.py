"""pyfuse3's attribute objects. Each worker has one of each kind and fills it anew: they are copied into
the reply before the next request is read."""

from __future__ import annotations

import os

import pyfuse3

from imagenetfs.tree.listing import Attributes

KEEP_SECONDS = 24 * 3600
"""How long the kernel may keep names and attributes: the mount is read-only."""

BLOCK_SIZE = 128 * 1024
"""st_blksize: what readers take as a good size for a buffer."""


class AttributeFiller:
    """Fills one EntryAttributes; owner and group are those of the mounting process."""

    def __init__(self) -> None:
        entry = pyfuse3.EntryAttributes()
        entry.generation = 0
        entry.st_uid = os.geteuid()
        entry.st_gid = os.getegid()
        entry.st_rdev = 0
        entry.st_blksize = BLOCK_SIZE
        entry.entry_timeout = entry.attr_timeout = KEEP_SECONDS
        self._entry = entry
        self._kept = True

    def fill(self, inode: int, what: Attributes, keep: bool = True) -> pyfuse3.EntryAttributes:
        """The entry for an inode; ``keep`` False where the kernel must ask again each time."""
        entry = self._entry
        mode, size, mtime_ns, nlink = what
        entry.st_ino = inode
        entry.st_mode = mode
        entry.st_size = size
        entry.st_blocks = (size + 511) // 512
        entry.st_nlink = nlink
        entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = mtime_ns
        if keep is not self._kept:
            entry.entry_timeout = entry.attr_timeout = KEEP_SECONDS if keep else 0
            self._kept = keep
        return entry
