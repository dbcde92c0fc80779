"""What of a source does not add up, as far as it can be counted in a short while: an index file
tells at once, class directories and class tars as many as there is time for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imagenetfs.errors import ImagenetfsError
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from imagenetfs.tree.catalogue import Catalogue
    from imagenetfs.tree.dataset import Split

COUNT_SECONDS = 10.0
_MOST_NAMED = 3


@dataclass(slots=True)
class Counted:
    """``found``: what does not add up, a sentence a split, or what names tell of it where it was
    not counted; ``uncounted``: the splits that were not.
    """

    found: list[str] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)


def count(catalogue: Catalogue, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Counted:
    """Count the splits in their order, for so long."""
    from imagenetfs.tree.ledger import account, preview, title_of

    counted, deadline = Counted(), clock.monotonic() + seconds
    source = str(catalogue.source.path)
    for version in catalogue.versions:
        for split in version.splits:
            is_whole = _list_all(catalogue, split, deadline, clock)
            ledger = account(version, split) if is_whole else preview(version, split)
            sentence = ledger.sentence(source)
            new = [told for told in ledger.problems if not _is_told(told, catalogue.warnings)]
            counted.found += [*new[:_MOST_NAMED], *filter(None, [sentence])]
            if not is_whole:
                counted.uncounted.append(title_of(version, split))
    return counted


def _is_told(problem: str, warnings: Sequence[str]) -> bool:
    """Whether the mount says of the same archive that it is broken."""
    title, is_broken, _ = problem.partition(" is broken")
    return bool(is_broken) and any(warning.startswith(title) for warning in warnings)


def _list_all(catalogue: Catalogue, split: Split, deadline: float, clock: Clock) -> bool:
    """List all classes of a split, unless it takes too long."""
    from imagenetfs.index.records import is_complete
    from imagenetfs.tree.split_backend import FlatSplit

    backend, index = split.backend, catalogue.index
    if isinstance(backend, FlatSplit):
        # One table of all: it is there, or takes as long as it takes.
        missing = [number for number in backend.archives if not index.known(number)]
        if missing and not is_complete(index, missing):
            return False
    for number in range(len(backend.classes)):
        if clock.monotonic() >= deadline:
            return False
        try:
            backend.listing(number)
        except ImagenetfsError:  # its ledger tells
            continue
    return True
