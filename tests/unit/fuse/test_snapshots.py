"""One worker's texts in a ring: each is whole, or has given way to newer ones."""

from __future__ import annotations

import random

import pytest

from imagenetfs.errors import SourceChangedError
from imagenetfs.fuse.snapshots import AREA, MOST_BYTES, SnapshotBuffer

PLACES = 512
"""Texts that are kept at most, however short."""

RING = 8 * MOST_BYTES


@pytest.fixture
def ring() -> SnapshotBuffer:
    return SnapshotBuffer(memoryview(bytearray(AREA)))


def is_gone(ring: SnapshotBuffer, number: int) -> bool:
    try:
        ring.text(number)
    except SourceChangedError as error:
        assert "open it again" in str(error)
        return True
    return False


def test_nothing_is_kept_at_first(ring: SnapshotBuffer) -> None:
    assert is_gone(ring, 1)
    assert is_gone(ring, PLACES + 1)


@pytest.mark.parametrize("text", [b"", b"x", bytes(range(256)) * 100])
def test_a_text_comes_back(ring: SnapshotBuffer, text: bytes) -> None:
    ring.keep(1, text)
    assert ring.text(1) == text
    assert ring.text(1) == text


def test_a_text_that_is_too_long_is_cut_off(ring: SnapshotBuffer) -> None:
    ring.keep(1, b"a" * MOST_BYTES + b"b")
    assert ring.text(1) == b"a" * MOST_BYTES


def test_as_many_short_ones_are_kept_as_there_are_places(ring: SnapshotBuffer) -> None:
    for number in range(1, PLACES + 1):
        ring.keep(number, b"%d" % number)
    assert all(ring.text(number) == b"%d" % number for number in range(1, PLACES + 1))
    ring.keep(PLACES + 1, b"one more")
    assert is_gone(ring, 1)
    assert ring.text(2) == b"2"
    assert ring.text(PLACES + 1) == b"one more"


def test_as_many_long_ones_are_kept_as_fit(ring: SnapshotBuffer) -> None:
    for number in range(1, 9):
        ring.keep(number, bytes([number]) * MOST_BYTES)
    assert all(ring.text(n) == bytes([n]) * MOST_BYTES for n in range(1, 9))
    ring.keep(9, b"!")
    assert is_gone(ring, 1)
    assert ring.text(2) == bytes([2]) * MOST_BYTES


def test_a_text_stands_in_one_piece(ring: SnapshotBuffer) -> None:
    """Where it would go past the end of the ring, it begins again at the front."""
    for number in range(1, 9):
        ring.keep(number, bytes([number]) * (MOST_BYTES - 10))
    ring.keep(9, b"nine" * 1000)
    assert ring.text(9) == b"nine" * 1000
    assert ring.text(8) == bytes([8]) * (MOST_BYTES - 10)
    assert is_gone(ring, 1)


@pytest.mark.slow
def test_the_newest_are_whole_whatever_their_lengths(ring: SnapshotBuffer) -> None:
    chosen, kept = random.Random(4), list[bytes]()
    for number in range(1, 2000):
        text = bytes([number % 251]) * chosen.choice((0, 1, 100, 5_000, 100_000, MOST_BYTES))
        ring.keep(number, text)
        kept.append(text)
        for back in (1, 2, 7, 40, 400, 511):
            if back <= len(kept):
                older = number - back + 1
                fits = sum(map(len, kept[-back:])) <= RING - MOST_BYTES
                if fits or not is_gone(ring, older):
                    assert ring.text(older) == kept[-back]


def test_a_reader_sees_that_a_text_goes_while_it_is_read(ring: SnapshotBuffer) -> None:
    """The writer says first that it will write there: what was read meanwhile is not believed."""
    ring.keep(1, b"old" * 1000)
    ring._words[0] = RING
    assert ring.text(1) == b"old" * 1000
    ring._words[0] = RING + 1  # as the writer does first of all
    assert is_gone(ring, 1)


def test_rings_of_two_workers_do_not_meet() -> None:
    memory = memoryview(bytearray(2 * AREA))
    first, second = SnapshotBuffer(memory[:AREA]), SnapshotBuffer(memory[AREA:])
    for number in range(1, 30):
        first.keep(number, b"a" * MOST_BYTES)
        second.keep(number, b"b" * MOST_BYTES)
        assert first.text(number) == b"a" * MOST_BYTES
        assert second.text(number) == b"b" * MOST_BYTES
