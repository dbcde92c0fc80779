"""From a path of the tree to its inode, as the kernel walks it: `.`, `..` and links too."""

from __future__ import annotations

import errno
import os
import stat

from imagenetfs.library.errors import PathNotDirectoryError, PathNotFoundError
from imagenetfs.tree.inode import ROOT, InodeKind, kind_of
from imagenetfs.tree.tree import Tree as Nodes

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_MOST_LINKS = 40
"""As Linux has it (MAXSYMLINKS)."""


_MOST_DIRECTORIES = 4096

_OF_A_MOUNT = "a mount has this file, and a tree in the process none"


def text_of(path: AnyPath) -> str:
    """A path of the tree, below its root and without a slash in front; ``""`` is the root."""
    parts = os.fsdecode(path).split("/")
    return "/".join(part for part in parts if part not in ("", "."))


class PathWalker:
    """Walks paths. It remembers the directories of the last ones, for files come by directories."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._directories: dict[str, tuple[int, ...]] = {}

    def find(self, path: str, *, follow: bool = True) -> int:
        """The inode at a path; a link at its end is followed or not.

        Raises NoEntryError, NotDirectoryError; OSError (ELOOP), PathNotFoundError where a link
        leads out of the tree.
        """
        directory, _, name = path.rpartition("/")
        above = self._directories.get(directory)
        if above is None:
            above = self._walk((ROOT,), directory, path, follow=True)
            if len(self._directories) >= _MOST_DIRECTORIES:
                self._directories.clear()
            self._directories[directory] = above
        return self._walk(above, name, path, follow=follow)[-1]

    def _walk(
        self, above: tuple[int, ...], below: str, path: str, *, follow: bool
    ) -> tuple[int, ...]:
        """The inodes from the root to ``below``, as seen from the last one of ``above``."""
        nodes, walked, links = self._nodes, list(above), 0
        left = [os.fsencode(part) for part in reversed(below.split("/")) if part]
        while left:
            name = left.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if not stat.S_ISDIR(nodes.attributes(walked[-1]).mode):
                    raise PathNotDirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                walked = walked[:-1] or [ROOT]
                continue
            inode = nodes.lookup(walked[-1], name)
            target = _target(nodes, inode) if left or follow else None
            if target is None:
                if nodes.live_file(inode) is not None:
                    raise PathNotFoundError(errno.ENOENT, _OF_A_MOUNT, path)
                walked.append(inode)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith(b"/"):
                reason = f"a link that leads out of the tree, to {os.fsdecode(target)}"
                raise PathNotFoundError(errno.ENOENT, reason, path)
            left += reversed(target.split(b"/"))
        return tuple(walked)


def _target(nodes: Nodes, inode: int) -> bytes | None:
    """Where a link leads; None for all else."""
    if kind_of(inode) != InodeKind.FILE or not stat.S_ISLNK(nodes.attributes(inode).mode):
        return None
    return nodes.link_target(inode)
