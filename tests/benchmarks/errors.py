"""What can go wrong in a benchmark, as one sentence for the person who started it."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A sentence.

    Raised for a peer it takes the peer out of the run; for imagenetfs it ends the run.
    """
