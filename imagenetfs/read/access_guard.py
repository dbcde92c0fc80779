"""What a worker asks before it answers for an inode: may the files behind it still be read?

The access monitor (server.access_monitor) finds out; the verdicts lie in memory that all
processes of a mount share.
"""

from __future__ import annotations

from imagenetfs.source.source import Source
from imagenetfs.tree.source_paths import SourcePaths


class AccessGuard:
    """What a worker asks before it answers for an inode."""

    def __init__(self, source: Source, backing: SourcePaths) -> None:
        self._source = source
        self._refusals = source.known.refusals
        self._backing = backing

    def check(self, inode: int) -> None:
        """Raise SourceRefusedError where what stands behind an inode may not be read any more.

        One look at shared memory while nothing is refused."""
        if self._refusals[0]:
            for path in self._backing.paths(inode):
                self._source.check_known(path)
