"""The header walk on archives written by hand: where archives end, and the kinds of members.

Extended headers are in test_extended.py, what the tools write in test_walk_tools.py, what
nobody should write in tests/faults.
"""

from __future__ import annotations

import stat
from functools import partial

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar import walk
from imagenetfs.formats.tar.walk import MemberColumns, Problem, scan
from tests.helpers.tars import END, GNU, USTAR, V7, header, member, padded, pax, refused, scanned

# --- plain members --------------------------------------------------------------------------------


@pytest.mark.parametrize("magic", [USTAR, GNU, V7])
def test_a_plain_archive(magic: bytes) -> None:
    archive = b"".join(member(b"%d.JPEG" % i, b"d" * i * 100, magic=magic) for i in range(20)) + END
    columns = scanned(archive)
    assert columns.names == [b"%d.JPEG" % i for i in range(20)]
    assert columns.sizes == [i * 100 for i in range(20)]
    assert columns.modes == [stat.S_IFREG | 0o644] * 20
    assert columns.mtimes == [7 * 10**9] * 20
    for i in range(20):
        assert columns.offsets[i] == columns.headers[i] + 512
        assert archive[columns.offsets[i] :].startswith(b"d" * i * 100)


def _piece(archive: bytes, offset: int, length: int) -> bytes:
    return archive[offset : offset + length]


def test_what_scan_returns_is_where_the_end_marker_begins() -> None:
    archive = member(data=b"1") + member(data=b"2")
    for behind in (END, b"", b"\0" * 512, END + b"garbage" * 1000):
        data = archive + behind
        end = scan(partial(_piece, data), 0, len(data), MemberColumns())
        assert end == len(archive)


def test_one_read_of_512_bytes_a_member_and_two_for_the_end() -> None:
    archive = b"".join(member(b"%d" % i, b"x" * 5000) for i in range(50)) + END
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return archive[offset : offset + length]

    columns = MemberColumns()
    end = scan(read_at, 0, len(archive), columns)
    assert reads == [(offset, 512) for offset in [*columns.headers, end, end + 512]]


def test_an_archive_within_another_file_at_any_offset() -> None:
    inner = member(b"in", b"1234") + END
    columns = scanned(b"#" * 77 + inner + b"#" * 900, 77, 77 + len(inner))
    assert (columns.headers, columns.offsets, columns.sizes) == ([77], [589], [4])


def test_the_short_way_and_the_long_way_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [
        member(b"slash/"),
        member(b"n" * 100, b"all of the field"),
        header(b"", 0),
        header(b"eight", b"00000000008\0") * 0,
        header(b"blank", b"          3 ", mtime=b"          9 ") + padded(b"abc"),
        header(b"junk behind\0name", 3) + padded(b"abc"),
        header("é".encode("latin-1"), 3) + padded(b"abc"),
        header(b"twelve", b"000000000003") + padded(b"abc"),
        header(b"no time", 3, mtime=b"9" * 11 + b"\0") + padded(b"abc"),
        header(b"prefix", 0, fields={345: b"dir"}),
        pax((b"path", b"other")) + member(b"x"),
        pax((b"mtime", b"5.25"), kind=b"g"),
    ]
    archive = b"".join(member(b"plain", b"p") + member(b"plain", b"p") + block for block in odd)
    archive += member(b"plain") * 2 + END
    short = scanned(archive)
    monkeypatch.setattr(walk, "rest_of", lambda block: None)
    long = scanned(archive)
    for column in MemberColumns.__slots__:
        assert getattr(short, column) == getattr(long, column), column
    assert len(short) == 2 * len(odd) + len(odd) - 2 + 2
    assert short.mtimes[-1] == 5_250_000_000


# --- where archives end ---------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [512, 1024, 10_240, 3 << 20])
def test_members_behind_zeros_are_shown_and_told(zeros: int) -> None:
    """As GNU tar with --ignore-zeros: a hole in a download, two archives put together."""
    columns = scanned(member(b"a") + b"\0" * zeros + member(b"b", b"1") + END + member(b"c") + END)
    assert columns.names == [b"a", b"b", b"c"]
    assert [problem[:2] for problem in columns.problems] == [
        (512, zeros),
        (512 + zeros + 1024, 1024),
    ]
    assert "3,584 bytes behind them" in str(columns.problems[0])
    assert f"{zeros:,} bytes left out" in str(columns.problems[0])


@pytest.mark.parametrize("zeros", [512, 9728 + 512, 3 << 20])
@pytest.mark.parametrize("behind", [b"junk" * 5000, b"x", b"\0" * 700 + b"\1" + b"\0" * 2000])
def test_what_is_no_member_behind_zeros_is_no_member_and_told(zeros: int, behind: bytes) -> None:
    """A hole that swallowed every header behind it, with the last member's data left."""
    archive = member(b"a") + b"\0" * zeros + behind
    columns = scanned(archive)
    assert columns.names == [b"a"]
    [problem] = columns.problems
    assert problem[:2] == (512, len(archive) - 512)
    assert "bytes with no header among them" in problem.reason


@pytest.mark.parametrize("padding", [0, 100, 512, 9216, 3 << 20])
def test_zeros_alone_behind_the_end_are_its_padding(padding: int) -> None:
    assert scanned(member(b"a") + END + b"\0" * padding).problems == []


def test_a_hole_at_the_beginning() -> None:
    columns = scanned(b"\0" * 20_480 + member(b"b") + END)
    assert columns.names == [b"b"]
    assert [problem[:2] for problem in columns.problems] == [(0, 20_480)]


def test_an_archive_of_nothing_but_an_end_marker_is_empty() -> None:
    columns = scanned(END)
    assert (len(columns), columns.problems) == (0, [])


def test_a_hole_over_every_header_is_told() -> None:
    columns = scanned(b"\0" * 20_480 + b"\xff" * 5000)
    assert len(columns) == 0
    assert [problem[:2] for problem in columns.problems] == [(0, 25_480)]


@pytest.mark.parametrize("archive", [b"", b"abc", b"\0" * 100, b"\xff\xd8JPEG" * 200, b"a" * 512])
def test_what_is_no_archive_is_refused_at_its_first_byte(archive: bytes) -> None:
    columns, error = refused(archive)
    assert len(columns) == 0
    assert error.offset == 0


def test_the_padding_of_the_last_member_may_be_missing() -> None:
    archive = member(b"a", b"1" * 513)[: 512 + 513]
    end = scan(lambda o, n: archive[o : o + n], 0, len(archive), columns := MemberColumns())
    assert (end, columns.sizes) == (len(archive), [513])


def test_a_member_that_is_cut_off_is_not_shown() -> None:
    whole = member(b"a", b"1" * 100)
    columns, error = refused(whole + member(b"b", b"2" * 1000)[: 512 + 999])
    assert columns.names == [b"a"]
    assert error.offset == len(whole)
    assert "cut off" in error.reason


def test_a_file_that_became_shorter_than_was_said_is_cut_off() -> None:
    archive = member(b"a", b"1") + END
    with pytest.raises(ArchiveError, match="cut off"):
        scan(lambda o, n: archive[:1024][o : o + n], 0, len(archive), MemberColumns())


def test_half_a_header_at_the_end_is_an_error_and_a_few_zeros_are_not() -> None:
    assert refused(member(b"a") + member(b"b")[:300])[1].offset == 512
    assert scanned(member(b"a") + b"\0" * 100).names == [b"a"]


def test_an_extended_header_with_no_member_behind_it() -> None:
    pending = pax((b"path", b"p"))
    for behind in (b"", END, b"\0" * 100):
        columns, error = refused(member(b"a") + pending + behind)
        assert columns.names == [b"a"]
        assert error.offset == 512


def test_a_wrong_checksum_in_the_middle() -> None:
    broken = bytearray(header(b"b"))
    broken[0] ^= 1
    columns = scanned(member(b"a") + bytes(broken) + member(b"c") * 100 + END)
    assert columns.names == [b"a"] + [b"c"] * 100
    assert columns.problems == [Problem(512, 512, "no tar header here: its checksum does not hold")]
    columns, error = refused(member(b"a") + bytes(broken) + END)  # nothing sound behind it
    assert (columns.names, error.offset, columns.problems) == ([b"a"], 512, [])


@pytest.mark.parametrize("broken", [0, 1, 57, 99])
def test_one_flipped_bit_costs_one_member(broken: int) -> None:
    members = [member(b"%d" % i, b"\xff" * 2000) for i in range(100)]
    members[broken] = bytes([members[broken][0] ^ 1]) + members[broken][1:]
    archive = b"".join(members) + END
    names = [b"%d" % i for i in range(100) if i != broken]
    if broken == 99:
        assert refused(archive)[0].names == names
        return
    columns = scanned(archive)
    assert columns.names == names
    assert [problem[:2] for problem in columns.problems] == [(broken * 2560, 2560)]


def test_what_is_cut_off_is_not_searched_for_members() -> None:
    """What a tar within a tar that is cut off holds is no member of the outer one."""
    inner = b"".join(member(b"image", b"\xff" * 600) for _ in range(20))
    columns, error = refused(member(b"a") + member(b"inner.tar", inner)[:9000])
    assert (columns.names, error.offset) == ([b"a"], 512)


@pytest.mark.slow
def test_a_search_reads_little_more_than_once() -> None:
    broken = b"\xff" * 512
    archive = b"".join(member(b"%d" % i) + broken * (i % 3 + 1) for i in range(2000)) + END
    read = 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return archive[offset : offset + length]

    columns = MemberColumns()
    with pytest.raises(ArchiveError):
        scan(read_at, 0, len(archive), columns)
    assert columns.names == [b"%d" % i for i in range(2000)]
    assert len(columns.problems) == 1999
    assert read < 3 * len(archive)


def test_what_is_no_tar_is_not_searched_far() -> None:
    read = 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return b"\xff" * length

    with pytest.raises(ArchiveError, match="no tar header here"):
        scan(read_at, 0, 1 << 40, MemberColumns())
    assert read < 10 << 20


# --- sizes --------------------------------------------------------------------------------------


def test_negative_and_enormous_sizes_are_refused() -> None:
    for size in (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"\x80\0\0\0" + b"\xff" * 8):
        for kind in b"0LKxgDMV7Z":
            block = header(b"x", size, bytes([kind]))
            assert refused(block + padded(b"x") + END)[1].offset == 0
            columns = scanned(block + member(b"next") + END) if size[0] == 0xFF else None
            assert columns is None or columns.names == [b"next"]


def _either_end(first: bytes, behind: int, last: bytes, offset: int, length: int) -> bytes:
    """Read from an archive of which only both ends are there: ``last`` begins at ``behind``."""
    if offset < behind:
        return _piece(first, offset, length)
    return _piece(last, offset - behind, length)


def test_members_over_8_gib() -> None:
    size = 9 << 30
    for blocks in (
        header(b"big", b"\x80" + size.to_bytes(11, "big")),
        pax((b"size", b"%d" % size)) + header(b"big", 0),
    ):
        behind = len(blocks) + size
        last = header(b"last", 3) + padded(b"abc") + END

        columns = MemberColumns()
        scan(partial(_either_end, blocks, behind, last), 0, behind + len(last), columns)
        assert columns.names == [b"big", b"last"]
        assert columns.sizes == [size, 3]


# --- kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "format_bits"),
    [
        (b"0", stat.S_IFREG),
        (b"\0", stat.S_IFREG),
        (b"7", stat.S_IFREG),
        (b"Z", stat.S_IFREG),
        (b"1", stat.S_IFREG),
        (b"2", stat.S_IFLNK),
        (b"3", stat.S_IFCHR),
        (b"4", stat.S_IFBLK),
        (b"5", stat.S_IFDIR),
        (b"6", stat.S_IFIFO),
        (b"D", stat.S_IFDIR),
        (b"A", stat.S_IFREG),
    ],
)
def test_kinds(kind: bytes, format_bits: int) -> None:
    fields = {100: b"0106755\0"}  # version 7 kept the file's type in its mode; the flag decides
    columns = scanned(header(b"x", 0, kind, link=b"to", fields=fields) + member(b"next") + END)
    assert columns.modes[0] == format_bits | 0o6755
    assert columns.names == [b"x", b"next"]
    assert columns.links == ({0: b"to"} if kind == b"2" else {})
    assert columns.hardlinks == ({0: b"to"} if kind == b"1" else {})


def test_a_directory_has_no_data_whatever_its_size_says() -> None:
    assert scanned(header(b"d/", 5000, b"5") + member(b"next") + END).names == [b"d/", b"next"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(b"23456"))
@pytest.mark.parametrize("size", [1, 6, 512, 600, b"no number!!\0", b"\xff" * 12])
def test_what_has_no_data_has_none_whatever_its_size_says(kind: int, size: int | bytes) -> None:
    archive = header(b"x", size, bytes([kind]), link=b"target") + member(b"one", b"1") + END
    columns = scanned(archive)
    assert (columns.names, columns.sizes) == ([b"x", b"one"], [0, 1])
    assert columns.problems == []


@pytest.mark.parametrize("kind", list(b"\x0007"))
def test_a_directory_of_version_7_has_no_data(kind: int) -> None:
    for magic in (V7, USTAR, GNU):
        first = header(b"one/", 700, bytes([kind]), magic=magic)
        columns = scanned(first + member(b"two/", kind=bytes([kind]), magic=magic) + END)
        assert columns.names == [b"one/", b"two/"]
        assert [stat.S_IFMT(mode) for mode in columns.modes] == [stat.S_IFDIR] * 2


def test_a_hard_link_has_data_only_if_pax_says_so() -> None:
    plain = header(b"l", 5, b"1", link=b"x") + member(b"next") + END
    without = pax((b"size", b"5")) + header(b"l", 0, b"1", link=b"x") + member(b"next") + END
    with_data = pax((b"size", b"5")) + header(b"l", 0, b"1", link=b"x") + padded(b"12345")
    for archive in (plain, without, with_data + member(b"next") + END):
        columns = scanned(archive)
        assert columns.names == [b"l", b"next"]
        assert columns.sizes == [0, 0]


def test_a_dumpdir_is_a_directory_and_its_list_is_passed_over() -> None:
    columns = scanned(member(b"d/", b"Yfile\0\0", b"D", magic=GNU) + member(b"next") + END)
    assert columns.names == [b"d/", b"next"]
    assert columns.sizes == [0, 0]


def test_volume_labels_and_continued_members_are_not_shown() -> None:
    archive = member(b"label", b"", b"V") + member(b"rest", b"x" * 600, b"M") + member(b"a") + END
    assert scanned(archive).names == [b"a"]


def test_a_regular_name_with_a_trailing_slash_is_a_directory() -> None:
    for magic in (V7, USTAR, GNU):
        columns = scanned(header(b"old/", 0, b"\0", magic=magic) + member(b"next") + END)
        assert columns.modes[0] == stat.S_IFDIR | 0o644
        assert columns.names[0] == b"old/"


def test_only_posix_magic_makes_a_prefix() -> None:
    for magic, name in ((USTAR, b"dir/x"), (b"ustar\0  ", b"dir/x"), (GNU, b"x"), (V7, b"x")):
        assert scanned(header(b"x", 0, magic=magic, fields={345: b"dir"}) + END).names == [name]
    full = header(b"n" * 100, 0, fields={345: b"p" * 155})
    assert scanned(full + END).names == [b"p" * 155 + b"/" + b"n" * 100]


def test_a_mode_and_a_time_that_are_no_numbers_count_as_zero() -> None:
    columns = scanned(header(b"x", 0, mtime=b"yesterday   ", fields={100: b"rw-r--r-"}) + END)
    assert (columns.modes, columns.mtimes) == ([stat.S_IFREG], [0])
