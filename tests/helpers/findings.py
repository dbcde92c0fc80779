"""Lines of the doctor, as tests look at them."""

from __future__ import annotations

from collections.abc import Iterable

from imagenetfs.job.doctor.findings import Finding


def about(lines: Iterable[Finding], what: str) -> Finding:
    """The worst line about a thing."""
    return max((line for line in lines if line.about == what), key=lambda line: line.grade)
