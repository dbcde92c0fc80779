"""What the processes of a mount know of the source's files: which one was found right, which has
changed, and which may not be read any more, and by whom each may be.

A table in memory that forked processes share: open addressing over the path's digest, six words a
slot. Reading takes no lock. Writing is rare (once for each archive of a mount, and when something
about one is new) and locked, so that just one process is the first to say so.
"""

from __future__ import annotations

import hashlib
import mmap

from imagenetfs.system.locks import SharedLock

FileIdentity = tuple[int, int, int, int]
"""inode, size in bytes, mtime and ctime in ns: while these are the same, so is the file."""

Ownership = tuple[int, int, int]
"""Owner, group, permission bits."""

_FIRST_SLOTS = 1 << 16
_LEVELS = 5
_SLOTS = _FIRST_SLOTS * ((1 << _LEVELS) - 1)
"""2,031,616 in all: more than an inode has numbers for archives. A level is used when those before
it are
full where a path would stand, and is twice as large; memory is taken where it is written to."""
_PROBES = 64
_WORD = 8
_PATH, _VERDICT, _REFUSED, _OWNER, _MODE, _CTIME = range(6)
_WORDS = 6
_NOTED = 1 << 63
_CHANGED = 1
_CHANGED_COUNT, _REFUSED_COUNT, _REFUSAL_CHANGES, _RIGHTS_CHANGES = range(
    _WORDS * _SLOTS, _WORDS * _SLOTS + 4
)
"""The words behind the slots: how many files have changed, how many may not be read now, and how
often the latter, and what is noted of rights, has become another."""


def _digest(value: object) -> int:
    """64 bits that stand for a value; never 0 or 1, which mean something else here."""
    data = value if isinstance(value, bytes) else repr(value).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=_WORD).digest(), "little") | 2


class SharedFileState:
    """Make it before forking."""

    def __init__(self) -> None:
        self._lock = SharedLock("imagenetfs-known")
        # Memory is taken when it is written to: a page for each archive at most.
        self._map = mmap.mmap(-1, (_WORDS * _SLOTS + 4) * _WORD)
        self._words = memoryview(self._map).cast("Q")
        self.changes = self._words[_CHANGED_COUNT:_REFUSED_COUNT]
        """One word: how many files have changed. To be read before anything is asked here."""
        self.refusals = self._words[_REFUSED_COUNT:_REFUSAL_CHANGES]
        """One word: how many may not be read now."""

    def close(self) -> None:
        """Give the memory back; once is enough."""
        if self._map.closed:
            return
        for words in (self.changes, self.refusals, self._words):
            words.release()
        self._map.close()
        self._lock.close()

    # --- whether it is the right file
    # ---------------------------------------------------------------

    def is_right(self, path: bytes, identity: FileIdentity) -> bool:
        """Whether this very file has been found to be the one that it should be."""
        slot = self._slot(_digest(path))
        return slot is not None and self._words[slot + _VERDICT] == _digest(identity)

    def has_changed(self, path: bytes) -> bool:
        """Whether a process has found that another file stands there."""
        if not self.changes[0]:
            return False
        slot = self._slot(_digest(path))
        return slot is not None and self._words[slot + _VERDICT] == _CHANGED

    def found_right(self, path: bytes, identity: FileIdentity) -> None:
        """This file is the right one; a process that opens the same one need not compare it."""
        with self._lock.held():
            slot = self._claim(_digest(path))
            if slot is not None and self._words[slot + _VERDICT] != _CHANGED:
                self._words[slot + _VERDICT] = _digest(identity)

    def found_changed(self, path: bytes) -> bool:
        """Another file stands there, for the rest of the mount. True for the first who says so."""
        return self._put(path, _VERDICT, _CHANGED, _CHANGED_COUNT)

    # --- whether it may be read
    # ---------------------------------------------------------------------

    @property
    def some_refused(self) -> bool:
        """Whether any file may not be read now."""
        return self.refusals[0] != 0

    def is_refused(self, path: bytes) -> bool:
        """Whether this one may not be read now, though it was read before."""
        if not self.refusals[0]:
            return False
        slot = self._slot(_digest(path))
        return slot is not None and self._words[slot + _REFUSED] == 1

    def refuse(self, path: bytes) -> bool:
        """It may not be read from now on. True where that is new."""
        return self._put(path, _REFUSED, 1, _REFUSED_COUNT)

    def permit(self, path: bytes) -> bool:
        """It may be read again. True where that is new."""
        return self.is_refused(path) and self._put(path, _REFUSED, 0, _REFUSED_COUNT)

    @property
    def refusal_changes(self) -> int:
        """A number that is another one whenever a file is refused, or may be read again."""
        return self._words[_REFUSAL_CHANGES]

    def note_permitted(self, path: bytes, ctime_ns: int) -> None:
        """The server let us read the file, and a change of its rights changes its ctime."""
        with self._lock.held():
            slot = self._claim(_digest(path))
            if slot is not None:
                self._words[slot + _CTIME] = _digest(ctime_ns)

    def is_permitted(self, path: bytes, ctime_ns: int) -> bool:
        """Whether it did so when this was its ctime, and has not refused it since."""
        slot = self._slot(_digest(path))
        if slot is None or self._words[slot + _REFUSED]:
            return False
        return self._words[slot + _CTIME] == _digest(ctime_ns)

    # --- who may read it
    # ----------------------------------------------------------------------------

    def note_rights(self, path: bytes, rights: Ownership) -> None:
        """The file's owner, group and permission bits are these now."""
        uid, gid, bits = rights
        with self._lock.held():
            slot = self._claim(_digest(path))
            if slot is None:
                return
            mode, owner = _NOTED | bits, uid << 32 | gid
            if (self._words[slot + _MODE], self._words[slot + _OWNER]) != (mode, owner):
                self._words[slot + _MODE] = 0
                self._words[slot + _OWNER] = owner
                self._words[slot + _MODE] = mode
                self._words[_RIGHTS_CHANGES] += 1

    @property
    def rights_changes(self) -> int:
        """A number that is another one whenever other rights are noted than before."""
        return self._words[_RIGHTS_CHANGES]

    def rights(self, path: bytes) -> Ownership | None:
        """What was noted last; None where that is nothing, or is being written."""
        slot = self._slot(_digest(path))
        if slot is None:
            return None
        mode, owner = self._words[slot + _MODE], self._words[slot + _OWNER]
        if not mode or mode != self._words[slot + _MODE]:
            return None
        return owner >> 32, owner & 0xFFFFFFFF, mode & 0o7777

    # --- slots ------------------------------------------------------------------------------------

    def _put(self, path: bytes, which: int, value: int, count: int) -> bool:
        """Set a word of 0 or 1 and count those that are 1; True where it was another."""
        with self._lock.held():
            slot = self._claim(_digest(path))
            if slot is None:
                return True
            is_new = self._words[slot + which] != value
            self._words[_REFUSAL_CHANGES] += is_new and which == _REFUSED
            self._words[slot + which] = value
            self._words[count] += is_new if value else -is_new
            return is_new

    def _slot(self, digest: int, *, free: bool = False) -> int | None:
        """The slot of a path; with ``free`` else an empty one; None where there is none."""
        at, first, slots = digest >> 2, 0, _FIRST_SLOTS
        for _ in range(_LEVELS):
            for step in range(_PROBES):
                slot = _WORDS * (first + (at + step) % slots)
                if self._words[slot] == digest:
                    return slot
                if not self._words[slot]:  # it would stand here: none is ever taken out
                    return slot if free else None
            first, slots = first + slots, 2 * slots
        return None

    def _claim(self, digest: int) -> int | None:
        slot = self._slot(digest, free=True)
        if slot is not None:
            self._words[slot] = digest
        return slot
