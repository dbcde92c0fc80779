"""The quick way to a table: the same, to the byte, as by extracting member after member."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.index import member_encoder
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.plain_tree import plain_layout
from tests.helpers.examples import examples

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


def rows_of(*names: bytes) -> MemberRows:
    """A name that ends in a slash is a directory."""
    rows = MemberRows()
    for number, name in enumerate(names, 1):
        rows.names.append(name)
        rows.headers.append(1024 * number)
        rows.offsets.append(1024 * number + 512)
        rows.sizes.append(0 if name.endswith(b"/") else number)
        rows.mtimes.append(number)
        rows.modes.append(DIRECTORY if name.endswith(b"/") else FILE)
    return rows


def slowly(rows: MemberRows) -> bytes:
    """By extraction."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(member_encoder, "plain_layout", lambda rows: None)
        return encode_member_table(rows)


PARTS = st.sampled_from([b"a", b"b", b"a.b", b"a-", b"\xff", b"n01440764", b"", b".", b".."])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)


@examples()
@given(st.lists(NAMES, max_size=9))
def test_as_by_extraction(names: list[bytes]) -> None:
    rows = rows_of(*names)
    assert encode_member_table(rows) == slowly(rows)


SOUND = (b"a/", b"a/b", b"a/b/", b"a/c/d", b"a.b/c", b"e", b"f/g/h/")


@examples()
@given(st.lists(st.sampled_from(SOUND), unique=True))
def test_of_plain_names_too(names: list[bytes]) -> None:
    rows = rows_of(*names)
    assert encode_member_table(rows) == slowly(rows)


@pytest.mark.parametrize(
    "names",
    [
        (),
        (b"a",),
        (b"train/n01/x", b"train/n02/y", b"train/n01/z"),
        (b"train/", b"train/n01/", b"train/n01/x", b"val/y"),
        (b"a/b/c/d/e",),
        (b"a.b/x", b"a/x", b"a-/x", b"a/y/z"),
    ],
)
def test_these_go_the_quick_way(names: tuple[bytes, ...]) -> None:
    rows = rows_of(*names)
    assert plain_layout(rows) is not None
    assert encode_member_table(rows) == slowly(rows)


@pytest.mark.parametrize(
    "names",
    [
        (b"a", b"a"),
        (b"a", b"a/b"),
        (b"a/b", b"a"),
        (b"./a",),
        (b"/a/b",),
        (b"a//b",),
        (b"a/../b",),
        (b"..",),
        (b"./",),
        (b"a/", b"a"),
        (b"a" * 256,),
        (b"d" * 256 + b"/a",),
        (b"d/" * 2000 + b"a",),
    ],
)
def test_these_do_not(names: tuple[bytes, ...]) -> None:
    assert plain_layout(rows_of(*names)) is None


@pytest.mark.parametrize("odd", ["links", "hardlinks", "refused"])
def test_nor_do_links_and_what_cannot_be_read(odd: str) -> None:
    rows = rows_of(b"a/b", b"c")
    getattr(rows, odd)[1] = b"a/b"
    assert plain_layout(rows) is None
