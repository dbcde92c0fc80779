"""A zip's table and what is read through it, compared with Python's zipfile."""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import SourceReplacedError
from imagenetfs.index import container_builder
from imagenetfs.index.archives import OUTER
from imagenetfs.index.bulk_build import save
from imagenetfs.index.index import Index
from imagenetfs.read.reader import Reader
from imagenetfs.tree.inode import InodeKind, inode
from tests.helpers.archives import close, forget_files, index_of, tar_of, tar_table
from tests.helpers.examples import examples
from tests.helpers.zips import Member, contents_of, raw_zip, zip_of


def read_all(index: Index, archive: int = 0, inner: int = OUTER) -> dict[str, bytes]:
    """Name -> bytes of every file, in two requests."""
    reader, members, found = Reader(index, index.source), tar_table(index, archive, inner), {}
    for row in members.regular().tolist():
        number, size = inode(InodeKind.FILE, archive, inner, row), members.size(row)
        half = size // 2
        found[members.name(row).decode()] = reader.read(number, 0, half) + reader.read(
            number, half, size
        )
    return found


def opened(directory: Path, data: bytes) -> Index:
    (directory / "x.zip").write_bytes(data)
    return index_of(directory, "x.zip")


PARTS = st.text("abcXYZ019 ._-é", min_size=1, max_size=6).filter(lambda p: p not in (".", ".."))
FILES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map(tuple),
    st.tuples(st.binary(max_size=400), st.sampled_from([0, 8]), st.booleans()),
    max_size=8,
)


def _conflicts(files: object) -> bool:
    paths = set(files)  # type: ignore[call-overload]
    return any(path[:n] in paths for path in paths for n in range(1, len(path)))


@pytest.mark.slow
@examples(60)
@given(FILES.filter(lambda files: not _conflicts(files)), st.booleans())
def test_as_python_reads_it(
    files: dict[tuple[str, ...], tuple[bytes, int, bool]], streams: bool
) -> None:
    """Of a file, and of a pipe, where sizes stand behind the data."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return not streams

    buffer = Pipe()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, (data, method, wide) in files.items():
            info = zipfile.ZipInfo("/".join(path))
            info.compress_type = method
            with archive.open(info, "w", force_zip64=wide) as out:
                out.write(data)
    with tempfile.TemporaryDirectory() as directory:
        index = opened(Path(directory), buffer.getvalue())
        assert read_all(index) == contents_of(io.BytesIO(buffer.getvalue()))
        close(index)


@pytest.mark.expects_log("not all members are shown")
def test_modes_times_and_links(tmp_path: Path) -> None:
    link = stat.S_IFLNK | 0o777
    index = opened(
        tmp_path,
        raw_zip(
            [
                Member(b"d/", attributes=(stat.S_IFDIR | 0o750) << 16),
                Member(b"d/run", b"#!", attributes=(stat.S_IFREG | 0o755) << 16),
                Member(b"d/plain", b"x", made=0, attributes=0x20, extra=_time(1_500_000_000)),
                Member(b"e", made=0, attributes=0x10),
                Member(b"link", b"d/run", attributes=link << 16),
                Member(b"out", b"../../etc/passwd", method=8, attributes=link << 16),
                Member(b"empty", b"", attributes=link << 16),
            ]
        ),
    )
    members = tar_table(index, 0)
    seen = {n: members.mode(members.find(n)) for n in members.names()}
    assert seen == {
        b"d": stat.S_IFDIR | 0o750,
        b"d/plain": stat.S_IFREG | 0o644,
        b"d/run": stat.S_IFREG | 0o755,
        b"e": stat.S_IFDIR | 0o755,
        b"link": link,
        b"out": link,
    }
    links = {members.name(row): target for row, target in members.links.items()}
    assert links == {b"link": b"d/run", b"out": b"etc/passwd"}
    assert members.mtime_ns(members.find(b"d/plain")) == 1_500_000_000 * 10**9
    assert members.left_out is not None
    assert "its link's target is empty" in members.left_out


def _time(seconds: int) -> bytes:
    return struct.pack("<HHBL", 0x5455, 5, 1, seconds)


def test_a_later_member_replaces_an_earlier_one(tmp_path: Path) -> None:
    data = raw_zip([Member(b"a/x", b"one"), Member(b"a/y", b"y"), Member(b"a/x", b"three")])
    index = opened(tmp_path, data)
    assert read_all(index) == {"a/x": b"three", "a/y": b"y"}
    members = tar_table(index, 0)
    assert members.replaced() == members.replaced(b"a") == [b"a/x"]
    assert members.replaced(b"b") == members.unshown() == []


@pytest.mark.expects_log("not all members are shown")
def test_what_cannot_be_read_is_known_by_name(tmp_path: Path) -> None:
    sound, secret = Member(b"a/sound", b"x"), Member(b"a/secret", b"x", flags=1)
    bad = [secret, Member(b"../b", b"x"), Member(b"c/m", b"x", method=9)]
    members = tar_table(opened(tmp_path, raw_zip([*bad, sound])), 0)
    assert members.unshown() == [b"a/secret", b"../b", b"c/m"]
    assert members.unshown(b"a") == [b"a/secret"]
    assert list(members.names()) == [b"a", b"a/sound"]
    assert members.left_out is not None
    assert members.left_out.count("1 left out") == 3


@pytest.mark.expects_log("x.zip is broken: it has no end record")
def test_no_zip_has_a_table_with_a_problem(tmp_path: Path) -> None:
    members = tar_table(opened(tmp_path, b"no zip at all" * 100), 0)
    assert len(members) == 0
    assert members.problem == "it has no end record: it is cut off, or no zip"


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 2000])
def test_it_is_kept_in_an_index_file_and_known_again(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = tmp_path / "source", tmp_path / "x.idx"
    source.mkdir()
    files = {f"{n:06d}.JPEG": b"%d" % n for n in range(count)}
    (source / "x.zip").write_bytes(zip_of(files))

    def index() -> Index:
        return index_of(source, "x.zip", stores=[(frozenset({0}), (store,))])

    first = index()
    assert read_all(first) == files
    save(first, [0], store)

    def build(*arguments: object, **more: object) -> bytes:
        raise AssertionError("it is built anew")

    monkeypatch.setattr(container_builder, "build_table", build)
    again = index()
    assert read_all(again) == files
    for one in (first, again):
        close(one)


def test_headers_of_any_length(tmp_path: Path) -> None:
    """Longer than what is asked for with the data; at the very beginning, with nothing before."""
    data = os.urandom(3000)
    members = [
        Member(b"%d" % n, data, method=method, local_extra=bytes(length))
        for n, (method, length) in enumerate([(0, 0), (0, 2000), (8, 2000), (0, 60_000)])
    ]
    found = read_all(opened(tmp_path, raw_zip(members)))
    assert found == {one.name.decode(): data for one in members}


@pytest.mark.expects_log("is another file now")
@pytest.mark.parametrize("change", ["sum in the directory", "all", "longer"])
def test_another_zip_is_refused(tmp_path: Path, change: str) -> None:
    files = {f"{n}.JPEG": os.urandom(600) for n in range(50)}
    data = zip_of(files, "stored")
    index = opened(tmp_path, data)
    tar_table(index, 0)
    if change == "sum in the directory":
        changed = bytearray(data)
        changed[-22 - 46 - 10] ^= 1
        (tmp_path / "x.zip").write_bytes(bytes(changed))
    elif change == "all":
        (tmp_path / "x.zip").write_bytes(zip_of({n: d[::-1] for n, d in files.items()}, "stored"))
    else:
        (tmp_path / "x.zip").write_bytes(data + b"more")
    forget_files(index.source)
    with pytest.raises(SourceReplacedError):
        read_all(index)


def test_a_zip_in_a_tar_and_a_tar_in_a_zip(tmp_path: Path) -> None:
    inner = {"d/a": b"one", "b": b"two" * 99}
    (tmp_path / "t.tar").write_bytes(tar_of({"first": b"x", "in.zip": zip_of(inner)}))
    (tmp_path / "z.zip").write_bytes(
        zip_of({"x": b"1", "in.tar": tar_of(inner), "in.zip": zip_of(inner)}, "stored")
    )
    (tmp_path / "p.zip").write_bytes(zip_of({"in.tar": tar_of(inner)}, "deflated"))
    index = index_of(tmp_path, "t.tar", "z.zip", "p.zip")
    assert read_all(index, 0, 0) == inner
    assert read_all(index, 1, 0) == read_all(index, 1, 1) == inner
    assert len(index.nested(2)) == 0  # it could only be read from its beginning
