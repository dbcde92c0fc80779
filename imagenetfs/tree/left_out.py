"""What of a split's source is not shown among its images, counted by the reason."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from imagenetfs.system.text import decoded

FIRST_NAMES = 3
"""How many names of each reason are kept."""


class Reason(StrEnum):
    """Why a file is not among the images. The values are the keys of ``info --json``."""

    DROPPING = "dropping"
    NOT_IMAGE = "not_an_image"
    SAME_NAME = "same_name"
    REFUSED = "refused"
    BELOW = "below_the_class"
    LINK = "link"
    UNREADABLE = "unreadable"
    NO_LABEL = "no_label"
    NO_CLASS = "no_class"
    PACKED = "packed"


QUIET = frozenset({Reason.DROPPING, Reason.NOT_IMAGE, Reason.NO_LABEL})
"""Counted, but not told with the ledger: no image is missing, or the split's backend says it."""

PHRASES = {
    Reason.DROPPING: "left by desktops or editors",
    Reason.NOT_IMAGE: "without an image, by name or content",
    Reason.SAME_NAME: "replaced by a later file of the same name",
    Reason.REFUSED: "in an archive that cannot be read out of it (its warnings say why)",
    Reason.BELOW: "below the class, with the name of an image at its level",
    Reason.LINK: "behind symbolic links that are not followed",
    Reason.UNREADABLE: "not readable",
    Reason.NO_LABEL: "without a label",
    Reason.NO_CLASS: "in no class that is shown",
    Reason.PACKED: "not read, for being archives (where classes or images are) or compressed",
}


class LeftOut:
    """Numbers of files by reason, and the first names of each."""

    def __init__(self) -> None:
        self.counts: dict[Reason, int] = {}
        self.first: dict[Reason, list[str]] = {}

    def add(self, reason: Reason, name: bytes, count: int = 1) -> None:
        """Count ``count`` files, of which ``name`` is one."""
        self._add(reason, count, (decoded(name),))

    def add_all(self, other: LeftOut) -> None:
        """Count what another one has."""
        for reason, count in other.counts.items():
            self._add(reason, count, other.first[reason])

    def _add(self, reason: Reason, count: int, names: Iterable[str]) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        first = self.first.setdefault(reason, [])
        first.extend(list(names)[: FIRST_NAMES - len(first)])

    def __bool__(self) -> bool:
        return bool(self.counts)

    @property
    def to_tell(self) -> list[Reason]:
        """The reasons that the ledger tells a user of, in the order of :class:`Reason`."""
        return [reason for reason in Reason if reason in self.counts and reason not in QUIET]

    def phrase(self, reason: Reason) -> str:
        """``13 files without a label (first: a.JPEG, b.JPEG)``."""
        count = self.counts[reason]
        noun = "file" if count == 1 else "files"
        return f"{count:,} {noun} {PHRASES[reason]} (first: {', '.join(self.first[reason])})"

    def as_json(self) -> dict[str, dict[str, object]]:
        """Reason -> its number and first names."""
        return {
            reason.value: {"files": self.counts[reason], "first": list(self.first[reason])}
            for reason in Reason
            if reason in self.counts
        }
