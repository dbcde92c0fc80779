"""A tar with holes within a tar: what its reader sees, and where that is in the file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.formats.tar.walk import MemberColumns, scan
from imagenetfs.index.run_map import RunMap, Runs
from tests.helpers.examples import examples
from tests.helpers.odd_tars import sparse_member
from tests.helpers.tars import END, member

START = 1000


@st.composite
def maps(draw: st.DrawFn) -> tuple[bytes, bytes, Runs]:
    """(what a reader sees, what is stored, the runs)."""
    seen, stored, runs = bytearray(), bytearray(), []
    for _ in range(draw(st.integers(0, 6))):
        seen += bytes(draw(st.integers(0, 40)))
        data = draw(st.binary(min_size=1, max_size=40))
        runs.append((len(seen), len(data)))
        seen, stored = seen + data, stored + data
    seen += bytes(draw(st.integers(0, 40)))
    return bytes(seen), bytes(stored), tuple(runs)


@examples()
@given(maps(), st.integers(0, 300), st.integers(0, 300))
def test_every_range_is_read_as_it_is_seen(
    drawn: tuple[bytes, bytes, Runs], offset: int, length: int
) -> None:
    seen, stored, runs = drawn
    file = b"#" * START + stored + b"other"
    mapped = RunMap(START, runs, len(seen))
    read = mapped.read_at(lambda at, count: file[at : at + count])
    assert read(offset, length) == seen[offset : offset + length]
    low, high = mapped.data_from(min(offset, len(seen)))
    assert not any(seen[offset:low])
    assert low <= high <= len(seen)
    if low < high:
        assert file[mapped.place(low)] == seen[low]


def test_a_file_that_has_become_shorter_gives_less() -> None:
    mapped = RunMap(0, ((0, 4), (10, 4)), 20)
    read = mapped.read_at(lambda at, count: b"abcdef"[at : at + count])
    assert read(0, 20) == b"abcd" + bytes(6) + b"ef"


@examples(60)
@given(st.data())
def test_members_are_where_the_runs_say(data: st.DataObject) -> None:
    """Members with holes of their own, and those that the outer tar's holes make, as a reader sees
    them."""
    pieces = st.sampled_from([b"", b"x" * 700, bytes(9000), b"a" * 5000 + bytes(9000) + b"e"])
    contents = data.draw(st.lists(st.tuples(pieces, st.booleans()), min_size=1, max_size=6))
    inner = b"".join(
        sparse_member(b"%d" % at, content, "old", 512) if is_sparse else member(b"%d" % at, content)
        for at, (content, is_sparse) in enumerate(contents)
    )
    inner += END + bytes(20_000)
    block = data.draw(st.sampled_from([512, 4096]))
    blocks = [(at, inner[at : at + block]) for at in range(0, len(inner), block)]
    runs = tuple((at, len(piece)) for at, piece in blocks if any(piece))
    file = b"#" * START + b"".join(piece for _, piece in blocks if any(piece)) + b"@" * 5000
    mapped = RunMap(START, runs, len(inner))
    columns = MemberColumns()
    read = mapped.read_at(lambda at, count: file[at : at + count])
    scan(read, 0, len(inner), columns, data_from=mapped.data_from)
    mapped.translate(columns)
    assert columns.problems == []
    assert len(columns) == len(contents)
    for row, (content, _) in enumerate(contents):
        shown, at = bytearray(columns.sizes[row]), columns.offsets[row]
        for begin, length in columns.sparse.get(row, ((0, len(content)),)):
            shown[begin : begin + length] = file[at : at + length]
            at += length
        assert bytes(shown) == content
        assert file[columns.headers[row] :].startswith(b"%d" % row)


def test_holes_are_not_searched() -> None:
    """However large they are: a map of two runs may say that they are exabytes apart."""
    far = 1 << 60
    file = member(b"a", b"1") + member(b"b", b"2") + END
    mapped = RunMap(0, ((0, 1024), (far, 1024)), far + 2048)
    reads = []

    def read_at(at: int, count: int) -> bytes:
        reads.append(count)
        return file[at : at + count]

    columns = MemberColumns()
    scan(mapped.read_at(read_at), 0, mapped.size, columns, data_from=mapped.data_from)
    assert columns.names == [b"a", b"b"]
    assert [problem[:2] for problem in columns.problems] == [(1024, far - 1024)]
    assert len(reads) < 20
