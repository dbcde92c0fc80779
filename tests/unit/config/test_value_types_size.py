"""Amounts of a disk: bytes, parts of a whole, and both."""

from __future__ import annotations

import re

import pytest

from imagenetfs.config.value_types import Size, parse_size


def test_sizes() -> None:
    for text, whole, expected in (
        ("200G", 10**15, 200 * 10**9),
        ("1.5TiB", 10**15, 3 * 2**39),
        ("500m", 10**15, 5 * 10**8),
        ("4096", 10**15, 4096),
        ("50%", 1000, 500),
        ("0.5%", 1000, 5),
        ("1 GB", 10**15, 10**9),
    ):
        assert parse_size(text).of(whole) == expected
    for wrong in ("", "G", "-1", "101%", "5X", "1e9", "%"):
        with pytest.raises(ValueError):
            parse_size(wrong)


@pytest.mark.parametrize(
    "text", ["101%", "100.1%", "1.2.3G", "G5", "5 G B", "0x10", "1,000", "5GiBs"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_size(text)


def test_the_edges_of_a_part() -> None:
    assert parse_size("0%").of(1000) == 0
    assert parse_size("100%").of(1000) == 1000
    assert parse_size(" 7 ").of(1000) == 7
    assert parse_size("2 tib").of(1 << 60) == 2 << 40


def test_the_least_of_two_bounds() -> None:
    both = Size(count=100, part=0.5)
    assert (both.of(1000), both.of(100)) == (100, 50)
    assert Size().of(77) == 77


def test_under_a_ceiling() -> None:
    assert Size(count=5).under(Size(count=3)) == Size(count=3)
    assert Size(count=3).under(Size(count=5)) == Size(count=3)
    assert Size(part=0.5).under(Size(count=3)) == Size(count=3, part=0.5)
    assert Size(count=3, part=0.2).under(Size(part=0.1)) == Size(count=3, part=0.1)
    assert Size().under(Size()) == Size()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (Size(), ""),
        (Size(count=0), "0"),
        (Size(count=999), "999"),
        (Size(count=1500), "1500"),
        (Size(count=2 * 10**12), "2T"),
        (Size(count=3 << 30), "3Gi"),
        (Size(part=0.05), "5%"),
        (Size(part=0.005), "0.5%"),
        (Size(count=10**9, part=0.5), "50% at most 1G"),
    ],
)
def test_as_text(size: Size, text: str) -> None:
    assert str(size) == text
    if text and "most" not in text:
        assert parse_size(text) == size
