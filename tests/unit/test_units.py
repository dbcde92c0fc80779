"""Numbers with their units, as people read them."""

from __future__ import annotations

import pytest

from imagenetfs import units
from imagenetfs.config.value_types import parse_size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (148e9, "148.0 GB"), (5e15, "5000.0 TB")],
)
def test_bytes(count: float, text: str) -> None:
    assert units.in_bytes(count) == text


@pytest.mark.parametrize("text", ["3 GB", "1,500 GB", "3 GiB", "2 TiB", "500 MB", "1 kB"])
def test_a_limit_is_shown_in_the_unit_in_which_it_was_given(text: str) -> None:
    assert units.as_given(parse_size(text.replace(",", "")).of(1 << 60)) == text


def test_a_limit_that_nobody_gave() -> None:
    assert [units.as_given(count) for count in (0, 999, 12_345_678, 75_379_188 << 10)] == [
        "0 B",
        "999 B",
        "12.3 MB",
        "77.2 GB",  # half of a disk
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3725, "1 h 02 min"), (90000, "1 d 01 h")],
)
def test_times(seconds: float, text: str) -> None:
    assert units.in_time(seconds) == text
