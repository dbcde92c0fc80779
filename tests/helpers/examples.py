"""How many examples hypothesis makes: a quarter in `make test`, many times the number in
`make prove`.
"""

from __future__ import annotations

import os

from hypothesis import settings

VARIABLE = "IMAGENETFS_TEST_EXAMPLES"
"""How many times the number that a test names; without it a quarter of it."""

_PART = 0.25


def examples(number: int = 100) -> settings:
    """A decorator for a test of properties; no example has a deadline."""
    times = float(os.environ.get(VARIABLE, _PART))
    return settings(max_examples=max(1, round(number * times)), deadline=None)
