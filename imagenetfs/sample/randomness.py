"""Random numbers that depend on the seed and on a name, never on what was drawn before.

So a picture, a size or an order can be made again on its own, and a change in one part of the
sample leaves the others as they were.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def generator(seed: int, *names: object) -> np.random.Generator:
    """A generator for this seed and these names (compared by their str())."""
    text = "\0".join(str(name) for name in names)
    return np.random.default_rng([seed, zlib.crc32(text.encode())])


def shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    """The items in another order; never the given one where there are two or more."""
    order = rng.permutation(len(items))
    if len(items) > 1 and bool((np.diff(order) > 0).all()):
        order = np.roll(order, 1)
    return [items[place] for place in order]


def spread_counts(mean: int, parts: int, rng: np.random.Generator) -> list[int]:
    """``parts`` different-looking counts around ``mean``, within about a third of it, each at
    least 1, that add up to exactly ``mean * parts``."""
    counts = [max(1, round(mean * factor)) for factor in rng.uniform(0.65, 1.35, parts)]
    surplus = sum(counts) - mean * parts
    step = 1 if surplus > 0 else -1
    place = 0
    while surplus:
        if counts[place % parts] > 1 or step < 0:
            counts[place % parts] -= step
            surplus -= step
        place += 1
    return counts


def image_numbers(count: int, rng: np.random.Generator, limit: int = 30_000) -> list[int]:
    """``count`` distinct numbers from 1, as they stand in image names: most have four or five
    digits, and the order is that of the draw, not sorted."""
    limit = max(limit, 4 * count)
    numbers = rng.choice(limit, size=count, replace=False) + 1
    return [int(number) for number in numbers]
