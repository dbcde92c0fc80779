"""What a worker asks before it answers for an inode: may the files behind it still be read?

The access monitor (server.access_monitor) finds out; the verdicts lie in memory that all
processes of a mount share.
"""

from __future__ import annotations

from imagenetfs.read.ownership import OwnershipMapper
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import InodeKind, kind_of
from imagenetfs.tree.source_paths import SourcePaths


class AccessGuard:
    """What a worker asks before it answers for an inode."""

    def __init__(
        self, source: Source, backing: SourcePaths, access: OwnershipMapper | None = None
    ) -> None:
        """``access``: who may read what, in a mount for all users."""
        self._source = source
        self.refusals = source.known.refusals
        """One word: how many files may not be read now. While it is 0, :meth:`check` does nothing:
        the read path reads the word itself.
        """
        self._backing = backing
        self._access = access
        self._generated: dict[int, tuple[int, bytes | None]] = {}

    def check(self, inode: int) -> None:
        """Raise SourceRefusedError where what stands behind an inode may not be read any more.

        Reads one word of shared memory while nothing is refused.
        """
        if self.refusals[0]:
            if kind_of(inode) == InodeKind.FIXED:
                self._check_generated(inode)
                return
            for path in self._backing.paths(inode):
                self._source.check_known(path)

    def _check_generated(self, inode: int) -> None:
        """What was found holds until a verdict is another one: winter21's list is made of 19,167
        archives.
        """
        changes = self._source.known.refusal_changes
        state, refused = self._generated.get(inode, (-1, None))
        if state != changes:
            known = self._source.known
            refused = next((p for p in self._backing.paths(inode) if known.is_refused(p)), None)
            self._generated[inode] = changes, refused
        if refused is not None:
            self._source.check_known(refused)

    def may_show(self, inode: int, paths: tuple[bytes, ...]) -> bool:
        """Whether an inode may tell what is in these files: none of them is refused, and who may
        read the inode may read them too.
        """
        if self.refusals[0] and any(map(self._source.known.is_refused, paths)):
            return False
        return self._access is None or self._access.covers(inode, paths)
