"""One member's headers, the careful way: what is appended, where the next header is, what it says
of what is out of form.
"""

from __future__ import annotations

import gzip
import stat

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import CutOffError
from imagenetfs.formats.tar.member_reader import MemberReader
from imagenetfs.formats.tar.members import MemberColumns, Problem
from tests.helpers.odd_tars import raw_pax
from tests.helpers.tars import END, GNU, header, member, pax


def reader(archive: bytes, end: int | None = None, *, strict: bool = False) -> MemberReader:
    return MemberReader(
        lambda offset, length: archive[offset : offset + length],
        len(archive) if end is None else end,
        MemberColumns(),
        strict=strict,
    )


def append(one: MemberReader, archive: bytes, position: int = 0) -> int | None:
    """As a walk calls it, with the block that it has read."""
    return one.append(position, archive[position : min(position + 512, one.end)])


def test_one_member_with_all_of_its_headers() -> None:
    archive = b"x" * 512 + pax((b"path", b"long/name"), (b"mtime", b"1.5")) + member(data=b"data")
    one = reader(archive)
    one.read_one(512)
    found = one.into
    assert (found.names, found.headers, found.sizes) == ([b"long/name"], [512], [4])
    assert found.offsets == [512 + 1024 + 512]  # behind two blocks of pax and its own header
    assert found.mtimes == [1_500_000_000]
    assert one.header == 512 + 1024
    assert found.problems == []


@pytest.mark.parametrize("archive", [END, b"", b"\0" * 100], ids=len)
def test_where_the_archive_ends_there_is_no_member(archive: bytes) -> None:
    assert append(reader(archive), archive) is None
    with pytest.raises(ArchiveError, match="the archive ends here") as caught:
        reader(archive).read_one(0)
    assert caught.value.offset == 0


def test_the_next_header_is_behind_the_padding() -> None:
    for size, expected in ((0, 512), (1, 1024), (512, 1024), (513, 1536)):
        archive = member(data=b"d" * size)
        assert append(reader(archive), archive) == expected


@pytest.mark.parametrize("missing", [1, 511, 512, 513])
def test_a_member_that_the_end_cuts_off(missing: int) -> None:
    archive = member(data=b"d" * 1024)
    one = reader(archive, len(archive) - missing)
    with pytest.raises(CutOffError, match="member of 1,024 bytes, cut off by the end") as caught:
        one.read_one(0)
    assert caught.value.offset == 0
    assert len(one.into) == 0


def test_padding_alone_may_be_missing() -> None:
    archive = member(data=b"d" * 100)
    one = reader(archive, 612)
    assert append(one, archive) == 1024
    assert one.into.sizes == [100]


def test_a_header_that_the_end_cuts_off() -> None:
    archive = member()
    with pytest.raises(CutOffError, match="cut off within a header"):
        reader(archive, 300).read_one(0)


def test_an_extended_header_of_nothing() -> None:
    """It is told where it begins, and not where the member should be."""
    archive = b"x" * 512 + pax((b"path", b"name")) + END
    with pytest.raises(ArchiveError, match="extended header with no member behind it") as caught:
        reader(archive).read_one(512)
    assert caught.value.offset == 512


def test_what_is_no_header_is_told_by_its_checksum_or_as_compressed() -> None:
    squeezed = gzip.compress(b"a tar" * 1000).ljust(512, b"x")
    one = reader(squeezed)
    with pytest.raises(CutOffError, match="this is no tar, but compressed with gzip"):
        one.read_one(0)
    one.has_begun = True  # in the midst of an archive such bytes mean nothing
    with pytest.raises(ArchiveError, match="its checksum does not hold"):
        one.read_one(0)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"\n <html>", b'<?xml version="1.0"?>'])
def test_a_web_page_in_the_place_of_an_archive_is_told_as_one(page: bytes) -> None:
    with pytest.raises(CutOffError, match="this is a web page"):
        reader(page.ljust(1024, b"x")).read_one(0)


def test_a_global_header_is_taken_in_and_is_no_member() -> None:
    archive = pax((b"path", b"for/all"), (b"mtime", b"3"), kind=b"g") + member(b"own")
    one = reader(archive)
    behind = append(one, archive)
    assert (behind, len(one.into)) == (1024, 0)
    one.read_one(1024)
    assert one.into.mtimes == [3_000_000_000]


def test_a_hard_link_has_data_only_where_some_stands() -> None:
    """GNU tar writes a size and no data, bsdtar writes both."""
    link = header(b"hard", 0, b"1", link=b"own")
    head = pax((b"size", b"5")) + link
    for behind, expected in ((b"bytes".ljust(512, b"\0"), 2048), (member(b"next"), 1536)):
        archive = head + behind + END
        one = reader(archive)
        assert append(one, archive) == expected
        assert one.into.hardlinks == {0: b"own"}
        assert (one.into.sizes, stat.S_ISREG(one.into.modes[0])) == ([0], True)
    assert append(reader(head), head) == 1536  # nothing stands there at all


def test_what_is_passed_over_is_noted_up_to_the_end() -> None:
    one = reader(b"x" * 1000)
    one.leave_out(ArchiveError("odd", 600), 512, 1536)
    assert one.into.problems == [Problem(512, 488, "odd")]


def test_a_strict_reader_passes_over_nothing() -> None:
    error = ArchiveError("odd", 600)
    with pytest.raises(ArchiveError) as caught:
        reader(b"x" * 1000, strict=True).leave_out(error, 512, 1536)
    assert caught.value is error


def test_a_bad_record_is_told_and_its_member_is_there_unless_the_reader_is_strict() -> None:
    archive = raw_pax(b"no record") + member(b"name", b"data")
    one = reader(archive)
    one.read_one(0)
    assert (one.into.names, one.into.sizes) == ([b"name"], [4])
    [problem] = one.into.problems
    assert (problem.length, problem.reason) == (0, "pax record without a length")
    with pytest.raises(ArchiveError, match="without a length"):
        reader(archive, strict=True).read_one(0)


def test_a_sparse_member_whose_map_is_wrong_is_left_out_and_the_walk_goes_on() -> None:
    fields = {386: b"%011o\0%011o\0" % (0, 512), 483: b"%011o\0" % 10}  # beyond its size
    archive = header(b"s", 512, b"S", magic=GNU, fields=fields) + b"d" * 512 + member(b"next")
    one = reader(archive)
    assert append(one, archive) == 1024
    [problem] = one.into.problems
    assert (problem.offset, problem.length, len(one.into)) == (0, 1024, 0)
