"""What the tests of trees share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagenetfs.tree.selection import ArchiveSelector
from tests.helpers.archives import close


@pytest.fixture
def finders() -> Iterator[list[ArchiveSelector]]:
    """A list of what selects archives: the indexes of those in it are closed at the end."""
    made: list[ArchiveSelector] = []
    yield made
    for one in made:
        close(one.index)
