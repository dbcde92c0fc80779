"""Random schedules that can be repeated: one seed for the run, said where a test fails.

IMAGENETFS_TEST_SEED sets it; without it each run draws another one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

VARIABLE = "IMAGENETFS_TEST_SEED"


def _drawn() -> int:
    """The run's seed, also that of the programs it starts."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(random.SystemRandom().randrange(1 << 32))
    return int(os.environ[VARIABLE])


SEED = _drawn()


def seeded(*parts: object) -> random.Random:
    """A generator for one schedule of the run; ``parts`` tell it from others.

    It prints its seed, which pytest shows with a failure.
    """
    print(f"random schedule {parts}: {VARIABLE}={SEED}", flush=True)
    return random.Random(repr((SEED, *parts)))


PLACES = "IMAGENETFS_TEST_PLACES"
"""How many places of a file are damaged, by :func:`places`: `make prove` takes all of them."""


def places(all_of_them: Sequence[int], fewer: int = 200) -> list[int]:
    """Where to damage a file: so many places as the long form asks for, else some drawn anew."""
    most = int(os.environ.get(PLACES, fewer))
    if most >= len(all_of_them):
        return list(all_of_them)
    return sorted(seeded("places", len(all_of_them)).sample(list(all_of_them), most))
