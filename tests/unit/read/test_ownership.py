"""Who may read what lies below several directories."""

from __future__ import annotations

import pytest

from imagenetfs.read.ownership import NOBODY, effective_ownership, parents
from imagenetfs.source.file_state import Ownership, SharedFileState

OPEN: Ownership = (0, 0, 0o755)
FILE: Ownership = (7, 70, 0o640)


@pytest.mark.parametrize(
    ("above", "own", "who"),
    [
        ([OPEN], FILE, FILE),
        ([], (7, 70, 0o604), (7, 70, 0o604)),  # the kernel knows what this means
        ([OPEN, (5, 80, 0o750)], (7, 70, 0o644), (0, 80, 0o040)),
        ([(5, 80, 0o750), OPEN], (7, 80, 0o640), (0, 80, 0o040)),
        ([(5, 80, 0o750)], FILE, NOBODY),
        ([(5, 80, 0o750), (5, 90, 0o750)], (7, 70, 0o644), NOBODY),
        ([(5, 80, 0o700)], (7, 70, 0o644), (5, 0, 0o400)),
        ([(5, 80, 0o700)], (6, 70, 0o600), NOBODY),
        ([(5, 80, 0o700)], (5, 70, 0o600), (5, 0, 0o400)),
        ([(5, 80, 0o705)], (7, 70, 0o644), NOBODY),  # a group that is kept out
        ([(5, 80, 0o600)], (7, 70, 0o644), NOBODY),
    ],
)
def test_both_must_be_passed(above: list[Ownership], own: Ownership, who: Ownership) -> None:
    assert effective_ownership(above, own) == who


def test_the_directories_above() -> None:
    assert list(parents(b"a/b/c.tar")) == [b"a", b"a/b"]
    assert list(parents(b"c.tar")) == list(parents(b"")) == []


def test_what_is_noted() -> None:
    known = SharedFileState()
    known.found_right(b"a", (1, 2, 3, 4))
    assert known.rights(b"a") is None
    for rights in ((0, 0, 0), (0xFFFFFFFE, 24100, 0o4755), (1000, 0xFFFFFFFF, 0o640)):
        known.note_rights(b"a", rights)
        assert known.rights(b"a") == rights
    assert known.rights(b"b") is None
    assert known.is_right(b"a", (1, 2, 3, 4))
    known.close()
