"""Where members' data stand, and which members are refused."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.formats.zip.directory import read_directory
from imagenetfs.formats.zip.places import REASONS, Refusal, find_places
from tests.helpers.examples import examples
from tests.helpers.zips import Member, deflate, raw_zip, zip_of


class Reads:
    """The bytes of a zip, and how often they are asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.count = 0

    def __call__(self, offset: int, length: int) -> bytes:
        self.count += 1
        return self.data[max(0, offset) : max(0, offset + length)]


def judged(data: bytes) -> dict[bytes, bytes | Refusal]:
    """Name -> the packed bytes at its place, or why it is refused."""
    read = Reads(data)
    members = read_directory(read, 0, len(data))
    places = find_places(read, members)
    rows = zip(
        members.names,
        places.offsets.tolist(),
        members.packed.tolist(),
        places.refusals.tolist(),
        strict=True,
    )
    return {
        name: Refusal(refusal) if refusal else data[at : at + packed]
        for name, at, packed, refusal in rows
    }


FORMS = {
    "plain": {},
    "extra fields": {"local_extra": b"UT\5\0\1abcd", "extra": b"UT\5\0\1abcd"},
    "other extra fields than in the directory": {"local_extra": b"UT\x09\0\3abcdefgh"},
    "streamed": {"streamed": True},
    "streamed, zip64": {"streamed": True, "wide": True},
    "zip64": {"wide": True},
    "a gap behind each": {"gap": b"gap"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", [b"", b"a program"])
def test_places(form: str, before: bytes) -> None:
    files = {b"n/%d.JPEG" % number: os.urandom(10 + number) for number in range(40)}
    data = raw_zip(
        [Member(name, content, **FORMS[form]) for name, content in files.items()],  # type: ignore[arg-type]
        before=before,
    )
    assert judged(data) == files


def test_of_many_members_few_headers_are_read() -> None:
    files = {f"{number}": b"x" * number for number in range(3000)}
    read = Reads(zip_of(files))
    members = read_directory(read, 0, len(read.data))
    before = read.count
    find_places(read, members)
    assert read.count - before <= 8


@examples()
@given(st.lists(st.binary(max_size=9), max_size=9), st.binary(max_size=5))
def test_headers_of_all_lengths(extras: list[bytes], gap: bytes) -> None:
    """Extra fields of any length, so that no two rooms need be alike."""
    members = [
        Member(b"%d" % number, b"data %d" % number, local_extra=extra, gap=gap)
        for number, extra in enumerate(extras)
    ]
    assert judged(raw_zip(members)) == {one.name: one.data for one in members}


@examples()
@given(st.lists(st.binary(max_size=9), max_size=9))
def test_gaps_of_all_lengths(gaps: list[bytes]) -> None:
    members = [
        Member(b"%d" % number, b"data %d" % number, local_extra=b"12345", gap=gap)
        for number, gap in enumerate(gaps)
    ]
    assert judged(raw_zip(members)) == {one.name: one.data for one in members}


REFUSED = {
    Refusal.ENCRYPTED: Member(b"bad", b"secret", flags=1),
    Refusal.METHOD: Member(b"bad", b"bzip2", method=12),
    Refusal.PATCH: Member(b"bad", b"patch", flags=0x20),
    Refusal.ELSEWHERE: Member(b"bad", b"there", disk=3),
    Refusal.SIZES: Member(b"bad", b"two", told_size=9),
    Refusal.BOMB: Member(b"bad", b"x" * 99, method=8, told_size=1 << 31),
    Refusal.CUT_OFF: Member(b"bad", b"far", told_offset=1 << 30),
    Refusal.OVERLAP: Member(b"bad", b"long", told_packed=50, told_size=50),
    Refusal.OTHER_HEADER: Member(b"bad", b"name", local_name=b"dab"),
    Refusal.NUL: Member(b"b\0d", b"nul"),
}


def test_each_reason_has_words() -> None:
    assert set(REASONS) == set(Refusal) - {Refusal.NONE} == set(REFUSED)


@pytest.mark.parametrize("why", REFUSED)
def test_one_bad_member_among_sound_ones(why: Refusal) -> None:
    sound = [Member(b"sound-%d" % number, b"x" * 20 * number) for number in range(4)]
    bad = REFUSED[why]
    found = judged(raw_zip([*sound[:2], bad, *sound[2:]]))
    assert found == {**{one.name: one.data for one in sound}, bad.name: why}


def test_a_large_offset_of_zip64_is_outside() -> None:
    for offset in (1 << 62, (1 << 64) - 5):
        bad = Member(b"bad", b"x", wide=True, told_offset=offset)
        assert judged(raw_zip([bad, Member(b"a", b"y")])) == {b"bad": Refusal.CUT_OFF, b"a": b"y"}


def test_sizes_beyond_all_bounds() -> None:
    bad = Member(b"bad", b"x", wide=True, told_size=(1 << 64) - 1, told_packed=(1 << 64) - 1)
    assert judged(raw_zip([bad, Member(b"a", b"y")])) == {b"bad": Refusal.CUT_OFF, b"a": b"y"}


def test_two_names_of_one_member() -> None:
    """The header has one name: that one is it. The same entry twice is the same member twice."""
    one = Member(b"one", b"content")
    other = Member(b"two", b"", told_offset=0, told_packed=7, told_size=7)
    again = Member(b"one", b"", told_offset=0, told_packed=7, told_size=7, local_name=b"x")
    found = judged(raw_zip([one, other, again, Member(b"end", b"e")]))
    assert found == {b"one": b"content", b"two": Refusal.OTHER_HEADER, b"end": b"e"}


def test_a_bomb_of_overlapping_members() -> None:
    """Each member quotes the headers of those behind it, and shares their data (Fifield's)."""
    kernel = deflate(bytes(1 << 20))
    members = [Member(b"%d" % n, b"", method=8, packed=b"") for n in range(20)]
    members.append(Member(b"kernel", bytes(1 << 20), method=8, packed=kernel))
    data = raw_zip(members)
    start = data.index(b"PK\1\2")
    for n, one in enumerate(members[:-1]):
        one.told_packed = start - one.offset - 31 - (n > 9)
        one.told_size = 1 << 20
    found = judged(raw_zip(members))
    assert Counter(value for value in found.values() if isinstance(value, Refusal)) == {
        Refusal.OVERLAP: 20
    }
    assert found[b"kernel"] == kernel


def test_any_flipped_byte_gives_the_same_bytes_or_a_reason() -> None:
    """Of the directory: what is not refused stands where the member stands."""
    files = {b"name-%d" % n: b"content %d" % n for n in range(3)}
    data = raw_zip([Member(name, content) for name, content in files.items()])
    for at in range(data.index(b"PK\1\2"), len(data) - 22):
        changed = bytearray(data)
        changed[at] ^= 0x11
        for name, value in judged(bytes(changed)).items():
            if name in files and not isinstance(value, Refusal) and value != files[name]:
                # Its size or place was changed: the local header says otherwise when it is read.
                assert len(value) != len(files[name]) or value in files.values()


def test_directories_are_not_judged_by_what_they_hold() -> None:
    found = judged(raw_zip([Member(b"d/", b"", flags=1), Member(b"d/a", b"x")]))
    assert found == {b"d/": b"", b"d/a": b"x"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_zipfile_appends() -> None:
    """A member that is written again stands there twice; both are whole."""
    buffer = io.BytesIO()
    for content in (b"first", b"second"):
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("a", content)
    data = buffer.getvalue()
    read = Reads(data)
    members = read_directory(read, 0, len(data))
    places = find_places(read, members)
    assert members.names == [b"a", b"a"]
    packed = zip(places.offsets, members.packed, strict=True)
    assert [data[at : at + size] for at, size in packed] == [b"first", b"second"]
