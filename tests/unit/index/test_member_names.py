"""The names of a table: every way to a row against a list of paths, and damaged trees."""

from __future__ import annotations

import numpy as np
import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import pack, unpack
from imagenetfs.index.member_encoder import encode_member_table
from imagenetfs.index.member_table import MemberTable
from tests.helpers.randomness import seeded
from tests.helpers.tables import DIRECTORY, FILE, members_of, rows_of

TREE = [b"a", b"a/b", b"a/b/x", b"a/b-c", b"a/c", b"ab", b"ab/x", b"b"]


def tree_of(paths: list[bytes]) -> MemberTable:
    """A table of these; what has something below it is a directory."""
    above = {path[:at] for path in paths for at, byte in enumerate(path) if byte == ord("/")}
    return members_of([(path, DIRECTORY if path in above else FILE) for path in paths])


def sorted_as_rows(paths: list[bytes]) -> list[bytes]:
    """A directory stands right before what is in it."""
    return sorted(paths, key=lambda path: path.split(b"/"))


def check(paths: list[bytes]) -> None:
    members, expected = tree_of(paths), sorted_as_rows(paths)
    assert list(members.names()) == expected
    assert [members.name(row) for row in range(len(members))] == expected
    assert [members.base_name(row) for row in range(len(members))] == [
        path.rpartition(b"/")[2] for path in expected
    ]
    for row, path in enumerate(expected):
        assert members.find(path) == row
        inside = [other for other in expected if other.startswith(path + b"/")]
        assert [expected[other] for other in members.within(row)] == inside
        direct = [other for other in inside if b"/" not in other[len(path) + 1 :]]
        assert [expected[other] for other in members.children(row)] == direct
        for name in (path + b"/", path + b"x", path + b"/\xff", path[:-1]):
            assert (members.find(name) >= 0) is (name in expected)
    assert [expected[row] for row in members.children()] == [p for p in expected if b"/" not in p]


def test_names_that_sort_otherwise_than_their_paths() -> None:
    check(TREE)  # b"a/b-c" stands before b"a/b/x" as bytes, and behind it as a tree


def test_random_trees() -> None:
    rng = seeded("names")
    for _ in range(20):
        paths = {b""}
        for _ in range(rng.randrange(1, 25)):
            above = rng.choice(sorted(paths))
            name = bytes(rng.choice(b"ab-z\x80") for _ in range(rng.randrange(1, 3)))
            paths.add(above + b"/" + name if above else name)
        check(sorted(paths - {b""}))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_flat_table(count: int) -> None:
    names = [b"n_%d.JPEG" % number for number in range(count)]
    members = members_of([(name, FILE) for name in names])
    assert members.flat
    assert (len(members), list(members.names())) == (count, names)
    assert [members.find(name) for name in names] == list(range(count))
    assert [members.find(name) for name in (b"", b"n_", b"n_9.JPEG", b"n_0.JPEG/x")] == [-1] * 4
    assert list(members.children()) == list(range(count))
    assert [list(members.within(row)) for row in range(count)] == [[]] * count


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 3), (1, 3), (2, 2), (0, 1)])
def test_parts_of_names_put_together_are_the_names(start: int, stop: int) -> None:
    names = [b"n_0.JPEG", b"n_10.JPEG", b"n_200.JPEG"]
    members = members_of([(name, FILE) for name in names])
    prefix, middles, ends, suffix = members.name_parts(start, stop)
    begins = [0, *ends.tolist()]
    found = [
        prefix + middles[begin:end].tobytes() + suffix
        for begin, end in zip(begins, ends.tolist(), strict=False)
    ]
    assert found == names[start:stop]


def damaged(**changed: list[int] | None) -> MemberTable:
    """A tree of eight rows, 0 to 7, with some columns replaced, or removed by None."""
    paths = [b"0", b"1", b"2", b"2/x", b"4", b"5", b"6", b"7"]
    columns, meta = unpack(members_block(paths))
    for name, values in changed.items():
        del columns[name]
        if values is not None:
            columns[name] = np.array(values, dtype=np.uint8)
    return MemberTable(memoryview(pack(columns, meta)))


def members_block(paths: list[bytes]) -> memoryview:
    kinds = [(path, DIRECTORY if path == b"2" else FILE) for path in paths]
    return memoryview(encode_member_table(rows_of(kinds)))


def test_the_tree_to_be_damaged_is_sound() -> None:
    members = damaged(below=[1, 2, 4, 4, 5, 6, 7, 8], parents=[0, 0, 0, 3, 0, 0, 0, 0])
    assert [members.find(name) for name in (b"2/x", b"7", b"zz", b"2/y")] == [3, 7, -1, -1]


@pytest.mark.parametrize(
    "columns",
    [
        {"below": [1, 2, 2, 4, 5, 6, 7, 8]},  # a directory ends before it begins
        {"below": [1, 2, 9, 4, 5, 6, 7, 8]},  # behind the table's end
        {"parents": [2, 0, 0, 3, 0, 0, 0, 0]},  # a parent that stands behind its child
        {"below": None},
        {"parents": None},
    ],
    ids=str,
)
def test_a_damaged_tree_is_no_table(columns: dict[str, list[int] | None]) -> None:
    with pytest.raises(ArchiveError, match="a block of the index is damaged"):
        damaged(**columns)


def test_a_search_in_a_damaged_tree_ends() -> None:
    """Row 7 says that it lies in row 2, which ends before it."""
    members = damaged(parents=[0, 0, 0, 3, 0, 0, 0, 3])
    with pytest.raises(ArchiveError, match="rows out of order"):
        members.find(b"zz")
