"""What the source does wrong, and when: switchable at run time, and the same for the same seed.

Whether a request meets a fault is a function of the seed and of the request (what, where,
how often asked before), never of the order in which requests happen to arrive, so
concurrent runs repeat as well.
"""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

OPERATIONS = ("lookup", "getattr", "open", "read", "opendir", "readdir", "readlink", "getxattr")
"""The requests that are counted, that take their time, and that may meet a fault."""

PARTIAL = ("short", "empty")
SPECIAL = (*PARTIAL, "hang", "swap")


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    ``kind``: an errno's name, or ``short`` (some of the bytes), ``empty`` (none; neither for whole
    pages, which the kernel itself reads for splice(2)), ``hang`` (until released), ``swap`` (the
    file and ``partner`` exchange their names, then the request goes on). ``paths`` is a glob over
    paths below the source; ``rate`` the share of requests that meet it; ``count`` how many at most.
    """

    kind: str
    operations: Sequence[str] = ("read",)
    paths: str = "*"
    rate: float = 1.0
    count: int | None = None
    partner: str = ""
    met: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SPECIAL and not hasattr(errno, self.kind):
            raise ValueError(f"no fault is called {self.kind}")
        unknown = set(self.operations) - set(OPERATIONS)
        if unknown:
            raise ValueError(f"no such operations: {', '.join(sorted(unknown))}")

    def concerns(self, operation: str, path: str) -> bool:
        """Whether a request might meet it."""
        return (
            operation in self.operations
            and (self.count is None or self.met < self.count)
            and fnmatchcase(path, self.paths)
        )


@dataclass(slots=True)
class Behaviour:
    """How the source behaves now. Times in seconds, ``bandwidth`` in bytes a second
    for all readers together.

    ``attributes``: how long the kernel may keep attributes; an answer to a read tells it of newer
    ones, as NFS has it. ``pages``: what is read goes through the page cache, so that who waits for
    it can be killed at once, as on NFS; who waits for anything else always can. ``groups``: how
    many supplementary groups of a caller count, None for all. ``squash_root``: root has the rights
    of everybody. A latency or bandwidth of 0 is none.
    """

    latency: float = 0.0
    bandwidth: float = 0.0
    attributes: float = 3.0
    pages: bool = False
    groups: int | None = 16
    squash_root: bool = False
    seed: int = 0
    faults: list[Fault] = field(default_factory=list)
    _asked: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def fault(
        self, operation: str, path: str, offset: int = 0, *, complete: bool = False
    ) -> Fault | None:
        """The first fault that this request meets, if any; none of too few bytes if
        it must be ``complete``.
        """
        if not self.faults:
            return None
        self._asked[operation, path, offset] += 1
        attempt = self._asked[operation, path, offset]
        for number, fault in enumerate(self.faults):
            if not fault.concerns(operation, path) or (complete and fault.kind in PARTIAL):
                continue
            if self.chance(number, operation, path, offset, attempt) < fault.rate:
                fault.met += 1
                return fault
        return None

    def chance(self, *request: object) -> float:
        """A number of [0, 1) that belongs to the seed and the request."""
        text = repr((self.seed, *request)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / (1 << 56)
