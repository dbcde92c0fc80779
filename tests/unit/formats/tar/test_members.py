"""Members as columns: what joins two scans, and how a problem is told."""

from __future__ import annotations

import pytest

from imagenetfs.formats.tar.members import MemberColumns, Problem


def columns(*names: bytes) -> MemberColumns:
    """Members whose numbers all differ, with a link, a hard link and a hole where they fit."""
    found = MemberColumns()
    for at, name in enumerate(names):
        found.names.append(name)
        found.headers.append(at * 10 + 1)
        found.offsets.append(at * 10 + 2)
        found.sizes.append(at * 10 + 3)
        found.mtimes.append(at * 10 + 4)
        found.modes.append(at * 10 + 5)
        found.links[at] = b"to " + name
        found.hardlinks[at] = b"as " + name
        found.sparse[at] = ((at, 1),)
    return found


def test_a_part_of_another_scan_is_appended_with_what_hangs_on_its_positions() -> None:
    one, other = columns(b"a", b"b"), columns(b"p", b"q", b"r", b"s")
    one.extend(other, 1, 3)
    assert len(one) == 4
    assert one.names == [b"a", b"b", b"q", b"r"]
    assert one.headers == [1, 11, 11, 21]
    assert (one.offsets[2:], one.sizes[2:]) == ([12, 22], [13, 23])
    assert (one.mtimes[2:], one.modes[2:]) == ([14, 24], [15, 25])
    assert one.links == {0: b"to a", 1: b"to b", 2: b"to q", 3: b"to r"}
    assert one.hardlinks == {0: b"as a", 1: b"as b", 2: b"as q", 3: b"as r"}
    assert one.sparse == {0: ((0, 1),), 1: ((1, 1),), 2: ((1, 1),), 3: ((2, 1),)}


def test_an_empty_part_changes_nothing() -> None:
    one = columns(b"a")
    one.extend(columns(b"p", b"q"), 1, 1)
    assert (one.names, one.links) == ([b"a"], {0: b"to a"})


def test_columns_of_two_scans_share_nothing() -> None:
    assert MemberColumns().names is not MemberColumns().names


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (0, "odd record (at byte 1,536)"),
        (2048, "odd record (at byte 1,536, 2,048 bytes left out)"),
    ],
)
def test_a_problem_says_where_and_how_much(length: int, told: str) -> None:
    assert str(Problem(1536, length, "odd record")) == told
