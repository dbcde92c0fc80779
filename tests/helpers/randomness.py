"""Random schedules that can be repeated: one seed for the run, said where a test fails.

IMAGENETFS_TEST_SEED sets it; without it each run draws another one.
"""

from __future__ import annotations

import os
import random

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
