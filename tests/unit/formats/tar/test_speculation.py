"""Where an archive is cut, what a range finds there, and what the confirmed walk adopts of it."""

from __future__ import annotations

import pytest

from imagenetfs.errors import SourceReadError
from imagenetfs.formats.tar.speculation import (
    PROBE,
    ScanRange,
    SplitPolicy,
    find_header,
    probe,
)
from imagenetfs.formats.tar.walk import MemberColumns, ReadAt, Walk, finish, scan
from tests.helpers.plain_tar import BLOCK, END, header_of, pad, tar_of_sizes

SIZES = [(37 * n) % 2000 for n in range(100)]
ARCHIVE, HEADERS = tar_of_sizes(SIZES)
END_OF_MEMBERS = len(ARCHIVE) - len(END)


def reader(data: bytes = ARCHIVE) -> ReadAt:
    return lambda offset, length: data[offset : offset + length]


# --- looking for a header -------------------------------------------------------------------------


def first_header(read_at: ReadAt, begin: int, stop: int) -> int | None:
    return finish(find_header(read_at, begin, stop))


def test_the_first_header_is_found_by_one_read() -> None:
    data = b"\xff" * 512 * 100 + header_of("a") + b"\xff" * 10**6
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return data[offset : offset + length]

    assert first_header(read_at, 0, len(data) & -512) == 51_200
    assert reads == [(0, 128 << 10)]


def test_a_search_reads_more_at_a_time_and_gives_up() -> None:
    reads: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        reads.append(length)
        return bytes(length)

    assert first_header(read_at, 0, 1 << 40) is None
    assert reads[:5] == [128 << 10, 256 << 10, 512 << 10, 1 << 20, 1 << 20]
    assert sum(reads) == 8 << 20


def test_a_search_does_not_look_beyond_its_stretch() -> None:
    data = b"\xff" * 1024 + header_of("a")
    assert first_header(reader(data), 0, 1024) is None
    assert first_header(reader(data), 0, 1536) == 1024
    assert first_header(lambda o, n: data[o : o + n][:700], 0, 1536) is None  # the file ends


@pytest.mark.parametrize("stray", [b"\0" * 512, b"12345678" * 64, pad(b"\xff\xd8")])
def test_what_is_no_header_is_passed_by(stray: bytes) -> None:
    assert first_header(reader(stray + header_of("a")), 0, 1024) == 512


def test_a_search_begins_where_it_is_told() -> None:
    for at, header in enumerate(HEADERS[1:], 1):
        assert first_header(reader(), HEADERS[at - 1] + BLOCK, len(ARCHIVE)) == header
        assert first_header(reader(), header, len(ARCHIVE)) == header


def test_a_search_announces_each_read_and_lets_others_go_on() -> None:
    hints: list[tuple[int, int]] = []
    data = bytes(300 << 10) + header_of("a")
    steps = find_header(reader(data), 0, len(data), lambda *what: hints.append(what))
    turns = 0
    with pytest.raises(StopIteration) as ended:
        while True:
            assert next(steps) is None
            turns += 1
            assert len(hints) == turns
    assert ended.value.value == 300 << 10
    assert hints == [(0, 128 << 10), (128 << 10, len(data) - (128 << 10))]


# --- where to cut ---------------------------------------------------------------------------------


def test_the_least_worth_cutting_is_sixteen_members() -> None:
    policy = SplitPolicy()
    assert policy.least == 16 * BLOCK
    policy.expect(110_000)
    assert policy.least == 16 * 110_000
    policy.expect(0)
    assert policy.least == BLOCK


@pytest.mark.parametrize(("at", "stop"), [(0, 1024), (512, 5 * 512), (1536, 1 << 30)])
def test_a_cut_is_at_a_block_within(at: int, stop: int) -> None:
    middle = SplitPolicy().middle(at, stop)
    assert at < middle < stop
    assert (middle - at) % BLOCK == 0
    assert abs((middle - at) - (stop - middle)) <= 2 * BLOCK


def range_of(policy: SplitPolicy, first: int | None, count: int, landing: int) -> ScanRange:
    scan_range = ScanRange(0, 1 << 30, Walk(reader(), 1 << 30, MemberColumns()), policy)
    scan_range.first, scan_range.count, scan_range.landing = first, count, landing
    return scan_range


def test_what_a_chain_found_is_followed_by_a_factor_of_two_at_most() -> None:
    policy = SplitPolicy(1000)
    for members_of, least in [(1500, 24_000), (1_000_000, 48_000), (1, 24_000), (1, 12_000)]:
        policy.learn(range_of(policy, 5000, 10, 5000 + 10 * members_of))
        assert policy.least == least
    for _ in range(20):
        policy.learn(range_of(policy, 0, 100, 100))
    assert policy.least == BLOCK


def test_a_search_in_vain_doubles_what_is_worth_one() -> None:
    policy = SplitPolicy(1000)
    policy.learn(range_of(policy, None, 0, 0))
    assert policy.least == 32_000


def test_a_header_without_a_member_tells_nothing() -> None:
    policy = SplitPolicy(1000)
    policy.learn(range_of(policy, 512, 0, 512))
    assert policy.least == 16_000


# --- stretches ------------------------------------------------------------------------------------


def stretch(begin: int = 0, stop: int = len(ARCHIVE), span: int = BLOCK) -> ScanRange:
    return ScanRange(begin, stop, Walk(reader(), len(ARCHIVE), MemberColumns()), SplitPolicy(span))


def test_a_stretch_is_cut_in_two_that_follow_each_other() -> None:
    whole = stretch()
    scan_range = whole.cut()
    assert whole.walk.stop == scan_range.begin
    assert scan_range.walk.stop == len(ARCHIVE)
    assert whole.following is scan_range
    assert scan_range.following is None
    second = whole.cut()
    assert (whole.following, second.following) == (second, scan_range)
    assert whole.walk.stop == second.begin
    assert second.walk.stop == scan_range.begin


def test_what_has_been_walked_is_not_cut_again() -> None:
    whole = stretch()
    finish(whole.walk.steps(0, 60))
    scan_range = whole.cut()
    assert scan_range.begin > HEADERS[60] > len(ARCHIVE) // 2


def test_what_is_left_is_measured_by_the_least() -> None:
    one = stretch(begin=0, stop=64 * BLOCK)
    assert one.worth() == 4.0
    one.walk.at = 32 * BLOCK
    assert one.worth() == 2.0
    one.walk.overrides = {b"mtime": b"1"}
    assert one.worth() == 0.0


def test_a_chain_finds_what_stands_in_its_stretch() -> None:
    scan_range = stretch(HEADERS[30] + BLOCK, HEADERS[60])
    finish(scan_range.explore(reader()))
    assert scan_range.first == HEADERS[31]
    assert scan_range.landing == HEADERS[60]
    assert scan_range.walk.into.headers == HEADERS[31:60]
    assert scan_range.count == 29


def test_a_chain_without_a_header_has_nothing() -> None:
    scan_range = stretch(END_OF_MEMBERS, len(ARCHIVE))
    finish(scan_range.explore(reader()))
    assert (scan_range.first, scan_range.count) == (None, 0)


def test_a_chain_that_fails_stands_by_what_was_sound_before() -> None:
    """Its last member's hop may have led astray: the true walk goes on from its header."""

    def read_at(offset: int, length: int) -> bytes:
        if offset >= HEADERS[40]:
            raise SourceReadError("no more")
        return ARCHIVE[offset : min(offset + length, HEADERS[40])]

    scan_range = stretch(HEADERS[20], HEADERS[60])
    finish(scan_range.explore(read_at))
    assert scan_range.walk.into.headers == HEADERS[20:40]
    assert scan_range.count == 19
    assert scan_range.landing == HEADERS[39]


def test_a_chain_behind_a_global_header_gives_nothing() -> None:
    payload = b"12 mtime=99\n"
    data = ARCHIVE[: HEADERS[10]] + header_of("g", len(payload), kind=b"g") + pad(payload)
    data += ARCHIVE[HEADERS[10] :]
    walk = Walk(reader(data), len(data), MemberColumns())
    scan_range = ScanRange(0, len(data), walk, SplitPolicy())
    finish(scan_range.explore(reader(data)))
    assert len(walk.into) > 10
    assert scan_range.count == 0
    assert not scan_range.give(HEADERS[0], MemberColumns())


def explored(first: int = 20, last: int = 60) -> ScanRange:
    scan_range = stretch(HEADERS[first], HEADERS[last])
    finish(scan_range.explore(reader()))
    return scan_range


@pytest.mark.parametrize("at", [20, 21, 59])
def test_its_members_are_given_from_a_true_header_on(at: int) -> None:
    scan_range, into = explored(), MemberColumns()
    scan(reader(), 0, len(ARCHIVE), into)
    confirmed = MemberColumns()
    confirmed.extend(into, 0, at)
    assert scan_range.give(HEADERS[at], confirmed)
    assert confirmed.headers == HEADERS[:60]
    assert confirmed.names == into.names[:60]
    assert confirmed.sizes == SIZES[:60]


@pytest.mark.parametrize("position", [HEADERS[19], HEADERS[20] + BLOCK, HEADERS[60]])
def test_nothing_is_given_from_where_no_member_of_it_begins(position: int) -> None:
    into = MemberColumns()
    assert not explored().give(position, into)
    assert len(into) == 0


def test_a_chain_is_true_where_it_met_the_true_walk() -> None:
    scan_range = explored()
    assert scan_range.is_confirmed(HEADERS[20], [], 0)
    assert scan_range.is_confirmed(HEADERS[40], [], 0)
    assert scan_range.is_confirmed(HEADERS[70], HEADERS[10:70], 0)
    assert not scan_range.is_confirmed(HEADERS[70], HEADERS[10:20], 0)
    assert not scan_range.is_confirmed(
        HEADERS[70], HEADERS[10:70], 11
    )  # those are of another archive
    scan_range.first = None
    assert not scan_range.is_confirmed(HEADERS[20], HEADERS, 0)


# --- the first hops -------------------------------------------------------------------------------


def test_a_probe_hops_a_few_times_and_leaves_the_walk_as_it_was() -> None:
    walk = Walk(read_at := reader(), len(ARCHIVE), MemberColumns())
    position, ended, seconds = probe(walk, 0)
    assert (position, ended) == (HEADERS[PROBE], False)
    assert len(walk.into) == PROBE
    assert seconds >= 0
    assert walk.read_at is read_at


def test_a_probe_of_a_short_archive_ends_it() -> None:
    data, headers = tar_of_sizes([5, 6])
    walk = Walk(reader(data), len(data), MemberColumns())
    position, ended, _ = probe(walk, 0)
    assert (position, ended) == (len(data) - len(END), True)
    assert walk.into.headers == headers


def test_a_probe_that_fails_leaves_the_walk_as_it_was_too() -> None:
    def fail(offset: int, length: int) -> bytes:
        raise SourceReadError("gone")

    walk = Walk(fail, len(ARCHIVE), MemberColumns())
    with pytest.raises(SourceReadError):
        probe(walk, 0)
    assert walk.read_at is fail
