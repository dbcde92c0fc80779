"""What a scan finds in a tar: its members as parallel columns, and what is out of form in it."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """Something in an archive that is out of form; the walk went on behind it.

    ``length`` bytes from ``offset`` on were passed over: what stands there is in no member. 0 where
    only something that is not needed was wrong.
    """

    offset: int
    length: int
    reason: str

    def __str__(self) -> str:
        left_out = f", {self.length:,} bytes left out" if self.length else ""
        return f"{self.reason} (at byte {self.offset:,}{left_out})"


class MemberColumns:
    """The members of an archive as parallel lists, one entry a member, in archive order.

    Names are the archive's own bytes, long names and pax paths applied, up to the first NUL. A
    pax mtime is kept to the nanosecond; all are held within 64 bits. ``sizes`` and ``offsets``
    speak of file content: a link or a directory has size 0.
    """

    __slots__ = (
        "hardlinks",
        "headers",
        "links",
        "modes",
        "mtimes",
        "names",
        "offsets",
        "problems",
        "sizes",
        "sparse",
    )

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.headers: list[int] = []  # offset of the member's first header, an extended one if any
        self.offsets: list[int] = []  # offset of its data
        self.sizes: list[int] = []  # bytes as a reader sees them
        self.mtimes: list[int] = []  # nanoseconds since the epoch
        self.modes: list[int] = []  # st_mode; a hard link is S_IFREG
        self.links: dict[int, bytes] = {}  # position -> target of the symbolic link
        self.hardlinks: dict[int, bytes] = {}  # position -> name of the member linked to
        # position -> (logical offset, length) of each run of data, stored back to back
        self.sparse: dict[int, tuple[tuple[int, int], ...]] = {}
        self.problems: list[Problem] = []  # in archive order

    def __len__(self) -> int:
        return len(self.names)

    def extend(self, other: MemberColumns, first: int, last: int) -> None:
        """Append the other's members from position ``first`` up to, not including, ``last``."""
        shift = len(self) - first
        for column in ("headers", "offsets", "sizes", "mtimes", "modes", "names"):
            getattr(self, column).extend(getattr(other, column)[first:last])
        for column in ("links", "hardlinks", "sparse"):
            entries = getattr(other, column).items()
            getattr(self, column).update((i + shift, e) for i, e in entries if first <= i < last)
