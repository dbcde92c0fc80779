"""What a miniature has: its classes, and how many images each split gets.

All numbers follow from the mean number of train images a class, in about the proportions of the
real data (1,281 train, 50 val and 100 test images a class; 171 in t3; half of them in tiny).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from imagenetfs import errors
from imagenetfs.sample import synsets

LEAST_IMAGES = 4  # room in one class for each odd image, and for an ordinary one


@dataclass(frozen=True, slots=True)
class Class:
    """One class: ``number`` is its ILSVRC2012_ID, which also decides its look."""

    wnid: str
    number: int


@dataclass(frozen=True)
class Plan:
    """The size of a miniature; raises errors.UsageError where that makes no sense."""

    classes: int
    images: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= synsets.LEAVES:
            raise errors.UsageError(
                f"A sample has 1 to {synsets.LEAVES:,} classes, not {self.classes:,}."
            )
        if self.images < LEAST_IMAGES:
            raise errors.UsageError(
                f"A sample has at least {LEAST_IMAGES} train images a class, not {self.images}."
            )
        if self.seed < 0:
            raise errors.UsageError("The seed is a number from 0.")

    @cached_property
    def chosen(self) -> tuple[Class, ...]:
        """The classes in the order of their ILSVRC2012_IDs, 1 to K."""
        wnids = synsets.imagenet_order()[: self.classes]
        return tuple(Class(wnid, place + 1) for place, wnid in enumerate(wnids))

    @property
    def tiny(self) -> tuple[Class, ...]:
        """The classes of tiny-imagenet-200: most, not all, and 200 at the most."""
        return self.chosen[: min(200, max(1, self.classes * 4 // 5))]

    @property
    def t3(self) -> tuple[Class, ...]:
        """The dogs; the first class where there is none."""
        dogs = tuple(each for each in self.chosen if synsets.is_dog(each.wnid))
        return dogs or self.chosen[:1]

    @property
    def val_a_class(self) -> int:
        """Val images a class: the same for all, as in the real data."""
        return max(2, self.images // 8)

    @property
    def test(self) -> int:
        """Test images in all."""
        return max(4, self.classes * self.images // 16)

    @property
    def patched(self) -> int:
        """Test images that the patch replaces."""
        return max(1, min(5, self.test // 10))

    @property
    def t3_a_class(self) -> int:
        """Mean number of images a class of the fine-grained task."""
        return max(2, self.images // 7)

    @property
    def winter_a_class(self) -> int:
        """Images a class that winter21_whole has and ILSVRC2012 has not."""
        return max(4, self.images // 4)

    @property
    def tiny_a_class(self) -> int:
        """Train images a class of tiny-imagenet-200, the same for all."""
        return max(2, self.images * 5 // 13)

    @property
    def tiny_val_a_class(self) -> int:
        """Val images a class of tiny-imagenet-200, the same for all."""
        return max(2, self.images // 10)
