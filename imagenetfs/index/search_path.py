"""Where index files are looked for, and where they are written."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Sequence
from pathlib import Path

IN_SOURCE = ".imagenetfs"
"""The directory of the source itself where whoever keeps it may put an index for all."""


class IndexSearchPath:
    """The search path of index files: the writable place, then read-only ones.

    ``directory`` is this user's own (None: nothing is written), ``source`` the source's path,
    ``site`` what the site has for all. In a place every source has a directory of its own, named
    for its path; but in a place within the source its files stand as they are, for the source may
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
        places = dict.fromkeys([*([source / IN_SOURCE] if beside else []), *site])
        found = [self._below(place) for place in places if place != directory]
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
        """Where the index file of a group may be, the best place first."""
        own = self.file(group)
        read_only = [place / f"{group}.idx" for place in self._read_only]
        return [own, *read_only] if own is not None else read_only

    def _below(self, place: Path) -> Path:
        if place.is_relative_to(self.source):
            return place
        key = hashlib.sha256(os.fsencode(self.source)).hexdigest()[:12]
        return place / f"{self.source.name or 'root'}-{key}"


def _opened(directory: Path) -> int | None:
    """The directory as it is now, whatever is mounted over it later."""
    try:
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
