"""How much a split shows: images and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from imagenetfs.tree.layout import Split


@dataclass(frozen=True, slots=True)
class Totals:
    """Classes, images in them, the bytes of those, and images in no class: nobody knows their labels."""

    classes: int
    images: int
    bytes: int
    without_class: int


def totals(split: Split) -> Totals:
    """Counted class by class, from the tables that the index makes."""
    images = size = 0
    for number in range(len(split.shelf.classes)):
        listing = split.shelf.listing(number)
        images += len(listing)
        size += sum(attributes.size for _, _, attributes in listing.entries(0))
    return Totals(len(split.shelf.classes), images, size, split.shelf.without_class())
