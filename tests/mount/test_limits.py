"""Mounts under limits of the process (ulimit): what works all the same, and what is said where it
cannot.
"""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.helpers.bench import Bench

pytestmark = pytest.mark.timeout(180)


def run_limited(at: Bench, sample: Path, kind: int, most: int, *words: str) -> tuple[int, str, str]:
    """A run with a hard limit: its exit code, what its command printed, and what it said."""
    front = at.start(
        "run",
        "--index-dir",
        "none",
        sample,
        "--",
        *words,
        preexec_fn=lambda: resource.setrlimit(kind, (most, most)),
    )
    out, err = front.communicate(timeout=90)
    return front.returncode, out, err


@pytest.mark.parametrize(
    ("kind", "most"), [(resource.RLIMIT_AS, 3_000_000_000), (resource.RLIMIT_CPU, 50)]
)
def test_labels_are_there_under_a_limit(at: Bench, sample: Path, kind: int, most: int) -> None:
    script = "ls {mnt}/ILSVRC2012/val {mnt}/Imagenet8/train"
    code, out, err = run_limited(at, sample, kind, most, "sh", "-c", script)
    assert (code, err) == (0, "")
    assert "n02066245" in out
    assert "unlabeled" not in out
    assert at.leftovers() == []
