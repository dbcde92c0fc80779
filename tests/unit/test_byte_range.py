"""A range of bytes: half open."""

from __future__ import annotations

from imagenetfs.byte_range import ByteRange


def test_the_end_is_not_of_it() -> None:
    one = ByteRange.sized(7, 5)
    assert one == ByteRange(7, 12) == (7, 12)
    assert one.length == 5 == len(range(*one))


def test_an_empty_range_has_a_place() -> None:
    assert ByteRange.sized(7, 0) == (7, 7)
    assert ByteRange(7, 7).length == 0
