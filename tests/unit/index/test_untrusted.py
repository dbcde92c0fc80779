"""Exports of a stranger's making: each is refused with a sentence, or complete; none crashes."""

from __future__ import annotations

import io
import json
import resource
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.columns import MAGIC, Array, pack, unpack
from imagenetfs.index.index_file import FORMAT_VERSION, IndexFile, Record, write_index_file
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.transfer import export, imported
from imagenetfs.index.untrusted import bounded_memory, readable
from imagenetfs.source.source import Source
from tests.helpers.archives import class_tar, index_of
from tests.helpers.examples import examples

pytestmark = pytest.mark.usefixtures("no_fsync")

Change = Callable[[dict[str, Array], dict[str, Any]], None]

NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([10**30, -(10**30), 2**63, -(2**63), 2**64, 2**31, 0, -1, True]),
    st.floats(),
)
VALUES = st.one_of(
    NUMBERS,
    st.none(),
    st.text(max_size=9),
    st.lists(NUMBERS, max_size=3),
    st.sampled_from(["00" * 100_000, "zz", "2f" * 4000, {}, {"a": [[]]}]),
)
PLACES = [0, 1, 2, 3, 512, 2**31, 2**64]
META = ("rows", "prefix", "suffix", "unit", "mtime", "tick", "mode", "problem", "at", "sample")
COLUMNS = ("names", "ends", "offsets", "sizes", "mtimes", "modes", "headers", "below", "nested")
ODD_COLUMNS = ("linked", "link_ends", "link_names", "hard", "hard_owners", "sparse", "sparse_ends")


def odd_tar() -> bytes:
    """Links of both kinds, directories, a long name, a name twice: not all columns have gaps."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, link, data in [
            ("a/b/one", tarfile.REGTYPE, "", b"1" * 700),
            ("a/soft", tarfile.SYMTYPE, "b/one", b""),
            ("a/hard", tarfile.LNKTYPE, "a/b/one", b""),
            ("long/" * 30 + "é", tarfile.REGTYPE, "", b"22"),
            ("a/b/one", tarfile.REGTYPE, "", b"again"),
            ("last", tarfile.REGTYPE, "", b"x" * 511),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mtime = kind, link, len(data), 99
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Site:
    """A source of three archives, and what was exported of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "c.tar").write_bytes(class_tar(1, 12))
        (root / "odd.tar").write_bytes(odd_tar())
        np.savez(
            root / "d.npz",
            data=np.zeros((4, 192), np.uint8),
            labels=np.array([1, 2, 1, 2], np.int64),
        )
        kinds = {"c.tar": Kind.TAR, "odd.tar": Kind.TAR, "d.npz": Kind.NPZ}
        self.archives = {
            name.encode(): Archive(number, name.encode(), kind)
            for number, (name, kind) in enumerate(kinds.items())
        }
        index = index_of(root, *kinds)
        for archive in self.archives.values():
            index.container(archive.number)
        export(index, range(3), root / "carried")
        store = IndexFile(root / "carried", anyones=True)
        self.records = {record.key.partition(b"\0")[0]: record for record in store.records()}
        store.close()
        self.source = Source(root)

    def take(self, path: str, block: bytes) -> list[Record]:
        """What is taken of an export that has this block for one of the archives; none of it where
        it is refused, which must have its sentence.
        """
        record = self.records[path.encode()]
        changed = Record(
            record.key, record.start, record.stop, record.file_size, record.sample, block
        )
        write_index_file(self.root / "hostile", [changed])
        kept, done = imported(self.source, self.archives, self.root / "hostile")
        assert bool(kept) != bool(done.refused)
        assert all(len(reason) < 1000 and reason.isprintable() for reason in done.refused)
        return [record for records in kept.values() for record in records]

    def changed(self, path: str, change: Change) -> bytes:
        columns, meta = unpack(memoryview(self.records[path.encode()].block))
        columns, meta = dict(columns), dict(meta)
        change(columns, meta)
        return pack(columns, meta)

    def rows(self, path: str) -> int:
        """How many members the archive has, as it is shown."""
        return _members(self.records[path.encode()].block)


def _members(block: bytes) -> int:
    """The rows of a table but directories that no member names: those follow from the names."""
    table = MemberTable(memoryview(block))
    return sum(not table.is_implied(row) for row in range(len(table)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.source.close()


def _is_complete(site: Site, path: str, taken: list[Record]) -> bool:
    """Whether a table that was taken has as many members as the archive's own."""
    return all(_members(record.block) >= site.rows(path) for record in taken)


HIDING = {"sizes", "sparse", "sparse_ends"}
"""Columns by which a member may hide others until it is read itself (see docs/semantics.md)."""


@pytest.mark.slow
@pytest.mark.parametrize("path", ["c.tar", "odd.tar"])
@examples(150)
@given(data=st.data())
def test_any_value_in_a_table(site: Site, path: str, data: st.DataObject) -> None:
    changed = set()

    def change(columns: dict[str, Array], meta: dict[str, Any]) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            if data.draw(st.booleans()):
                meta[data.draw(st.sampled_from(META))] = data.draw(VALUES)
                continue
            name = data.draw(st.sampled_from(COLUMNS + ODD_COLUMNS))
            kind = data.draw(st.sampled_from(["u1", "u2", "u4", "u8", "i8"]))
            top = np.iinfo(np.dtype(kind)).max
            length = (
                len(columns.get(name, ())) or meta["rows"] if isinstance(meta["rows"], int) else 3
            )
            length = min(max(0, length), 20) + data.draw(st.sampled_from([0, 0, 0, -1, 1]))
            column = np.zeros(max(0, length), dtype=kind)
            own = columns.get(name, column)[: len(column)].astype(kind)
            column[: len(own)] = own
            if data.draw(st.booleans()):
                column[:] = data.draw(st.integers(0, int(top)))
            for _ in range(data.draw(st.integers(0, 3))):
                if len(column):
                    at = data.draw(st.integers(0, len(column) - 1))
                    value = data.draw(st.sampled_from(PLACES) | st.integers(0, int(top)))
                    column[at] = min(value, int(top))
            columns[name] = column
            changed.add(name)

    taken = site.take(path, site.changed(path, change))
    assert changed & HIDING or _is_complete(site, path, taken)


@pytest.mark.slow
@examples(150)
@given(
    at=st.integers(0, 1 << 14),
    put=st.one_of(
        st.binary(max_size=40), st.sampled_from([b"[" * 300_000, b'{"meta":' * 90_000, b"NaN"])
    ),
    cut=st.integers(0, 40),
)
def test_any_bytes_in_a_block(site: Site, at: int, put: bytes, cut: int) -> None:
    block = site.records[b"odd.tar"].block
    at %= len(block)
    changed = block[:at] + put + block[at + cut :]
    assert _is_complete(site, "odd.tar", site.take("odd.tar", changed))
    body = b'{"meta":' + put + b',"columns":{}}'
    assert not site.take("odd.tar", MAGIC + len(body).to_bytes(4, "little") + body)


@pytest.mark.parametrize("deep", ["[", '{"a":', "[1,"])
def test_a_header_that_is_nested_without_end(site: Site, deep: str) -> None:
    body = (deep * 200_000).encode()
    assert not site.take("c.tar", MAGIC + len(body).to_bytes(4, "little") + body)


@pytest.mark.parametrize("time", [10**30, -(10**30), float("nan"), float("inf"), 1.5, "x", None])
def test_times_that_are_none(site: Site, time: object) -> None:
    block = site.changed("c.tar", lambda columns, meta: meta.__setitem__("mtime", time))
    assert not site.take("c.tar", block)


@pytest.mark.parametrize("gone", [0, 1, 5, 10, 11])
def test_a_member_that_is_left_out_is_found(site: Site, gone: int) -> None:
    """At the start, in the middle and at the end: its bytes would stand there unseen."""

    def change(columns: dict[str, Array], meta: dict[str, Any]) -> None:
        names, ends = columns["names"], columns["ends"].astype(np.int64)
        start = int(ends[gone - 1]) if gone else 0
        columns["names"] = np.delete(names, np.arange(start, int(ends[gone])))
        ends[gone:] -= ends[gone] - start
        columns["ends"] = np.delete(ends, gone).astype(columns["ends"].dtype)
        for name in ("offsets", "sizes", "mtimes", "modes", "headers"):
            if name in columns:
                columns[name] = np.delete(columns[name], gone)
        meta["rows"] -= 1
        meta["at"] = meta["at"][:1] if gone else []
        with (site.root / "c.tar").open("rb") as file:
            file.seek(0)
            meta["sample"] = zlib.crc32(file.read(512)) if gone else 0

    block = site.changed("c.tar", change)
    write = site.records[b"c.tar"]
    write_index_file(
        site.root / "short",
        [Record(write.key, write.start, write.stop, write.file_size, write.sample, block)],
    )
    kept, done = imported(site.source, site.archives, site.root / "short")
    assert not kept
    assert "which its table leaves out" in done.refused[0]


def test_what_is_wrong_with_an_archive_is_told_in_a_readable_way(site: Site) -> None:
    said = "\x1b]0;PWN\x07 " + "x" * 100_000
    block = site.changed("c.tar", lambda columns, meta: meta.__setitem__("problem", said))
    [record] = site.take("c.tar", block)
    problem = MemberTable(memoryview(record.block)).problem
    assert problem is not None
    assert problem.isprintable()
    assert len(problem) < 1000
    assert readable("a\udcffb\nc") == r"a\xffb\nc"


def test_the_table_of_an_npz_is_the_archives_own(site: Site) -> None:
    """Whatever labels, rows, names or places the export has."""

    def change(columns: dict[str, Array], meta: dict[str, Any]) -> None:
        columns["labels"] = columns["labels"][::-1].copy()
        meta |= {"rows": 10**30, "stem": "2f2e2e", "side": -1, "mtime": float("nan")}

    [record] = site.take("d.npz", site.changed("d.npz", change))
    (columns, meta), (own, own_meta) = (
        unpack(memoryview(block)) for block in (record.block, site.records[b"d.npz"].block)
    )
    assert {name: column.tolist() for name, column in columns.items()} == {
        name: column.tolist() for name, column in own.items()
    }
    assert meta == own_meta


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: columns.pop("starts"),
        lambda columns: columns.__setitem__("ends", columns["ends"][:-1]),
        lambda columns: columns.__setitem__("lengths", columns["lengths"] * 0 + 2**63),
        lambda columns: columns.__setitem__("lengths", columns["lengths"] * 0 + 2**40),
        lambda columns: columns.__setitem__("offsets", columns["offsets"] * 0 + 2**63 - 1),
        lambda columns: columns.clear(),
    ],
)
def test_a_directory_that_is_none(
    site: Site, tmp_path: Path, change: Callable[[dict[str, Array]], object]
) -> None:
    """With a right checksum."""
    data = (site.root / "carried").read_bytes()
    length = int.from_bytes(data[16:24], "little")
    columns, meta = unpack(memoryview(data[32 : 32 + length]))
    columns = {name: column.astype(np.uint64) for name, column in columns.items()}
    columns["names"] = columns["names"].astype(np.uint8)
    change(columns)
    _write_directory(tmp_path / "hostile", pack(columns, meta), data[32 + length :])
    with pytest.raises(ArchiveError):
        imported(site.source, site.archives, tmp_path / "hostile")


def _write_directory(file: Path, directory: bytes, rest: bytes) -> None:
    crc = zlib.crc32(directory)
    head = b"INFSIDX1" + FORMAT_VERSION.to_bytes(4, "little") + crc.to_bytes(4, "little")
    file.write_bytes(head + len(directory).to_bytes(8, "little") + bytes(8) + directory + rest)


def test_a_directory_nested_without_end(site: Site, tmp_path: Path) -> None:
    body = b"[" * 200_000
    _write_directory(tmp_path / "x", MAGIC + len(body).to_bytes(4, "little") + body, b"")
    with pytest.raises(ArchiveError):
        imported(site.source, site.archives, tmp_path / "x")


def test_memory_is_bounded_and_given_back() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with bounded_memory(), pytest.raises(MemoryError):
        bytearray(1 << 50)
    with bounded_memory():
        assert resource.getrlimit(resource.RLIMIT_AS)[0] > 0
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.slow
def test_more_rows_than_an_archive_has_room_for(site: Site) -> None:
    """A megabyte of rows without names would be gigabytes of lists."""
    count = 1_000_000

    def change(columns: dict[str, Array], meta: dict[str, Any]) -> None:
        for name in ("ends", "offsets", "sizes"):
            columns[name] = np.zeros(count, np.uint8)
        for name in ("mtimes", "modes", "headers", "below"):
            columns.pop(name, None)
        meta["rows"] = count

    block = site.changed("c.tar", change)
    assert not site.take("c.tar", block)
    assert len(json.dumps(count)) < len(block)
