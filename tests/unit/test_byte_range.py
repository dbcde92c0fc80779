"""A range of bytes: half open."""

from __future__ import annotations

from imagenetfs.byte_range import ByteRange, ByteRanges
from tests.helpers.randomness import seeded


def test_the_end_is_not_of_it() -> None:
    one = ByteRange.sized(7, 5)
    assert one == ByteRange(7, 12) == (7, 12)
    assert one.length == 5 == len(range(*one))


def test_an_empty_range_has_a_place() -> None:
    assert ByteRange.sized(7, 0) == (7, 7)
    assert ByteRange(7, 7).length == 0


def test_gaps_of_nothing() -> None:
    assert ByteRanges().gaps(ByteRange(3, 9)) == [(3, 9)]
    assert ByteRanges().gaps(ByteRange(3, 3)) == []


def test_ranges_that_touch_are_one() -> None:
    there = ByteRanges()
    for start, end in ((10, 20), (30, 40), (20, 25)):
        there.add(ByteRange(start, end))
    assert there.gaps(ByteRange(0, 50)) == [(0, 10), (25, 30), (40, 50)]
    assert there.gaps(ByteRange(12, 25)) == []
    assert there.gaps(ByteRange(24, 31)) == [(25, 30)]
    there.add(ByteRange(5, 45))
    assert there.gaps(ByteRange(0, 50)) == [(0, 5), (45, 50)]


def test_against_a_set_of_bytes() -> None:
    draw = seeded("byte ranges")
    for _ in range(50):
        there, model = ByteRanges(), set[int]()
        for _ in range(12):
            start = draw.randrange(60)
            one = ByteRange.sized(start, draw.randrange(1, 12))
            missing = {at for gap in there.gaps(one) for at in range(*gap)}
            assert missing == set(range(*one)) - model
            there.add(one)
            model |= set(range(*one))
