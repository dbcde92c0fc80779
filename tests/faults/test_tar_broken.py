"""Archives cut off, flipped and mutated: only ArchiveError, the members before it, no loop."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.faults.fuzz_tar import BLOCK, check, mutated, resealed, seal, specimens
from tests.helpers.randomness import places, seeded

SPECIMENS = specimens()


@pytest.fixture(scope="module")
def archive() -> bytes:
    """Four plain members of 0, 1, 512 and 513 bytes: headers at 0, 512, 1536 and 2560."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for size in (0, 1, 512, 513):
            info = tarfile.TarInfo(f"n01440764_{size}.JPEG")
            info.size = size
            tar.addfile(info, io.BytesIO(b"\xff" * size))
    return file.getvalue()[: 4096 + 1024]


HEADERS = (0, 512, 1536, 2560)
ENDS = (512, 1025, 2560, 3585)  # the first byte behind each one's data


def test_the_specimens_are_sound() -> None:
    assert [len(check(data)[0]) for data in SPECIMENS] == [6, 6, 6, 1, 1, 1]
    assert {check(data)[1] for data in SPECIMENS} == {None}


def test_cut_off_at_every_byte(archive: bytes) -> None:
    for length in places(range(len(archive)), 500):
        names, error = check(archive[:length])
        assert len(names) == sum(end <= length for end in ENDS)
        # Behind a member's data nothing tells a cut archive from one without an end marker.
        at_an_end = any(end <= length <= end + (-end % BLOCK) for end in ENDS)
        assert (error is None) == (at_an_end or length > 4096)


@pytest.mark.parametrize("i", range(len(SPECIMENS)))
def test_every_form_cut_off_at_every_block(i: int) -> None:
    names, _ = check(SPECIMENS[i])
    for length in range(0, len(SPECIMENS[i]), BLOCK):
        cut, _ = check(SPECIMENS[i][:length])
        assert cut == names[: len(cut)]


@pytest.mark.parametrize("damage", [0x01, 0x80, 0xFF])
def test_every_byte_flipped(archive: bytes, damage: int) -> None:
    """A damaged header costs its member, and no other one."""
    names, _ = check(archive)
    for at in places(range(len(archive)), 500):
        flipped = bytearray(archive)
        flipped[at] ^= damage
        found, error = check(bytes(flipped))
        header = next((h for h in HEADERS if h <= at < h + BLOCK), None)
        if header is not None and at != header + 155:  # what follows the checksum's NUL is free
            lost = HEADERS.index(header)
            assert found == names[:lost] + names[lost + 1 :]
            is_last = lost == len(names) - 1  # nothing sound is behind it
            assert (f"at byte {header:,})" in str(error)) == is_last
        elif 4096 <= at < 4096 + BLOCK:
            assert (found, error) == (names, "no tar header here: its checksum does not hold "
                                             "(at byte 4,096)")  # fmt: skip
        else:
            assert (found, error) == (names, None)


@pytest.mark.parametrize("value", [b"\0", b"9", b"\x80", b"\xff"])
def test_every_header_byte_replaced_under_a_checksum_that_holds(value: bytes) -> None:
    for data in SPECIMENS:
        for at in places(range(len(data)), 500):
            if data[at & -BLOCK :][257:262] == b"ustar":
                block = bytearray(data[at & -BLOCK :][:BLOCK])
                block[at % BLOCK] = value[0]
                check(data[: at & -BLOCK] + seal(bytes(block)) + data[(at & -BLOCK) + BLOCK :])


@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_mutations(part: int) -> None:
    random_ = seeded("mutations", part)
    errors = 0
    for _ in range(1000):
        data = mutated(random_.choice(SPECIMENS), random_)
        errors += check(resealed(data) if random_.random() < 0.7 else data)[1] is not None
    assert 100 < errors < 990  # the damage is neither nothing nor all


def test_a_forest_of_extended_headers_is_walked_once() -> None:
    # 20,000 headers, each pending for the next, and no member: linear, without recursion.
    empty = tarfile.TarInfo("x")
    for kind in (b"x", b"L", b"K", b"g"):
        empty.type = kind
        names, error = check(empty.tobuf(tarfile.GNU_FORMAT) * 20_000)
        assert names == []
        assert (error is None) == (kind == b"g")


def test_a_sparse_map_without_end_is_refused() -> None:
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    entry = b"00000000000\x0000000000000\0"
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:482], header[482] = entry * 4, 1
    extension = (entry * 21) + b"\1" + b"\0" * 7
    names, error = check(seal(bytes(header)) + extension * 5000)
    assert names == []
    assert "sparse map of more than" in str(error)
