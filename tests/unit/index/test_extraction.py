"""What members become when they are extracted one after the other, and what is left out and
told."""

from __future__ import annotations

import stat
import tracemalloc

import pytest

from imagenetfs.index.member_encoder import encode_member_table
from imagenetfs.index.member_table import MemberTable
from tests.helpers.tables import DIRECTORY, FILE, LINK, members_of, rows_of


def test_a_member_below_a_file_is_left_out_and_told() -> None:
    members = members_of([(b"a", FILE), (b"a/b", FILE), (b"a/c", FILE)])
    assert list(members.names()) == [b"a"]
    assert stat.S_ISREG(members.mode(0))
    assert members.left_out == (
        "2 left out, for it lies below what is no directory (the first is 'a/b' at byte 4,096)"
    )


def test_a_file_takes_the_place_of_an_empty_directory_only() -> None:
    members = members_of([(b"a/b", FILE), (b"a", FILE), (b"d", DIRECTORY), (b"d", LINK)])
    assert list(members.names()) == [b"a", b"a/b", b"d"]
    assert stat.S_ISDIR(members.mode(0))
    assert stat.S_ISLNK(members.mode(2))
    assert "it would take the place of a directory" in str(members.left_out)
    members = members_of([(b"a", FILE), (b"a", DIRECTORY), (b"a/b", FILE)])
    assert list(members.names()) == [b"a", b"a/b"]
    assert members.left_out is None


def linked(*entries: tuple[bytes, bytes | None]) -> MemberTable:
    """Members of these names: a file, or a symbolic link to what is given; ``name/`` is a
    directory."""
    rows = rows_of([(name, DIRECTORY if name.endswith(b"/") else FILE) for name, _ in entries])
    for at, (_, target) in enumerate(entries):
        if target is not None:
            rows.modes[at], rows.links[at], rows.sizes[at] = LINK, target, 0
    return MemberTable(memoryview(encode_member_table(rows, confine=True)))


@pytest.mark.parametrize(
    ("links", "name", "shown"),
    [
        ([(b"usr/", None), (b"lib", b"usr")], b"lib/b", b"usr/b"),
        ([(b"usr/", None), (b"lib", b"usr"), (b"l2", b"lib/")], b"l2/x/y", b"usr/x/y"),
        ([(b"d/", None), (b"e/l", b"../d")], b"e/l/y", b"d/y"),
        ([(b"d/", None), (b"e/l", b"/d")], b"e/l/y", b"d/y"),
        ([(b"d/", None), (b"e/l", b"../../../d")], b"e/l/y", b"d/y"),
        ([(b"d/e/", None), (b"l", b"d/e/..")], b"l/y", b"d/y"),
        ([(b"l", b"nothing")], b"l/y", None),
        ([(b"l", b"l")], b"l/y", None),
        ([(b"a", b"b"), (b"b", b"a")], b"a/y", None),
        ([(b"f", None), (b"l", b"f")], b"l/y", None),
        ([(b"f", None), (b"l", b"f/d")], b"l/y", None),
    ],
)
def test_a_member_through_a_link_to_a_directory_is_there(
    links: list[tuple[bytes, bytes | None]], name: bytes, shown: bytes | None
) -> None:
    members = linked(*links, (name, None))
    names = [member.rstrip(b"/") for member, _ in links]
    for link, (_, target) in zip(names, links, strict=True):
        assert stat.S_ISLNK(members.mode(members.find(link))) == (target is not None)
    if shown is None:
        assert set(members.names()) == set(names)
        assert "it lies below what is no directory" in str(members.left_out)
        return
    row = members.find(shown)
    assert members.offset(row) == len(links) * 4096 + 512
    assert row in members.hard  # its own header has another name
    assert members.links_to(row) == 1
    assert members.left_out is None


def test_a_hard_link_through_a_link() -> None:
    rows = rows_of([(b"d/f", FILE), (b"l", LINK), (b"h", FILE)])
    rows.links[1], rows.hardlinks[2] = b"d", b"l/f"
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert list(members.names()) == [b"d", b"d/f", b"h", b"l"]
    assert members.owner(2) == members.owner(1)


def test_a_directory_takes_the_place_of_a_link_as_in_gnu_tar() -> None:
    members = linked((b"d/x", None), (b"l", b"d"), (b"l/1", None), (b"l/", None), (b"l/2", None))
    assert list(members.names()) == [b"d", b"d/1", b"d/x", b"l", b"l/2"]


def test_what_no_extraction_could_make_is_left_out_and_told() -> None:
    entries = [
        (b"f", FILE),
        (b"x/../f", FILE),
        (b"..", FILE),
        (b"", FILE),
        (b".", DIRECTORY),
        (b"./", DIRECTORY),
        (b"n" * 256, FILE),
        (b"d/" * 2047 + b"nn", FILE),
        (b"link", LINK),
        (b"long", LINK),
        (b"hard", FILE),
    ]
    rows = rows_of(entries)
    rows.links[8], rows.links[9], rows.hardlinks[10] = b"", b"t" * 4096, b"nothing"
    members = MemberTable(memoryview(encode_member_table(rows)))
    assert list(members.names()) == [b"f"]
    assert members.size(0) == 0  # the first one, not x/../f
    told = str(members.left_out)
    assert "2 left out, for its name has '..' in it (the first is 'x/../f' at byte 4,096)" in told
    assert "1 left out, for it has no name" in told
    assert "2 left out, for its name is longer than a path may be" in told
    assert "2 left out, for its link's target is empty, or longer" in told
    assert "1 left out, for it is a hard link to nothing (the first is 'hard'" in told


def test_a_link_that_is_too_long_once_it_is_confined_is_left_out() -> None:
    members = linked((b"d/" * 1500 + b"l", b"/" + b"t" * 1200), (b"z", None))
    assert "its link's target" in str(members.left_out)
    assert members.find(b"z") >= 0
    assert members.links == {}


def test_names_of_the_longest_are_shown() -> None:
    name = b"d/" * 2047 + b"f"
    assert len(name) == 4095
    members = members_of([(name, FILE), (name[:-1] + b"g", FILE)])
    assert members.find(name) == 2047
    assert members.name(2048) == name[:-1] + b"g"
    assert len(members) == 2049


@pytest.mark.slow
def test_deep_names_take_memory_by_their_bytes() -> None:
    """Each of a path's 2,000 directories has its own row, and not its own copy of the path."""
    entries = [(b"%04d/" % at + b"a/" * 2000 + b"f", FILE) for at in range(15)]
    tracemalloc.start()
    try:
        block = encode_member_table(rows_of(entries))
        members = MemberTable(memoryview(block))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(members) == 15 * 2002
    assert members.name(members.find(entries[14][0])) == entries[14][0]
    assert len(block) < 900_000
    assert peak < 18_000_000
