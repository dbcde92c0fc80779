"""What a volume is: the bytes that the cache keeps of one file, or of
the files of one directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from imagenetfs.cache.segment import Segment


@dataclass(frozen=True, slots=True)
class Identity:
    """By what a file is known again, so that another version of it never gets the blocks of an old
    one.

    ``path`` in the source; ``size`` in bytes, ``mtime_ns`` and ``inode`` as stat has them;
    ``sample``: what the index looked at of its content (see index.fingerprint), or a digest of a
    listing; ``form`` tells several volumes of one file apart.
    """

    path: bytes
    size: int
    mtime_ns: int
    inode: int
    sample: int
    form: str = "as it is"

    @property
    def key(self) -> bytes:
        """32 bytes that stand for all of it."""
        facts = (self.size, self.mtime_ns, self.inode, self.sample, self.form)
        return hashlib.sha256(self.path + b"\0" + repr(facts).encode()).digest()


class Origin(Protocol):
    """Where the bytes of a volume come from when they are not here."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes of the volume; raises the source's own errors, never OSError."""
        ...

    def is_same(self) -> bool:
        """Whether that is still the file of the identity; else nothing of it is kept."""
        ...

    def forget(self, offset: int, length: int) -> None:
        """These bytes are kept now: the kernel needs to keep them no longer."""
        ...


@dataclass(eq=False, slots=True)
class Volume:
    """A volume as one process has it open: ``size`` in bytes. ``about``: for people.

    ``apart``: each member begins at a block of its own (the files of a directory), and nothing
    behind it is read with it. ``expected``: bytes of all that is going to be read as this volume
    is, about; 0 for its own alone.
    """

    key: bytes
    size: int
    about: Mapping[str, Any]
    apart: bool = False
    expected: int = 0
    segments: dict[int, Segment] = field(default_factory=dict)
    tally: dict[int, list[int]] = field(default_factory=dict)
    """By segment: hits, misses and bytes saved that its file has not been told yet."""
