"""What a split shows in all, and what of it cannot be counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagenetfs.errors import (
    ArchiveError,
    ImagenetfsError,
    SourceUnreadableError,
)
from imagenetfs.tree.dataset import Split
from imagenetfs.tree.listing import Attributes, FixedListing, Listing
from imagenetfs.tree.totals import problems_of, totals


class Shelf:
    """A shelf of listings, or of errors in their place."""

    def __init__(self, *listings: Listing | ImagenetfsError, problems: Any = ()) -> None:
        self.classes = [b"n%08d" % number for number in range(len(listings))]
        self._listings, self._problems = listings, problems

    def listing(self, number: int) -> Listing:
        found = self._listings[number]
        if isinstance(found, ImagenetfsError):
            raise found
        return found

    def problems(self) -> Sequence[str]:
        if isinstance(self._problems, ImagenetfsError):
            raise self._problems
        return list(self._problems)


def listing(*sizes: int) -> Listing:
    names = [(b"%d" % number, number) for number in range(len(sizes))]
    return FixedListing(names, lambda number: Attributes(0o100444, sizes[number], 0, 1))


def split(*listings: Listing | ImagenetfsError, problems: Any = ()) -> Split:
    return Split(b"train", Shelf(*listings, problems=problems), "x")  # type: ignore[arg-type]


def test_images_and_bytes() -> None:
    found = totals(split(listing(1, 2, 3), listing(), listing(10)))
    assert (found.classes, found.images, found.bytes, found.problems) == (3, 4, 16, ())


def test_no_classes() -> None:
    assert totals(split()).images == 0


def test_what_cannot_be_read_is_left_out_and_told_once() -> None:
    broken = ArchiveError("cut", 512)
    found = totals(split(listing(5), broken, problems=[str(broken), "another"]))
    assert (found.classes, found.images, found.bytes) == (2, 1, 5)
    assert found.problems == ("cut (at byte 512)", "another")


def test_problems_that_cannot_be_asked_for() -> None:
    refused = SourceUnreadableError("you may not read it.")
    assert problems_of(split(problems=refused)) == ("you may not read it.",)
    assert totals(split(listing(1), problems=refused)).problems == ("you may not read it.",)
