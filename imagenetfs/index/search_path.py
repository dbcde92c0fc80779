"""Where index files are looked for, and where they are written."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Sequence
from pathlib import Path

IN_SOURCE = ".imagenetfs"
"""The directory of the source itself in which its maintainer may put an index for all users."""


class IndexSearchPath:
    """The search path of index files: the writable directory, then read-only ones.

    ``directory`` is this user's own (None: nothing is written), ``source`` the source's path,
    ``site`` the directories that the site has for all. In each, every source has a subdirectory of
    its own, named for its path; but within the source the files have none, because the source may
    be at another path on another node.
    """

    def __init__(
        self,
        directory: Path | None,
        source: Path,
        site: Sequence[Path] = (),
        *,
        beside: bool = True,
    ) -> None:
        """``beside``: look for an index in the source itself too."""
        self.directory = directory
        self.source = source
        directories = dict.fromkeys([*([source / IN_SOURCE] if beside else []), *site])
        found = [self._below(each) for each in directories if each != directory]
        # Opened now and not by path later: the mount may lie over the source, and a server that
        # looks into its own mount waits for itself.
        descriptors = [fd for fd in map(_opened, found) if fd is not None]
        for fd in descriptors:
            weakref.finalize(self, os.close, fd)
        self._read_only = [Path(f"/proc/self/fd/{fd}") for fd in descriptors]

    def file(self, group: str) -> Path | None:
        """Where the index file of a group is written."""
        return self._below(self.directory) / f"{group}.idx" if self.directory else None

    def files(self, group: str) -> list[Path]:
        """Where the index file of a group may be, the best path first."""
        own = self.file(group)
        read_only = [each / f"{group}.idx" for each in self._read_only]
        return [own, *read_only] if own is not None else read_only

    def _below(self, directory: Path) -> Path:
        if directory.is_relative_to(self.source):
            return directory
        key = hashlib.sha256(os.fsencode(self.source)).hexdigest()[:12]
        return directory / f"{self.source.name or 'root'}-{key}"


def _opened(directory: Path) -> int | None:
    """The directory as it is now, whatever is mounted over it later."""
    try:
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
