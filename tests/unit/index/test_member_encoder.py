"""From what a builder found to the rows of a table: which are kept, and in which order."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.index.columns import unpack
from imagenetfs.index.extraction import Extraction
from imagenetfs.index.member_encoder import (
    DIRECTORY_MODE,
    MemberRows,
    encode_member_table,
)
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.names import NAME_MAX
from tests.helpers.examples import examples
from tests.helpers.tables import DIRECTORY, FILE, LINK, members_of, rows_of


def encoded(rows: MemberRows) -> MemberTable:
    return MemberTable(memoryview(encode_member_table(rows)))


# --- which rows there are -------------------------------------------------------------------------


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


@examples()
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


@examples()
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


# --- directories ----------------------------------------------------------------------------------


def test_a_directory_that_no_member_names_is_added() -> None:
    members = members_of([(b"x", FILE), (b"d/e/f", FILE)])
    assert list(members.names()) == [b"d", b"d/e", b"d/e/f", b"x"]
    for row in (0, 1):
        assert members.mode(row) == DIRECTORY_MODE
        assert members.mtime_ns(row) == members.mtime_ns(2) == 1_000_000_000
        assert (members.header(row), members.size(row)) == (0, 0)


def test_one_that_a_member_names_is_that_one() -> None:
    members = members_of([(b"d/f", FILE), (b"d/", DIRECTORY)])
    assert list(members.names()) == [b"d", b"d/f"]
    assert (members.mode(0), members.header(0)) == (DIRECTORY, 4096)


def test_what_lies_below_is_contiguous_whatever_sorts_between() -> None:
    members = members_of([(name, FILE) for name in (b"a!", b"a/z", b"a-b", b"a/b/c", b"a0")])
    assert list(members.names()) == [b"a", b"a/b", b"a/b/c", b"a/z", b"a!", b"a-b", b"a0"]
    assert [members.below(row) for row in range(7)] == [4, 3, 3, 4, 5, 6, 7]


def test_a_flat_table_has_no_column_for_it() -> None:
    columns, _ = unpack(memoryview(encode_member_table(rows_of([(b"a", FILE), (b"b", FILE)]))))
    assert "below" not in columns
    columns, _ = unpack(memoryview(encode_member_table(rows_of([(b"a", DIRECTORY)]))))
    assert columns["below"].tolist() == [1]


@pytest.mark.expects_log("a member is not shown, for no file system")
def test_a_name_that_no_file_system_holds_is_left_out_and_said() -> None:
    members = members_of([(b"x" * (NAME_MAX + 1), FILE), (b"y" * NAME_MAX, FILE)])
    assert list(members.names()) == [b"y" * NAME_MAX]
    assert "1 left out, for its name is longer than a path may be" in str(members.left_out)


# --- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "prefix", "suffix"),
    [
        ([b"n01_1.JPEG", b"n01_23.JPEG"], b"n01_", b".JPEG"),
        ([b"aa", b"aaa"], b"aa", b""),
        ([b"aba", b"abaaba"], b"aba", b""),
        ([b"only"], b"only", b""),
        ([b"a", b"b"], b"", b""),
        ([b"xa", b"ya"], b"", b"a"),
    ],
)
def test_what_all_names_share_is_kept_once(
    names: list[bytes], prefix: bytes, suffix: bytes
) -> None:
    members = members_of([(name, FILE) for name in names])
    assert list(members.names()) == sorted(names)
    meta = members.meta
    assert (bytes.fromhex(meta["prefix"]), bytes.fromhex(meta["suffix"])) == (prefix, suffix)


def test_columns_of_one_value_are_left_out() -> None:
    rows = rows_of([(b"a", FILE), (b"b", FILE)])
    rows.mtimes = [7, 7]
    columns, meta = unpack(memoryview(encode_member_table(rows)))
    assert set(columns) == {"names", "ends", "offsets", "sizes"}
    assert (meta["mode"], meta["mtime"], meta["rows"], meta["unit"]) == (FILE, 7, 2, 512)


@pytest.mark.parametrize(("mtimes", "tick"), [([10**9, 3 * 10**9], 10**9), ([10**9, 1], 1)])
def test_times_are_kept_in_seconds_where_they_are(mtimes: list[int], tick: int) -> None:
    rows = rows_of([(b"a", FILE), (b"b", FILE)])
    rows.mtimes = list(mtimes)
    members = encoded(rows)
    assert members.meta["tick"] == tick
    assert [members.mtime_ns(row) for row in (0, 1)] == mtimes


# --- links ----------------------------------------------------------------------------------------


def test_links_lead_where_they_led_unless_they_are_confined() -> None:
    rows = rows_of([(b"d/in", LINK), (b"d/out", LINK), (b"x", FILE)])
    rows.links = {0: b"../x", 1: b"/etc/passwd"}
    free, confined = (
        MemberTable(memoryview(encode_member_table(rows, confine=confine)))
        for confine in (False, True)
    )
    names = list(free.names())
    assert {names[row]: target for row, target in free.links.items()} == {
        b"d/in": b"../x",
        b"d/out": b"/etc/passwd",
    }
    assert confined.links[names.index(b"d/in")] == b"../x"
    assert not confined.links[names.index(b"d/out")].startswith(b"/")


def test_hard_links_are_to_the_last_of_a_name_before_them() -> None:
    rows = rows_of([(b"a", FILE), (b"one", FILE), (b"a", FILE), (b"two", FILE), (b"three", FILE)])
    rows.hardlinks = {1: b"a", 3: b"./a", 4: b"one"}
    assert Extraction(rows).owners == {1: 0, 3: 2, 4: 0}


def test_hard_links_to_nothing_and_to_directories_dangle() -> None:
    rows = rows_of([(b"one", FILE), (b"d", DIRECTORY), (b"two", FILE), (b"three", FILE)])
    rows.hardlinks = {0: b"later", 2: b"d", 3: b"two"}
    assert Extraction(rows).owners == {}
    assert list(encoded(rows).names()) == [b"d"]
    assert "3 left out, for it is a hard link to nothing" in str(encoded(rows).left_out)


def test_a_row_whose_header_has_another_name_says_so() -> None:
    rows = rows_of([(b"a", FILE), (b"b", FILE)])
    rows.renamed = {1}
    members = encoded(rows)
    assert members.hard == {1: (1, 1)}
    assert stat.S_ISREG(members.mode(1))
