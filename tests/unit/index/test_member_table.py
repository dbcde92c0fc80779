"""Member tables: any names come back sorted, found, and below the right directory."""

from __future__ import annotations

import stat
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.index.member_encoder import DIRECTORY_MODE, MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.names import sanitize_name
from tests.helpers.examples import examples
from tests.helpers.tables import DIRECTORY, FILE, LINK, members_of, rows_of

_PARTS = st.sampled_from(
    [b"a", b"b", b"c", b"a.b", b"a!", b"a0", b"\xff", b"..", b".", b"", b"n01440764.tar", b"\n"]
) | st.binary(min_size=1, max_size=6).map(lambda part: part.replace(b"\0", b"-"))
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map(b"/".join).filter(bool)
_ENTRIES = st.lists(st.tuples(_NAMES, st.sampled_from([FILE, FILE, DIRECTORY, LINK])), max_size=14)


def table_of(entries: list[tuple[bytes, int]]) -> dict[bytes, int | None]:
    """The reference: name -> position of its entry (None: a directory without one of its own).

    The last entry of a name counts; one with ``..`` is left out, and so is one below what is no
    directory, and what is no directory where there is one that something lies in.
    """
    kept: dict[bytes, int | None] = {}

    def is_directory(name: bytes) -> bool:
        at = kept[name]
        return at is None or stat.S_ISDIR(entries[at][1])

    for at, (raw, mode) in enumerate(entries):
        name = sanitize_name(raw)
        if not name or b".." in raw.split(b"/"):
            continue
        parts = name.split(b"/")
        above = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
        if any(upper in kept and not is_directory(upper) for upper in above):
            continue
        if not stat.S_ISDIR(mode) and any(other.startswith(name + b"/") for other in kept):
            continue
        for upper in above:
            kept.setdefault(upper, None)
        kept[name] = at
    return kept


def _key(name: bytes) -> bytes:
    return name.replace(b"/", b"\0")


@pytest.mark.slow
@examples(300)
@given(_ENTRIES)
def test_against_the_reference(entries: list[tuple[bytes, int]]) -> None:
    members, expected = members_of(entries), table_of(entries)
    names = [members.name(row) for row in range(len(members))]
    assert names == sorted(expected, key=_key)
    assert list(members.names()) == names
    for row, name in enumerate(names):
        at = expected[name]
        assert members.find(name) == row
        if at is None:
            assert (members.mode(row), members.size(row)) == (DIRECTORY_MODE, 0)
            assert members.is_implied(row)
            within = [members.mtime_ns(child) for child in members.children(row)]
            assert members.mtime_ns(row) == max(within)
            continue
        assert not members.is_implied(row)
        assert members.mode(row) == entries[at][1]
        assert members.size(row) == at * 7
        assert members.offset(row) == at * 4096 + 512
        assert members.header(row) == at * 4096
        assert members.mtime_ns(row) == at * 1_000_000_000
        assert members.links.get(row) == (b"to-%d" % at if entries[at][1] == LINK else None)
    assert members.regular().tolist() == [
        row for row in range(len(members)) if stat.S_ISREG(members.mode(row))
    ]


@pytest.mark.slow
@examples(200)
@given(_ENTRIES)
def test_children_and_below(entries: list[tuple[bytes, int]]) -> None:
    members = members_of(entries)
    names = list(members.names())
    top = [name for name in names if b"/" not in name]
    assert [members.name(row) for row in members.children()] == top
    for row, name in enumerate(names):
        inside = [other for other in names if other.startswith(name + b"/")]
        assert names[row + 1 : members.below(row)] == inside
        direct = [other for other in inside if b"/" not in other[len(name) + 1 :]]
        assert [members.name(child) for child in members.children(row)] == direct


@pytest.mark.slow
@examples(100)
@given(_ENTRIES, st.integers(0, 15), st.integers(0, 15))
def test_names_and_times_of_a_range(
    entries: list[tuple[bytes, int]], start: int, length: int
) -> None:
    members = members_of(entries)
    stop = min(start + length, len(members))
    start = min(start, stop)
    prefix, middles, ends, suffix = members.name_parts(start, stop)
    cut = [0, *ends.tolist()]
    names = [prefix + middles[a:b].tobytes() + suffix for a, b in pairwise(cut)]
    assert names == [members.base_name(row) for row in range(start, stop)]
    times = [members.mtime_ns(row) for row in range(start, stop)]
    assert members.mtimes_ns(start, stop).tolist() == times


@pytest.mark.slow
@examples()
@given(_ENTRIES, _NAMES)
def test_other_names_are_not_found(entries: list[tuple[bytes, int]], name: bytes) -> None:
    members = members_of(entries)
    names = list(members.names())
    assert members.find(name) == (names.index(name) if name in names else -1)
    assert members.find(b"") == -1


@examples()
@given(_NAMES)
def test_harmless_names_stay_inside(name: bytes) -> None:
    parts = sanitize_name(name).split(b"/")
    assert parts == [b""] or not {b"", b".", b".."} & set(parts)
    assert sanitize_name(sanitize_name(name)) == sanitize_name(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a/b", b"a/b"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"../../x", b"x"),
        (b"a/../b", b"b"),
        (b"a/..", b""),
        (b"..", b""),
        (b"./a//b/.", b"a/b"),
        (b"dir/", b"dir"),
        (b"..a", b"..a"),
    ],
)
def test_harmless(name: bytes, expected: bytes) -> None:
    assert sanitize_name(name) == expected


def test_an_empty_table() -> None:
    members = members_of([])
    assert len(members) == 0
    assert members.find(b"a") == -1
    assert list(members.children()) == []
    assert list(members.names()) == []
    assert [len(part) for part in members.name_parts(0, 0)[1:3]] == [0, 0]
    assert members.problem is None


def test_a_problem_travels_with_the_table() -> None:
    assert members_of([(b"a", FILE)], problem="cut off").problem == "cut off"


def test_what_a_member_of_imagenet_costs() -> None:
    rows = MemberRows()
    for at in range(1300):
        rows.names.append(b"n01440764_%d.JPEG" % (at * 7))
        rows.headers.append(at * 113_152)
        rows.offsets.append(at * 113_152 + 512)
        rows.sizes.append(100_000 + at)
        rows.mtimes.append(1_339_000_000_000_000_000 + at * 1_000_000_000)
        rows.modes.append(FILE)
    block = encode_member_table(rows)
    assert len(block) / 1300 < 25
    members = MemberTable(memoryview(block))
    assert members.flat
    assert members.size(members.find(b"n01440764_70.JPEG")) == 100_010


# --- damage ---------------------------------------------------------------------------------------


def _small_block() -> bytes:
    rows = rows_of([(b"d/one", FILE), (b"d/two", FILE), (b"three", LINK), (b"four", FILE)])
    rows.sparse[1] = ((0, 512), (1024, 512))
    rows.hardlinks[3] = b"d/one"
    return encode_member_table(rows, {"problem": "x"})


def _use(members: MemberTable) -> None:
    """Everything that a reader of the table may do; must not go beyond the block."""
    for row in range(len(members)):
        members.name(row), members.offset(row), members.size(row)
        members.mode(row), members.mtime_ns(row), members.header(row), members.below(row)
    list(members.names())
    members.name_parts(0, len(members))
    members.mtimes_ns(0, len(members))
    members.find(b"d/one")
    members.regular()
    repr(members.problem)


def test_every_cut_of_a_table_is_refused() -> None:
    block = _small_block()
    whole = [row for row in MemberTable(memoryview(block)).names()]
    for length in range(len(block) - 8):
        with pytest.raises(ArchiveError):
            MemberTable(memoryview(block[:length]))
    for length in range(len(block) - 8, len(block)):  # padding, perhaps
        try:
            members = MemberTable(memoryview(block[:length]))
        except ArchiveError:
            continue
        assert list(members.names()) == whole


def _data_start(block: bytes) -> int:
    return 12 + int.from_bytes(block[8:12], "little")


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
def test_a_flipped_byte_of_the_columns_is_never_a_crash(mask: int) -> None:
    block = _small_block()
    rows = len(MemberTable(memoryview(block)))
    for at in [*range(12), *range(_data_start(block), len(block))]:
        damaged = bytearray(block)
        damaged[at] ^= mask
        try:
            members = MemberTable(memoryview(damaged))
            _use(members)
        except ArchiveError:
            continue
        assert len(members) == rows


@pytest.mark.parametrize("mask", [0x01, 0x04, 0x20])
def test_a_flipped_byte_of_the_header_is_never_a_crash(mask: int) -> None:
    block = _small_block()
    rows = len(MemberTable(memoryview(block)))
    for at in range(12, _data_start(block)):
        damaged = bytearray(block)
        damaged[at] ^= mask
        try:
            members = MemberTable(memoryview(damaged))
            _use(members)
        except ArchiveError:
            continue
        assert len(members) == rows


@pytest.mark.slow
def test_a_table_takes_little_memory() -> None:
    """A worker may have tens of thousands of them."""
    entries = [(b"n00000001_%d.JPEG" % number, 100_000) for number in range(20)]
    blocks = [
        memoryview(encode_member_table(rows_of(entries), {"at": list(range(16))}))
        for _ in range(300)
    ]
    tracemalloc.start()
    try:
        tables = [MemberTable(block) for block in blocks]
        each = tracemalloc.get_traced_memory()[0] / len(tables)
    finally:
        tracemalloc.stop()
    assert each < 2000
