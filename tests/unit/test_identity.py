"""How an archive is known again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imagenetfs.index.identity import sample, sampled_rows
from tests.unit.test_members import FILE, members_of


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 64))
def test_rows_are_spread(rows: int, samples: int) -> None:
    found = sampled_rows(rows, samples)
    assert found == sorted(set(found))
    assert len(found) <= samples
    assert all(0 <= row < rows for row in found)
    if rows:
        assert (found[0], found[-1]) == (0, rows - 1)
    if rows >= samples:
        assert len(found) == samples


def test_headers_are_read_where_they_are() -> None:
    members, reads = members_of([(b"%02d" % n, FILE) for n in range(40)]), []

    def read_at(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return offset.to_bytes(8, "little")

    one = sample(read_at, members, 4)
    assert reads == [(members.header(row), 512) for row in (0, 13, 26, 39)]
    assert sample(lambda offset, length: b"other", members, 4) != one
    assert sample(read_at, members_of([]), 4) == 0
