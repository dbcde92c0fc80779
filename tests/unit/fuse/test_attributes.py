"""What the kernel reads of attributes and entries, unpacked field by
field as linux/fuse.h has it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.fuse.attributes import (
    DIRECTORY_BLOCK,
    FILE_BLOCK,
    KEEP_SECONDS,
    AttributePacker,
    EntryPacker,
)
from imagenetfs.index.columns import Array
from imagenetfs.tree.inode import class_inode
from imagenetfs.tree.listing import Attributes, Columns, Entry, columns_of
from tests.helpers.examples import examples

_ENTRY = struct.Struct("=QQQQII")
_ATTR = struct.Struct("=QQQqqqIIIIIIIIII")
_DIRENT = struct.Struct("=QQII")
_FULL = _ENTRY.size + _ATTR.size + _DIRENT.size

_FILE, _DIRECTORY = stat.S_IFREG | 0o444, stat.S_IFDIR | 0o555

_ENTRIES = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40),
        st.integers(2**60, 2**63 - 1),
        st.builds(
            Attributes,
            st.sampled_from([_FILE, _DIRECTORY, stat.S_IFLNK | 0o777]),
            st.integers(0, 2**50),
            st.integers(-(2**40), 2**62),
            st.integers(1, 1000),
        ),
    ),
    max_size=20,
)


def check_attr(data: bytes, inode: int, what: Attributes) -> None:
    fields = _ATTR.unpack(data)
    seconds, nanoseconds = divmod(what.mtime_ns, 10**9)
    assert fields[:6] == (inode, what.size, (what.size + 511) // 512, *[seconds] * 3)
    assert fields[6:9] == (nanoseconds,) * 3
    assert fields[9:14] == (what.mode, what.nlink, os.geteuid(), os.getegid(), 0)
    block = DIRECTORY_BLOCK if stat.S_ISDIR(what.mode) else FILE_BLOCK
    assert fields[14:] == (block, 0)


def unpacked(data: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...], bytes]]:
    """(name, offset of the next entry, entry_out without attributes, attributes) of each entry."""
    at = 0
    while at < len(data):
        head = _ENTRY.unpack_from(data, at)
        attr = data[at + _ENTRY.size : at + _ENTRY.size + _ATTR.size]
        inode, offset, length, kind = _DIRENT.unpack_from(data, at + _ENTRY.size + _ATTR.size)
        assert inode == head[0] == _ATTR.unpack(attr)[0]
        assert kind == _ATTR.unpack(attr)[9] >> 12
        name = data[at + _FULL : at + _FULL + length]
        padding = -length % 8
        assert data[at + _FULL + length : at + _FULL + length + padding] == bytes(padding)
        yield name, offset, head, attr
        at += _FULL + length + padding
    assert at == len(data)


class ListingOf:
    """A listing of given entries."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, start: int) -> Iterator[Entry]:
        return iter(self._entries[start:])

    def columns(self, start: int, stop: int) -> Columns:
        self.asked.append(start)
        return columns_of(self._entries[start:stop])

    def sizes(self) -> Array:
        raise NotImplementedError

    def find(self, name: bytes) -> int | None:
        raise NotImplementedError


@examples()
@given(st.integers(2**60, 2**63 - 1), _ENTRIES.filter(bool), st.booleans())
def test_single_answers(inode: int, entries: list[Entry], keep: bool) -> None:
    what, seconds = entries[0][2], KEEP_SECONDS if keep else 0
    entry = AttributePacker().entry(inode, what, keep)
    assert _ENTRY.unpack_from(entry) == (inode, 0, seconds, seconds, 0, 0)
    check_attr(entry[_ENTRY.size :], inode, what)
    attributes = AttributePacker().attributes(inode, what, keep)
    assert struct.unpack_from("=QII", attributes) == (seconds, 0, 0)
    check_attr(attributes[16:], inode, what)


@examples()
@given(_ENTRIES, st.integers(0, 10**6))
def test_entries_of_a_directory(entries: list[Entry], first: int) -> None:
    data, ends = EntryPacker().packed(columns_of(entries), first)
    found = list(unpacked(data.tobytes()))
    assert [name for name, _, _, _ in found] == [name for name, _, _ in entries]
    assert [offset for _, offset, _, _ in found] == list(range(first + 1, first + 1 + len(entries)))
    for (_, inode, what), (_, _, head, attr) in zip(entries, found, strict=True):
        assert head == (inode, 0, KEEP_SECONDS, KEEP_SECONDS, 0, 0)
        check_attr(attr, inode, what)
    assert ends.tolist() == [
        sum(_FULL + len(name) + -len(name) % 8 for name, _, _ in entries[: at + 1])
        for at in range(len(entries))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("size", [200, 4096, 32768, 1 << 20])
def test_a_directory_is_listed_whole_whatever_the_buffer(size: int) -> None:
    entries = [
        (b"n%d.JPEG" % at, at + 10, Attributes(_FILE, at, at * 10**9, 1)) for at in range(5000)
    ]
    listing, packer = ListingOf(entries), EntryPacker()
    found: list[bytes] = []
    while True:
        data = bytes(packer.entries(1, listing, len(found), size))
        if not data:
            break
        assert len(data) <= size
        found += [name for name, _, _, _ in unpacked(data)]
    assert found == [name for name, _, _ in entries]
    assert len(listing.asked) == 4  # a window is packed once, and then the end is seen


def test_windows_of_several_directories_side_by_side() -> None:
    listings = [
        ListingOf((b"%d-%d" % (which, at), 1, Attributes(_FILE, 0, 0, 1)) for at in range(100))
        for which in range(20)
    ]
    packer = EntryPacker()
    for position in range(0, 100, 7):
        for which, listing in enumerate(listings):
            data = bytes(packer.entries(which, listing, position, 160))
            assert [name for name, _, _, _ in unpacked(data)] == [b"%d-%d" % (which, position)]


def test_what_must_not_be_kept() -> None:
    entries = [(b"a", 5, Attributes(_FILE, 1, 0, 1)), (b"b", 6, Attributes(_FILE, 1, 0, 1))]
    some = columns_of(entries)._replace(keep=columns_of(entries).sizes.astype(bool) & [True, False])
    data, _ = EntryPacker().packed(some, 0)
    valid = [(head[2], head[3]) for _, _, head, _ in unpacked(data.tobytes())]
    assert valid == [(KEEP_SECONDS, KEEP_SECONDS), (0, 0)]


def test_names_of_versions_and_splits_are_asked_for_again() -> None:
    directory, file = Attributes(_DIRECTORY, 0, 0, 2), Attributes(_FILE, 1, 0, 1)
    in_class = class_inode(1, 2)
    entries = [
        (b"train", 7, directory),
        (b"wnids.txt", 8, file),
        (b"n01440764", in_class, directory),
    ]
    kept, revisited = (KEEP_SECONDS, KEEP_SECONDS, 0, 0), (1, KEEP_SECONDS, 500_000_000, 0)
    data, _ = EntryPacker(revisit=1.5).packed(columns_of(entries), 0)
    heads = [head[2:] for _, _, head, _ in unpacked(data.tobytes())]
    assert heads == [revisited, kept, kept]
    packer = AttributePacker(revisit=1.5)
    single = [_ENTRY.unpack_from(packer.entry(number, what))[2:] for _, number, what in entries]
    assert single == heads
