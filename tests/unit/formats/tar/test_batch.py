"""Headers that are taken in many at a time: the same as one after the other,
whatever stands in them.
"""

from __future__ import annotations

import errno
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar import walk
from imagenetfs.formats.tar.walk import MemberColumns, scan
from tests.helpers.examples import examples
from tests.helpers.tars import END, header, member, padded

FIELDS = (
    0,
    1,
    40,
    99,
    100,
    107,
    124,
    130,
    134,
    135,
    136,
    146,
    147,
    148,
    153,
    154,
    155,
    156,
    157,
    345,
    511,
)
VALUES = (0, 32, 47, 48, 55, 56, 57, 65, 127, 128, 255)


def found(archive: bytes) -> tuple[dict[str, object], tuple[int, str] | None, int]:
    """The columns, what was wrong, and how many reads it took."""
    reads = 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        assert 0 <= offset <= len(archive)
        return archive[offset : offset + length]

    columns, wrong = MemberColumns(), None
    try:
        scan(read_at, 0, len(archive), columns)
    except ArchiveError as error:
        wrong = error.offset, error.reason
    return {name: getattr(columns, name) for name in MemberColumns.__slots__}, wrong, reads


def one_by_one(archive: bytes) -> tuple[dict[str, object], tuple[int, str] | None, int]:
    """The same, with no member that is taken for a plain one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "rest_of", lambda block: None)
        return found(archive)


def changed(block: bytes, at: int, value: int, mend: bool) -> bytes:
    """A header with one byte changed, and a checksum that holds again if it is to be mended."""
    block = block[:at] + bytes([value]) + block[at + 1 :]
    if not mend:
        return block
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


@pytest.mark.slow
@examples(400)
@given(
    st.integers(2, 24),
    st.lists(
        st.tuples(
            st.integers(0, 23),
            st.one_of(st.sampled_from(FIELDS), st.integers(0, 511)),
            st.one_of(st.sampled_from(VALUES), st.integers(0, 255)),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.integers(0, 1023),
)
def test_as_one_by_one(count: int, changes: list[tuple[int, int, int, bool]], cut: int) -> None:
    blocks = [header(b"n0_%d.JPEG" % n, n % 3 * 300) for n in range(count)]
    for number, at, value, mend in changes:
        blocks[number % count] = changed(blocks[number % count], at, value, mend)
    content = [padded(b"x" * (n % 3 * 300)) for n in range(count)]
    archive = b"".join(a + b for a, b in zip(blocks, content, strict=True)) + END
    archive = archive[: len(archive) - cut]
    assert found(archive)[:2] == one_by_one(archive)[:2]


@pytest.mark.parametrize(
    "mode", [b"0000755\0", b"   644 \0", b"100644 \0", b"\0" * 8, b"nothing\0"]
)
def test_modes_that_differ(mode: bytes) -> None:
    plain = [header(b"a%d" % n, 0) for n in range(20)]
    odd = header(b"odd", 0)
    odd = changed(odd[:100] + mode + odd[108:], 0, odd[0], True)
    archive = b"".join([*plain, odd, *plain, odd]) + END
    assert found(archive)[:2] == one_by_one(archive)[:2]
    # A read a member, one for the end, and one for what is behind it.
    assert found(archive)[2] == 42 + 2


@pytest.mark.parametrize(
    "text", [b"%06o\0 ", b"%07o\0", b"%06o  ", b" %05o\0 ", b"%08o", b"0%05o \0"]
)
def test_checksums_in_any_form(text: bytes) -> None:
    blocks = [header(b"a%d" % n, 0) for n in range(20)]
    sums = [sum(block[:148]) + 8 * 32 + sum(block[156:]) for block in blocks]
    archive = b"".join(
        block[:148] + text % total + block[156:] for block, total in zip(blocks, sums, strict=True)
    )
    columns, wrong, reads = found(archive + END)
    assert wrong is None
    assert columns["names"] == [b"a%d" % n for n in range(20)]
    assert reads == 20 + 2


def test_a_read_a_member() -> None:
    archive = b"".join(member(b"n%05d.JPEG" % n, b"x" * (n % 700)) for n in range(5000)) + END
    columns, wrong, reads = found(archive)
    assert wrong is None
    assert columns["names"] == [b"n%05d.JPEG" % n for n in range(5000)]
    assert reads == 5000 + 2


@pytest.mark.slow
def test_nothing_is_read_twice() -> None:
    """Directories as version 7 had them look like plain members until the end of
    their names is looked at.
    """
    members = [b"d%d/" % n if n % 3 == 2 else b"f%d" % n for n in range(3000)]
    archive = b"".join(member(name) for name in members) + END
    columns, wrong, reads = found(archive)
    assert wrong is None
    assert columns["names"] == members
    modes = columns["modes"]
    assert isinstance(modes, list)
    assert [stat.S_ISDIR(mode) for mode in modes] == [name.endswith(b"/") for name in members]
    assert reads == len(members) + 2


def test_what_cannot_be_read_behind_a_broken_header_does_not_matter() -> None:
    """The header's size leads to where the disk is bad; its checksum says
    that nothing leads anywhere.
    """
    blocks = [header(b"n%d.JPEG" % n, 0) for n in range(5)]
    broken = changed(header(b"broken", 1 << 20), 3, 65, mend=False)
    archive = b"".join([*blocks, broken, header(b"next", 1 << 24)])

    def read_at(offset: int, length: int) -> bytes:
        if len(archive) <= offset < 1 << 24:
            raise OSError(errno.EIO, "bad disk")
        return archive[offset : offset + length]

    columns = MemberColumns()
    scan(read_at, 0, (1 << 24) + len(archive), columns)
    assert columns.names == [*(b"n%d.JPEG" % n for n in range(5)), b"next"]
    assert [problem[:2] for problem in columns.problems] == [(2560, 512)]

    sound = MemberColumns()
    archive = b"".join(blocks)
    with pytest.raises(OSError, match="bad disk"):
        scan(read_at, 0, 1 << 20, sound)
    assert sound.names == columns.names[:5]
