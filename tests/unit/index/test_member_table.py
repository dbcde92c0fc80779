"""Member tables: any names come back sorted, found, and below the right directory."""

from __future__ import annotations

import stat
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.index.member_encoder import DIRECTORY_MODE, MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.names import sanitize_name
from tests.helpers.tables import DIRECTORY, FILE, LINK, members_of, rows_of

_PARTS = st.sampled_from(
    [b"a", b"b", b"c", b"a.b", b"a!", b"a0", b"\xff", b"..", b".", b"", b"n01440764.tar", b"\n"]
) | st.binary(min_size=1, max_size=6).map(lambda part: part.replace(b"\0", b"-"))
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map(b"/".join).filter(bool)
_ENTRIES = st.lists(st.tuples(_NAMES, st.sampled_from([FILE, FILE, DIRECTORY, LINK])), max_size=14)


def table_of(entries: list[tuple[bytes, int]]) -> dict[bytes, int | None]:
    """The reference: name -> position of its entry (None: a directory without one of its own).

    The last entry of a name counts, and of a file and what lies below it the later one.
    """
    last = {sanitize_name(name): (at, mode) for at, (name, mode) in enumerate(entries)}
    last.pop(b"", None)
    gone = set()
    for name, (at, _) in last.items():
        for upper, (other, mode) in last.items():
            if name.startswith(upper + b"/") and not stat.S_ISDIR(mode):
                gone.add(upper if other < at else name)
    kept: dict[bytes, int | None] = {n: at for n, (at, _) in last.items() if n not in gone}
    for name in list(kept):
        while name := name.rpartition(b"/")[0]:
            kept.setdefault(name, None)
    return kept


def _key(name: bytes) -> bytes:
    return name.replace(b"/", b"\0")


@settings(deadline=None, max_examples=300)
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
            continue
        assert members.mode(row) == entries[at][1]
        assert members.size(row) == at * 7
        assert members.offset(row) == at * 4096 + 512
        assert members.header(row) == at * 4096
        assert members.mtime_ns(row) == at * 1_000_000_000
        assert members.links.get(row) == (b"to-%d" % at if entries[at][1] == LINK else None)
    assert members.regular().tolist() == [
        row for row in range(len(members)) if stat.S_ISREG(members.mode(row))
    ]


@settings(deadline=None, max_examples=200)
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


@settings(deadline=None, max_examples=100)
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
    assert names == [members.name(row) for row in range(start, stop)]
    times = [members.mtime_ns(row) for row in range(start, stop)]
    assert members.mtimes_ns(start, stop).tolist() == times


@settings(deadline=None)
@given(_ENTRIES, _NAMES)
def test_other_names_are_not_found(entries: list[tuple[bytes, int]], name: bytes) -> None:
    members = members_of(entries)
    names = list(members.names())
    assert members.find(name) == (names.index(name) if name in names else -1)
    assert members.find(b"") == -1


@settings(deadline=None)
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


def test_a_later_entry_uses_a_file_as_a_directory() -> None:
    members = members_of([(b"a", FILE), (b"a/b", FILE)])
    assert list(members.names()) == [b"a", b"a/b"]
    assert stat.S_ISDIR(members.mode(0))
    members = members_of([(b"a/b", FILE), (b"a", FILE)])
    assert list(members.names()) == [b"a"]
    assert members.size(0) == 7


def test_the_last_of_a_name_counts_in_a_flat_table_too() -> None:
    members = members_of([(b"b", FILE), (b"a", FILE), (b"b", FILE)])
    assert [(members.name(r), members.size(r)) for r in range(len(members))] == [
        (b"a", 7),
        (b"b", 14),
    ]


def test_an_empty_name_is_no_member() -> None:
    assert list(members_of([(b"", FILE), (b"a", FILE)]).names()) == [b"a"]


def test_offsets_that_are_no_multiple_of_512() -> None:
    rows = rows_of([(b"a", FILE), (b"b", FILE)])
    rows.offsets = [513, 1 << 40]
    rows.headers = [0, (1 << 40) - 1024]
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert [members.offset(0), members.offset(1)] == [513, 1 << 40]
    assert [members.header(0), members.header(1)] == [0, (1 << 40) - 1024]


@settings(deadline=None)
@given(st.lists(st.integers(-(1 << 62), 1 << 61), min_size=1, max_size=6))
def test_times(times: list[int]) -> None:
    rows = rows_of([(b"%d" % at, FILE) for at in range(len(times))])
    rows.mtimes = list(times)
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert [members.mtime_ns(members.find(b"%d" % at)) for at in range(len(times))] == times


@pytest.mark.parametrize("times", [(-(1 << 63), (1 << 63) - 1), (-(1 << 62) - 5, 1 << 62)])
def test_times_far_apart(times: tuple[int, int]) -> None:
    rows = rows_of([(b"a", FILE), (b"b", FILE)])
    rows.mtimes = list(times)
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert (members.mtime_ns(0), members.mtime_ns(1)) == times


@settings(deadline=None)
@given(st.data())
def test_sparse_members(data: st.DataObject) -> None:
    names = [b"%d" % at for at in range(data.draw(st.integers(1, 5)))]
    rows = rows_of([(name, FILE) for name in names])
    run = st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
    for at in range(len(names)):
        if data.draw(st.booleans()):
            rows.sparse[at] = tuple(data.draw(st.lists(run, max_size=4)))
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert {members.name(row): runs for row, runs in members.sparse.items()} == {
        names[at]: runs for at, runs in rows.sparse.items()
    }


def test_hard_links_are_what_they_link_to() -> None:
    rows = rows_of([(b"c", FILE), (b"b", FILE), (b"a", FILE), (b"c/x", FILE), (b"d", LINK)])
    rows.hardlinks[1] = b"./../c"
    rows.hardlinks[2] = b"b"
    rows.hardlinks[3] = b"nothing"
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert list(members.names()) == [b"a", b"b", b"c", b"d"]
    assert [members.size(row) for row in range(3)] == [0, 0, 0]
    assert {members.owner(row) for row in range(3)} == {members.owner(0)}
    assert [members.links_to(row) for row in range(4)] == [3, 3, 3, 1]
    assert members.owner(3) == 3


def test_a_hard_link_keeps_what_it_was_linked_to() -> None:
    rows = rows_of([(b"x", FILE), (b"a", FILE), (b"link", FILE), (b"a", FILE), (b"later", FILE)])
    rows.hardlinks[2] = rows.hardlinks[4] = b"a"
    members = MemberTable(memoryview(encode_member_table(rows)))
    sizes = {members.name(row): members.size(row) for row in range(len(members))}
    assert sizes == {b"a": 21, b"later": 21, b"link": 7, b"x": 0}
    links = {members.name(row): members.links_to(row) for row in range(len(members))}
    assert links == {b"a": 2, b"later": 2, b"link": 1, b"x": 1}


def test_nested_rows() -> None:
    entries = [(b"n2.tar", FILE), (b"n1.tar", FILE), (b"readme", FILE), (b"d.tar", DIRECTORY)]
    block = encode_member_table(
        rows_of(entries), nested=lambda name, mode: stat.S_ISREG(mode) and name.endswith(b".tar")
    )
    members = MemberTable(memoryview(block))
    assert [members.name(row) for row in members.columns["nested"].tolist()] == [
        b"n1.tar",
        b"n2.tar",
    ]


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
