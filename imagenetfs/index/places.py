"""Where index files are looked for, and where they are written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class IndexPlaces:
    """``directory`` is this user's own (None: index files are not used); ``source`` the source's path.

    Below ``directory`` every source has a directory of its own, named for its path.
    """

    directory: Path | None
    source: Path

    def file(self, group: str) -> Path | None:
        """Where the index file of a group is written."""
        if self.directory is None:
            return None
        key = hashlib.sha256(os.fsencode(self.source)).hexdigest()[:12]
        return self.directory / f"{self.source.name or 'root'}-{key}" / f"{group}.idx"

    def files(self, group: str) -> list[Path]:
        """Where the index file of a group may be, the best place first."""
        own = self.file(group)
        return [own] if own is not None else []
