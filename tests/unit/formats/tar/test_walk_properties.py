"""Sound archives of every kind, drawn at random, against Python's tarfile."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.formats.tar.walk import MemberColumns, Walk, scan
from tests.helpers.examples import examples

NAMES = st.one_of(
    st.from_regex(r"n0[0-9]{7}_[0-9]{1,5}\.JPEG", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1),
    st.lists(st.text("abcü", min_size=1, max_size=60), min_size=1, max_size=8).map("/".join),
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 5
    + [tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
    + [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
# In eighths of a second a float is exact; one near 0 tarfile writes as 1e-05, which is no pax time.
TIMES = st.one_of(
    st.integers(0, 8**11 - 1),
    st.integers(-(2**33), 2**33),
    st.integers(-(2**33), 2**36).map(lambda eighths: eighths / 8),
)


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(NAMES))
    info.type = draw(KINDS)
    info.mtime = draw(TIMES)
    info.mode = draw(st.integers(0, 0o7777))
    info.uid = draw(st.integers(0, 2**32))
    info.uname = draw(st.sampled_from(["", "root", "someone"]))
    data = b""
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(NAMES)
    elif info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        data = bytes(draw(st.integers(0, 3000)))
    info.size = len(data)
    return info, data


def written(drawn: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for info, data in drawn:
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:
                continue  # more than this format can say; nothing is written then
    return file.getvalue()


@pytest.mark.slow
@examples(200)
@given(
    st.lists(members(), max_size=12),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_what_tarfile_reads_scan_reads(
    drawn: list[tuple[tarfile.TarInfo, bytes]], form: int
) -> None:
    archive = written(drawn, form)
    columns = MemberColumns()
    end = scan(lambda offset, length: archive[offset : offset + length], 0, len(archive), columns)
    assert archive[end:].strip(b"\0") == b""
    with tarfile.open(fileobj=io.BytesIO(archive)) as reader:
        expected = reader.getmembers()
    # tarfile takes the trailing slash off a name, and a directory's is put there by it.
    assert [name.rstrip(b"/") for name in columns.names] == [
        os.fsencode(info.name).rstrip(b"/") for info in expected
    ]
    assert columns.headers == [info.offset for info in expected]
    assert [mode & 0o7777 for mode in columns.modes] == [info.mode for info in expected]
    for i, info in enumerate(expected):
        if info.isreg():
            assert (columns.offsets[i], columns.sizes[i]) == (info.offset_data, info.size)
        assert columns.mtimes[i] / 10**9 == info.mtime
        assert columns.links.get(i) == (os.fsencode(info.linkname) if info.issym() else None)
        assert columns.hardlinks.get(i) == (os.fsencode(info.linkname) if info.islnk() else None)


@pytest.mark.slow
@examples(100)
@given(st.lists(members(), min_size=1, max_size=8), st.data())
def test_one_hop_at_a_time_and_in_two_parts_it_is_the_same(
    drawn: list[tuple[tarfile.TarInfo, bytes]], data: st.DataObject
) -> None:
    archive = written(drawn, data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))

    def read_at(offset: int, length: int) -> bytes:
        return archive[offset : offset + length]

    whole, stepped = MemberColumns(), MemberColumns()
    end = scan(read_at, 0, len(archive), whole)
    walk, position, ended = Walk(read_at, len(archive), stepped), 0, False
    while not ended:
        position, ended = walk.until(position, position + 1)
    assert position == end
    assert columns_of(stepped) == columns_of(whole)

    head, tail = MemberColumns(), MemberColumns()
    cut = data.draw(st.integers(1, len(archive)))
    landed, ended = Walk(read_at, len(archive), head).until(0, cut)
    if not ended:
        Walk(read_at, len(archive), tail).until(landed, len(archive))
    skip = data.draw(st.integers(0, len(tail)))
    for i in range(skip):  # extend takes a tail from any member on, and renumbers its links
        one = MemberColumns()
        Walk(read_at, len(archive), one).until(tail.headers[i], tail.headers[i] + 1)
        head.extend(one, 0, 1)
    middle = data.draw(st.integers(skip, len(tail)))
    head.extend(tail, skip, middle)
    head.extend(tail, middle, len(tail))
    assert columns_of(head) == columns_of(whole)


def columns_of(columns: MemberColumns) -> dict[str, object]:
    return {column: getattr(columns, column) for column in MemberColumns.__slots__}
