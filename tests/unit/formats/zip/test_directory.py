"""The central directory, compared with Python's zipfile and taken apart where it is damaged."""

from __future__ import annotations

import io
import struct
import zipfile
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.formats.zip.directory import ZipMembers, read_directory
from tests.helpers.examples import examples
from tests.helpers.zips import Member, raw_zip


def members_of(data: bytes) -> ZipMembers:
    return read_directory(lambda offset, length: data[offset : offset + length], 0, len(data))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), min_size=1, max_size=40)


@pytest.mark.slow
@examples()
@given(
    st.dictionaries(NAMES, st.tuples(st.binary(max_size=300), st.booleans()), max_size=8),
    st.booleans(),
    st.binary(max_size=50).filter(lambda before: b"PK" not in before),
)
def test_as_python_reads_it(
    files: dict[str, tuple[bytes, bool]], zip64: bool, before: bytes
) -> None:
    buffer = io.BytesIO()
    buffer.write(before)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, (data, deflated) in files.items():
            info = zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6))
            info.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            with archive.open(info, "w", force_zip64=zip64) as out:
                out.write(data)
    found = members_of(buffer.getvalue())
    with zipfile.ZipFile(buffer) as archive:
        infos = archive.infolist()
        assert found.names == [info.orig_filename.encode() for info in infos]
        for column, attribute in (
            (found.sizes, "file_size"),
            (found.packed, "compress_size"),
            (found.crcs, "CRC"),
            (found.methods, "compress_type"),
            (found.headers, "header_offset"),
            (found.flags, "flag_bits"),
            (found.attributes, "external_attr"),
        ):
            assert column.tolist() == [getattr(info, attribute) for info in infos], attribute
    moment = int(datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp()) * 1_000_000_000
    assert found.mtimes_ns.tolist() == [moment] * len(infos)
    assert found.problems == []


def test_sizes_and_offsets_of_zip64() -> None:
    large = Member(b"a", wide=True, told_size=5 << 32, told_packed=3 << 33, told_offset=7 << 34)
    found = members_of(raw_zip([large, Member(b"b", b"x")], zip64=True))
    assert (found.sizes[0], found.packed[0], found.headers[0]) == (5 << 32, 3 << 33, 7 << 34)
    assert found.sizes[1] == 1


def test_a_zip64_field_behind_others_and_one_that_has_only_the_offset() -> None:
    other = struct.pack("<HH3s", 0x7777, 3, b"abc")
    offset = struct.pack("<HHQ", 1, 8, 9 << 33)
    data = raw_zip([Member(b"a", b"xy", extra=other + offset, told_offset=0xFFFFFFFF)])
    found = members_of(data)
    assert (found.headers[0], found.sizes[0]) == (9 << 33, 2)


def test_the_time_of_the_extra_field_counts() -> None:
    for seconds in (1_500_000_000, -86_400):
        extra = struct.pack("<HHBl", 0x5455, 5, 1, seconds)
        found = members_of(raw_zip([Member(b"a", extra=extra)]))
        assert found.mtimes_ns.tolist() == [seconds * 1_000_000_000]


@pytest.mark.parametrize("date", [0, 0x1FF])
def test_dates_that_are_none(date: int) -> None:
    assert len(members_of(raw_zip([Member(b"a", stamp=(0xFFFF, date))])).mtimes_ns) == 1


@pytest.mark.parametrize("extra", [b"\1", b"\1\0\xff\xff", b"\1\0\0\0", b"\0\0\0\0" * 9])
def test_extra_fields_out_of_form(extra: bytes) -> None:
    found = members_of(raw_zip([Member(b"a", b"1", extra=extra), Member(b"b", b"22")]))
    assert found.names == [b"a", b"b"]
    assert found.sizes.tolist() == [1, 2]


def test_signatures_within_entries_are_no_entries() -> None:
    trap = b"PK\1\2" * 40
    found = members_of(raw_zip([Member(b"a", comment=trap), Member(trap, b"x"), Member(b"c")]))
    assert found.names == [b"a", trap, b"c"]
    assert found.problems == []


def test_a_wrong_number_of_entries_is_told() -> None:
    found = members_of(raw_zip([Member(b"a"), Member(b"b")], entries=3))
    assert found.names == [b"a", b"b"]
    assert found.problems == ["its directory has 2 entries, and says 3"]


@pytest.mark.slow
def test_more_than_65535_without_zip64_are_all_there() -> None:
    names = [b"%d" % number for number in range(70_000)]
    found = members_of(raw_zip([Member(name) for name in names]))
    assert found.names == names
    assert found.problems == []


@pytest.mark.parametrize("damaged", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("field", [0, 28, 40])
def test_behind_a_damaged_entry_it_goes_on(damaged: int, field: int) -> None:
    """The signature, the name's length or what does not matter here of one entry in nine."""
    names = [b"name-%d" % number for number in range(9)]
    data = bytearray(raw_zip([Member(name, b"x") for name in names]))
    at = data.index(b"PK\1\2") + damaged * (46 + 6)
    data[at + field] ^= 0x80
    found = members_of(bytes(data))
    rest = [name for number, name in enumerate(names) if number != damaged]
    assert [name for name in found.names if name in rest] == rest
    told = "; ".join(found.problems)
    assert field == 40 or f"damaged at its byte {damaged * 52}: 52 bytes of it are left" in told


@pytest.mark.slow
def test_any_flipped_byte_is_no_crash() -> None:
    data = raw_zip([Member(b"name-%d" % number, b"x", wide=number == 1) for number in range(3)])
    start = data.index(b"PK\1\2")
    for at in range(start, len(data) - 22):
        for bit in (1, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= bit
            assert len(members_of(bytes(changed))) <= 3
