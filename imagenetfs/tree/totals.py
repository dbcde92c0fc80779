"""How much a split shows: images and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagenetfs.errors import ImagenetfsError
from imagenetfs.tree.dataset import Split


@dataclass(frozen=True, slots=True)
class Totals:
    """Classes, images, the bytes of all images, and what is not shown or broken, in sentences."""

    classes: int
    images: int
    bytes: int
    problems: tuple[str, ...]


def totals(split: Split) -> Totals:
    """Counted class by class, from the tables that the index makes; what cannot be
    read is left out and told.
    """
    images = size = 0
    unread: list[str] = []
    for number in range(len(split.backend.classes)):
        try:
            listing = split.backend.listing(number)
        except ImagenetfsError as error:
            unread.append(str(error))
            continue
        images += len(listing)
        size += sum(attributes.size for _, _, attributes in listing.entries(0))
    problems = dict.fromkeys((*unread, *problems_of(split)))
    return Totals(len(split.backend.classes), images, size, tuple(problems))


def problems_of(split: Split) -> Sequence[str]:
    """What of a split is broken, not shown, or cannot be read. Indexes all of it, to know."""
    try:
        return split.backend.problems()
    except ImagenetfsError as error:
        return (str(error),)
