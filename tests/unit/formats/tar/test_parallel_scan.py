"""Parallel hopping: the same members and the same errors as scan, whatever the images hold and
whichever thread is ahead; and no thread left."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.concurrency import FixedConcurrency
from imagenetfs.formats.tar.parallel_scan import scan_in_ranges
from imagenetfs.formats.tar.speculation import ScanRange, SplitPolicy
from imagenetfs.formats.tar.walk import (
    Hint,
    MemberColumns,
    ReadAt,
    Walk,
    check_length,
    scan,
)
from tests.faults.fuzz_tar import mutated, resealed, specimens
from tests.helpers.examples import examples
from tests.helpers.randomness import seeded
from tests.helpers.tars import END, header, member, pax

Outcome = tuple[dict[str, Any], int | None, str | None]


def outcome_of(walk: Callable[[MemberColumns], int]) -> Outcome:
    columns, end, error = MemberColumns(), None, None
    try:
        end = walk(columns)
    except ArchiveError as caught:
        error = str(caught)
    return {column: getattr(columns, column) for column in columns.__slots__}, end, error


def one_by_one(archive: bytes, end: int | None = None) -> Outcome:
    end = len(archive) if end is None else end
    return outcome_of(lambda into: scan(reader(archive), 0, end, into))


class EveryStretch(SplitPolicy):
    """Cuts at the multiples of a number of bytes, all of them in the end."""

    def __init__(self, stretch: int) -> None:
        super().__init__(0)
        self.least = max(512, stretch & -512)

    def middle(self, at: int, stop: int) -> int:
        return (at // self.least + 1) * self.least

    def learn(self, scan_range: ScanRange) -> None:
        pass


def no_hint(offset: int, length: int) -> None:
    """Announcing a read changes nothing in memory; but who gives hints walks in one thread."""


def in_ranges(
    archive: bytes,
    ranges: int,
    *,
    in_flight: int = 5,
    read_at: ReadAt | None = None,
    hint: Hint | None = None,
) -> Outcome:
    """What scan_in_ranges finds with the archive cut into about ``ranges`` stretches."""
    end = len(archive)

    def walk(into: MemberColumns) -> int:
        check_length(0, end)
        walk = Walk(read_at or reader(archive), end, into, hint)
        return scan_in_ranges(walk, 0, EveryStretch(end // ranges), FixedConcurrency(in_flight))

    return outcome_of(walk)


def reader(archive: bytes, slow: str = "nobody") -> ReadAt:
    """A read_at in which the confirmed, the ranges, or both at random are
    slow: so each may be ahead.
    """
    chance = random.Random(len(archive))  # it decides about pauses alone
    main = threading.current_thread()

    def read_at(offset: int, length: int) -> bytes:
        is_confirmed = threading.current_thread() is main
        if slow == ("confirmed" if is_confirmed else "ranges") or (
            slow == "both" and chance.random() < 0.3
        ):
            time.sleep(0.0003)
        return archive[offset : offset + length]

    return read_at


# --- archives that are traps for a speculative range
# ----------------------------------------------------------

# What an image may hold: a header that leads anywhere, one that leads out onto a true header, an
# extended one, a global one, a whole tar with its end marker.
BLOCKS = st.one_of(
    st.just(b"\xff" * 512),
    st.just(b"\0" * 512),
    st.integers(0, 5000).map(lambda size: header(b"false", size)),
    st.integers(0, 2**40).map(lambda size: header(b"far", size)),
    st.sampled_from(list(b"xgLKSV125")).map(lambda kind: header(b"false", 512, bytes([kind]))),
    st.just(pax((b"mtime", b"1"), kind=b"g") + member(b"under a false global")),
    st.just(pax((b"path", b"false"))),
    st.lists(st.integers(0, 1500), max_size=6).map(
        lambda sizes: b"".join(member(b"inner", b"i" * size) for size in sizes) + END
    ),
)
MEMBERS = st.one_of(
    st.integers(0, 3000).map(lambda size: member(b"n01440764_1.JPEG", b"\xff" * size)),
    st.lists(BLOCKS, max_size=6).map(lambda blocks: member(b"trap", b"".join(blocks))),
    st.integers(0, 900).map(
        lambda size: pax((b"path", b"long"), (b"mtime", b"5.5")) + member(b"s", b"x" * size)
    ),
    st.just(member(b"L", b"name/" * 30 + b"\0", b"L") + member(b"short", b"y" * 700)),
    st.just(header(b"link", 0, b"2", link=b"to")),
    st.just(member(b"label", b"", b"V")),
    st.just(pax((b"comment", b"of no weight"), kind=b"g")),
    # What is out of form, and passed over.
    st.integers(0, 900).map(lambda size: b"?" + member(b"damaged", b"x" * size)[1:]),
    st.just(b"\0" * 1024),
    st.just(member(b"x", b"12 mtime=99\n99 comment=x\n", b"x")),
    st.just(pax((b"GNU.sparse.map", b"0,9"), (b"GNU.sparse.size", b"5")) + member(b"s", b"abc")),
)
GLOBALS = st.just(pax((b"mtime", b"99"), kind=b"g"))
ENDINGS = st.sampled_from([END, b"", b"\0" * 512, END + b"junk" * 999, b"junk" * 200, END + END])
ARCHIVES = st.builds(
    lambda head, middle, tail, ending: b"".join([*head, *middle, *tail]) + ending,
    st.lists(MEMBERS, min_size=1, max_size=20),
    st.one_of(st.just([]), st.just([]), st.lists(GLOBALS, max_size=1)),
    st.lists(MEMBERS, max_size=20),
    ENDINGS,
)


@pytest.mark.slow
@examples(500)
@given(ARCHIVES, st.integers(1, 64), st.sampled_from([1, 2, 3, 9, 64]))
def test_a_ring_finds_what_scan_finds(archive: bytes, ranges: int, in_flight: int) -> None:
    found = in_ranges(archive, ranges, in_flight=in_flight, hint=no_hint)
    assert found == one_by_one(archive)


@pytest.mark.slow
@examples(300)
@given(
    ARCHIVES,
    st.integers(1, 64),
    st.sampled_from(["nobody", "confirmed", "ranges", "both"]),
    st.sampled_from([2, 3, 9]),
)
def test_chains_find_what_scan_finds(
    archive: bytes, ranges: int, slow: str, in_flight: int
) -> None:
    found = in_ranges(archive, ranges, in_flight=in_flight, read_at=reader(archive, slow))
    assert found == one_by_one(archive)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_damage_is_met_where_scan_meets_it(seed: int) -> None:
    chance = seeded("damage", seed)
    sound = [specimen.rstrip(b"\0") for specimen in specimens()[:3]]
    sound = [specimen + b"\0" * (-len(specimen) % 512) for specimen in sound]
    for _ in range(60):
        archive = mutated(b"".join(chance.choices(sound, k=4)), chance)
        if chance.random() < 0.7:
            archive = resealed(archive)
        slow = chance.choice(["nobody", "confirmed", "ranges"])
        ranges = chance.randint(1, 64)
        expected = one_by_one(archive)
        assert in_ranges(archive, ranges, read_at=reader(archive, slow)) == expected
        assert in_ranges(archive, ranges, hint=no_hint) == expected


@pytest.mark.slow
@pytest.mark.parametrize("ranges", range(1, 65))
def test_every_number_of_chains(ranges: int) -> None:
    archive = b"".join(member(b"%d.JPEG" % i, b"\xff" * (i * 37 % 3000)) for i in range(200)) + END
    assert in_ranges(archive, ranges, read_at=reader(archive, "confirmed")) == one_by_one(archive)
    assert in_ranges(archive, ranges, in_flight=ranges, hint=no_hint) == one_by_one(archive)


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["nobody", "confirmed", "ranges"])
def test_a_false_chain_that_runs_into_the_true_one_gives_only_what_is_true(slow: str) -> None:
    # In the image, a header whose size leads exactly onto the next true header.
    trap = b"\xff" * 5120 + header(b"false", 5120) + b"\xff" * 5120
    plain = [member(b"%d" % i, b"\xff" * 2000) for i in range(30)]
    archive = b"".join([*plain, member(b"trap", trap), *plain]) + END
    for ranges in range(2, 40):
        found = in_ranges(archive, ranges, read_at=reader(archive, slow))
        assert found == one_by_one(archive) == in_ranges(archive, ranges, hint=no_hint)
        assert b"false" not in found[0]["names"]


def test_a_global_header_that_a_chain_jumped_over() -> None:
    # The second range begins within an image, and its walk finds the trap there, which leads
    # over the global header onto the members behind it: true headers, but other times.
    weight = pax((b"mtime", b"99"), kind=b"g")
    trap = header(b"false", 1024 + len(weight)) + b"\xff" * 1024
    tail = b"".join(member(b"%d" % i, b"\xff" * 600) for i in range(20))
    stretch = 65_536
    filler = member(b"filler", b"\xff" * (stretch - 1024))
    archive = filler + member(b"image", b"\xff" * 512 + trap) + weight + tail + END
    for slow, hint in (
        ("confirmed", None),
        ("nobody", None),
        ("ranges", None),
        ("nobody", no_hint),
    ):
        walk = Walk(reader(archive, slow), len(archive), columns := MemberColumns(), hint)
        scan_in_ranges(walk, 0, EveryStretch(stretch), FixedConcurrency(4))
        assert columns.mtimes == [7 * 10**9] * 2 + [99 * 10**9] * 20


@pytest.mark.slow
def test_a_cut_between_an_extended_header_and_its_member() -> None:
    archive = b"".join(pax((b"path", b"long%d" % i)) + member(b"s", b"x" * 9) for i in range(40))
    for stretch in range(512, 6000, 512):
        for hint in (None, no_hint):
            walk = Walk(
                reader(archive, "confirmed"), len(archive), columns := MemberColumns(), hint
            )
            scan_in_ranges(walk, 0, EveryStretch(stretch), FixedConcurrency(4))
            assert columns.names == [b"long%d" % i for i in range(40)]


def test_a_file_that_became_shorter_meanwhile() -> None:
    archive = b"".join(member(b"%d" % i, b"\xff" * 2000) for i in range(60))

    def scanned(walk: Callable[[ReadAt, MemberColumns], int]) -> Outcome:
        short = archive[: len(archive) // 2]
        return outcome_of(lambda into: walk(lambda o, n: short[o : o + n], into))

    end = len(archive)
    assert scanned(
        lambda read_at, into: scan_in_ranges(
            Walk(read_at, end, into), 0, EveryStretch(9000), FixedConcurrency(4)
        )
    ) == scanned(lambda read_at, into: scan(read_at, 0, end, into))


def test_into_may_hold_members_of_another_archive_already() -> None:
    archive = b"".join(member(b"%d" % i, b"\xff" * 2000) for i in range(60)) + END
    columns = MemberColumns()
    scan(reader(archive), 0, len(archive), columns)
    walk = Walk(reader(archive, "confirmed"), len(archive), columns)
    scan_in_ranges(walk, 0, EveryStretch(9000), FixedConcurrency(4))
    assert columns.names == [b"%d" % i for i in range(60)] * 2
