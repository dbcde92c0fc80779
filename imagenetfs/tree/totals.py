"""How much a split shows: images and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from imagenetfs.tree.layout import Split


@dataclass(frozen=True, slots=True)
class Totals:
    """Classes, images, the bytes of all images, and what is not shown or broken, in sentences."""

    classes: int
    images: int
    bytes: int
    problems: tuple[str, ...]


def totals(split: Split) -> Totals:
    """Counted class by class, from the tables that the index makes."""
    images = size = 0
    for number in range(len(split.shelf.classes)):
        listing = split.shelf.listing(number)
        images += len(listing)
        size += sum(attributes.size for _, _, attributes in listing.entries(0))
    return Totals(len(split.shelf.classes), images, size, tuple(split.shelf.problems()))
