"""A table from another site: each way in which it may lie has its sentence; its members' headers
are looked at once.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imagenetfs.counters import REQUESTS
from imagenetfs.errors import ArchiveError, SourceChangedError
from imagenetfs.formats.tar.members import MemberColumns
from imagenetfs.formats.tar.walk import scan
from imagenetfs.index.archives import Extent, Kind
from imagenetfs.index.columns import meta_of, pack, unpack
from imagenetfs.index.imported import MARK, HeaderCheck, rebuild_untrusted
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.source.source import Source
from tests.helpers.tars import END, member
from tests.helpers.zips import zip_of

NAMES = [b"a.JPEG", b"b.JPEG", b"c.JPEG"]


class Site:
    """A tar of three members of 1,000 bytes, and what its table says."""

    def __init__(self, root: Path) -> None:
        self.tar = b"".join(member(name, bytes([at]) * 1000) for at, name in enumerate(NAMES)) + END
        (root / "t.tar").write_bytes(self.tar)
        self.source = Source(root)
        self.extent = Extent(b"t.tar", 0, len(self.tar), Kind.TAR)
        self.rows = MemberRows()
        found = MemberColumns()
        scan(lambda at, length: self.tar[at : at + length], 0, len(self.tar), found)
        for column in ("names", "headers", "offsets", "sizes", "mtimes", "modes"):
            getattr(self.rows, column).extend(getattr(found, column))

    def rebuilt(self, block: bytes | None = None) -> bytes:
        given = encode_member_table(self.rows) if block is None else block
        with self.source.opened(b"t.tar") as file:
            return rebuild_untrusted(given, self.extent, file, outer=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_true_table_is_told_anew_and_marked(site: Site) -> None:
    block = site.rebuilt()
    table, meta = MemberTable(memoryview(block)), meta_of(memoryview(block))
    assert list(table.names()) == NAMES
    assert (meta[MARK], meta["file"]) == (1, len(site.tar))
    assert [table.byte_range(row).length for row in range(3)] == [1000] * 3


def at_second(column: str, value: int) -> Callable[[MemberRows], None]:
    def change(rows: MemberRows) -> None:
        getattr(rows, column)[1] = value

    return change


def left_out(rows: MemberRows) -> None:
    for column in ("names", "headers", "offsets", "sizes", "mtimes", "modes"):
        del getattr(rows, column)[1]


def with_runs(*runs: tuple[int, int]) -> Callable[[MemberRows], None]:
    def change(rows: MemberRows) -> None:
        rows.sparse[1] = runs

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (at_second("headers", 10_000), "a header lies outside of the archive"),
        (at_second("headers", 2048), "a header lies outside of the archive"),  # behind its data
        (at_second("sizes", 10**9), "a member lies outside of the archive"),
        (at_second("modes", stat.S_IFLNK | 0o777), "what is no file has content"),
        (at_second("modes", stat.S_IFCHR | 0o600), "what is no file has content"),
        (left_out, r"has b\.JPEG, which its table leaves out"),
        (with_runs((0, 0), (5, 5)), "a sparse member's map is out of order"),
        (with_runs((5, 5), (8, 3)), "a sparse member's map is out of order"),
        (with_runs((0, 600), (900, 200)), "a sparse member's map goes past its end"),
        (with_runs((0, 1 << 40)), "a member lies outside of the archive"),
    ],
)
def test_what_cannot_be_true_is_refused(
    site: Site, change: Callable[[MemberRows], None], sentence: str
) -> None:
    change(site.rows)
    with pytest.raises(ArchiveError, match=sentence):
        site.rebuilt()


def test_a_sound_map_is_taken(site: Site) -> None:
    with_runs((10, 500), (510, 500))(site.rows)
    site.rows.sizes[1] = 5000
    table = MemberTable(memoryview(site.rebuilt()))
    assert table.sparse == {1: ((10, 500), (510, 500))}


def test_a_block_that_is_none(site: Site) -> None:
    for block in (b"", b"INFSCOL1", b"no block at all" * 9):
        with pytest.raises(ArchiveError):
            site.rebuilt(block)


def test_a_column_of_headers_that_is_too_long(site: Site) -> None:
    """It is not needed to tell the members anew, so that nothing else looks at its length."""
    columns, meta = unpack(memoryview(encode_member_table(site.rows)))
    columns["headers"] = np.array([*site.rows.headers, 0], dtype=np.uint32)
    with pytest.raises(ArchiveError):
        site.rebuilt(pack(columns, meta))


def test_a_strangers_words_obey_no_terminal(site: Site) -> None:
    block = encode_member_table(site.rows, {"problem": "\x1b[2Jbroken\n" + "x" * 1000})
    problem = str(meta_of(memoryview(site.rebuilt(block)))["problem"])
    assert problem.startswith(r"\x1b[2Jbroken\n" + "xx")
    assert len(problem) < 400


def test_the_table_of_a_zip_is_made_here_whatever_came(site: Site) -> None:
    data = zip_of({"x.JPEG": b"x" * 30})
    (site.source.path / "z.zip").write_bytes(data)
    with site.source.opened(b"z.zip") as file:
        extent = Extent(b"z.zip", 0, len(data), Kind.ZIP)
        block = rebuild_untrusted(b"a lie", extent, file, outer=True)
    table = MemberTable(memoryview(block))
    assert (list(table.names()), MARK in table.meta) == ([b"x.JPEG"], False)


# --- a member's header, before it is first read ---------------------------------------------------


def checked(site: Site) -> HeaderCheck:
    return HeaderCheck(site.source, site.extent, MemberTable(memoryview(site.rebuilt())))


def test_a_header_is_looked_at_once(site: Site) -> None:
    check, meter = checked(site), site.source.meter
    found = []
    for row in (0, 1, 1, 2, 1):
        before = meter[REQUESTS]
        check(row)
        found.append(meter[REQUESTS] - before)
    assert found[1:] == [1, 0, 1, 0]


def test_another_member_in_its_place_is_told_with_what_to_do(site: Site) -> None:
    site.rows.names[1] = b"other.JPEG"
    check = HeaderCheck(
        site.source, site.extent, MemberTable(memoryview(encode_member_table(site.rows)))
    )
    check(0)
    for _ in range(2):  # a refusal is not remembered as a success
        with pytest.raises(SourceChangedError, match=r"has no b'other\.JPEG' where .* remove that"):
            check(2)
