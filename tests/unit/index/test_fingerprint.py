"""How an archive is known again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.index.fingerprint import pick_samples, sample_crc
from tests.helpers.examples import examples


@examples()
@given(st.integers(0, 10**6), st.integers(2, 64))
def test_headers_are_spread(headers: int, samples: int) -> None:
    offsets = range(0, 512 * headers, 512)
    found = pick_samples(offsets, samples)
    assert found == sorted(set(found))
    assert len(found) <= samples
    assert all(offset in offsets for offset in found)
    if headers:
        assert (found[0], found[-1]) == (offsets[0], offsets[-1])
    if headers >= samples:
        assert len(found) == samples


def test_headers_are_read_where_they_are() -> None:
    reads: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return offset.to_bytes(8, "little")

    one = sample_crc(read_at, [0, 512 * 13, 512 * 26])
    assert reads == [(0, 512), (512 * 13, 512), (512 * 26, 512)]
    assert sample_crc(lambda offset, length: b"other", [0, 512 * 13, 512 * 26]) != one
    assert sample_crc(read_at, []) == 0
