"""An index that another site made: the same tables, nothing believed that the
archive does not bear out.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError, SourceChangedError
from imagenetfs.index import index_file as store_module
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.bulk_build import containers
from imagenetfs.index.columns import Array, pack, unpack
from imagenetfs.index.imported import MARK
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import IndexFile, merge_missing, write_index_file
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.records import record_of
from imagenetfs.index.transfer import compare, export, imported
from imagenetfs.source.source import Source
from tests.helpers.archives import (
    Scans,
    class_tar,
    contents,
    image,
    index_of,
    tar_of,
    tar_table,
    train_tar,
)
from tests.helpers.examples import examples

pytestmark = pytest.mark.usefixtures("no_fsync")


def odd_tar() -> bytes:
    """Links of both kinds, directories, a long name, a name twice."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, link, data in [
            ("a/b/one", tarfile.REGTYPE, "", b"1" * 700),
            ("a/soft", tarfile.SYMTYPE, "b/one", b""),
            ("a/hard", tarfile.LNKTYPE, "a/b/one", b""),
            ("long/" * 30 + "x", tarfile.REGTYPE, "", b"22"),
            ("a/b/one", tarfile.REGTYPE, "", b"again"),
            ("out", tarfile.SYMTYPE, "/etc/passwd", b""),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mtime = kind, link, len(data), 99
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _archives(*paths: str) -> dict[bytes, Archive]:
    return {p.encode(): Archive(n, p.encode(), Kind.TAR) for n, p in enumerate(paths)}


def _built(root: Path, *paths: str) -> Index:
    index = index_of(root, *paths)
    for archive in range(len(paths)):
        for inner in range(-1, len(index.nested(archive))):
            index.container(archive, inner)
    return index


def _carried(root: Path, tmp_path: Path, *paths: str) -> tuple[Index, Scans]:
    """An index of ``root`` that knows only what was exported and imported."""
    file, own, scans = tmp_path / "carried", tmp_path / "own" / "x.idx", Scans()
    records, _ = imported(Source(root), _archives(*paths), file)
    merge_missing(own, [record for each in records.values() for record in each])
    stores = [(frozenset(range(len(paths))), [own])]
    return index_of(root, *paths, stores=stores, scan=scans), scans


def test_an_index_is_carried_to_another_site(tmp_path: Path) -> None:
    for site in ("here", "there"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "t.tar").write_bytes(train_tar(4, 5))
        (tmp_path / site / "odd.tar").write_bytes(odd_tar())
    index = _built(tmp_path / "here", "t.tar", "odd.tar")
    done = export(index, [0, 1], tmp_path / "carried")
    assert (done.tables, done.members) == (6, 4 + 4 * 5 + len(index.container(1).members))
    there, scans = _carried(tmp_path / "there", tmp_path, "t.tar", "odd.tar")
    for archive, inner in containers(index, [0, 1]):
        assert contents(there, archive, inner) == contents(index, archive, inner)
        mine, theirs = index.container(archive, inner), there.container(archive, inner)
        assert list(tar_table(index, archive, inner).names()) == list(
            tar_table(there, archive, inner).names()
        )
        assert mine.members.links == theirs.members.links
        for row in range(len(mine.members)):
            for what in ("mode", "size", "mtime_ns", "links_to", "offset", "header", "below"):
                assert getattr(mine.members, what)(row) == getattr(theirs.members, what)(row)
    assert scans.extents == []


@examples(30)
@given(number=st.integers(1, 99), images=st.integers(0, 6))
def test_what_comes_back_differs_by_its_mark_alone(
    tmp_path_factory: pytest.TempPathFactory, number: int, images: int
) -> None:
    root = tmp_path_factory.mktemp("site")
    (root / "c.tar").write_bytes(class_tar(number, images) or b"")
    index = _built(root, "c.tar")
    export(index, [0], root / "carried")
    records, _ = imported(Source(root), _archives("c.tar"), root / "carried")
    mine = record_of(index, 0, -1)
    assert mine is not None
    (columns, meta), (others, theirs) = (
        unpack(memoryview(record.block)) for record in (mine, records[0][0])
    )
    assert theirs.pop(MARK) == 1
    assert meta == theirs
    assert {n: c.tolist() for n, c in columns.items()} == {n: c.tolist() for n, c in others.items()}


def test_another_archive_is_left_out(tmp_path: Path) -> None:
    for name in ("same", "longer", "other", "gone"):
        (tmp_path / f"{name}.tar").write_bytes(class_tar(1, 2))
    names = ("same.tar", "longer.tar", "other.tar", "gone.tar")
    export(_built(tmp_path, *names), range(4), tmp_path / "carried")
    (tmp_path / "longer.tar").write_bytes(class_tar(1, 30))
    (tmp_path / "other.tar").write_bytes(class_tar(2, 2))
    records, done = imported(Source(tmp_path), _archives(*names[:3]), tmp_path / "carried")
    assert list(records) == [0]
    assert set(done.refused) == {
        "gone.tar is not here",
        "longer.tar has another size here",
        "other.tar is another one here",
    }


def test_each_header_is_looked_at_before_its_member_is_read(tmp_path: Path) -> None:
    """A member that is no sample is another one: its bytes are never served under the old name."""
    (tmp_path / "c.tar").write_bytes(class_tar(1, 40))
    export(_built(tmp_path, "c.tar"), [0], tmp_path / "carried")
    index, _ = _carried(tmp_path, tmp_path, "c.tar")
    images = {b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in range(40)}
    members = index.container(0).members
    assert isinstance(members, MemberTable)
    assert index.container(0).plain is None  # nothing is read of it without that look
    samples = members.meta["at"]
    victim = next(n for n in images if members.header(members.find(n)) not in samples)
    assert contents(index, 0) == images
    other = {name.replace(b"_", b"+") if name == victim else name: images[name] for name in images}
    (tmp_path / "c.tar").write_bytes(tar_of({n.decode(): data for n, data in other.items()}))
    scans = Scans()
    stores = [(frozenset([0]), [tmp_path / "own" / "x.idx"])]
    again = index_of(tmp_path, "c.tar", stores=stores, scan=scans)
    for name in images:
        row = again.container(0).members.find(name)
        if name != victim:
            again.container(0).locate(row)
            continue
        with pytest.raises(SourceChangedError, match="imported index"):
            again.container(0).locate(row)
    assert scans.extents == []


@pytest.mark.parametrize(
    ("column", "change", "reason"),
    [
        ("offsets", lambda c: c.astype("u8") + 10_000_000, "outside"),
        ("offsets", lambda c: c * 0, "outside|damaged"),
        ("sizes", lambda c: c.astype("u8") + (1 << 50), "outside"),
        ("ends", lambda c: c[:-1], "damaged|unequal"),
        ("names", lambda c: c[:3], ""),
    ],
)
def test_a_hostile_table_is_refused_or_harmless(
    tmp_path: Path, column: str, change: Callable[[Array], Array], reason: str
) -> None:
    (tmp_path / "c.tar").write_bytes(class_tar(1, 12))
    export(_built(tmp_path, "c.tar"), [0], tmp_path / "carried")

    def tamper(columns: dict[str, Array], meta: dict[str, Any]) -> None:
        columns[column] = change(columns[column])

    _tampered(tmp_path / "carried", tamper)
    records, done = imported(Source(tmp_path), _archives("c.tar"), tmp_path / "carried")
    assert bool(records) != bool(done.refused)
    if reason:
        assert any(each in done.refused[0] for each in reason.split("|"))


def _tampered(file: Path, change: Callable[[dict[str, Array], dict[str, Any]], None]) -> None:
    store = IndexFile(file, anyones=True)
    records = []
    for record in store.records():
        columns, meta = unpack(memoryview(record.block))
        columns, meta = dict(columns), dict(meta)
        change(columns, meta)
        records.append(
            store_module.Record(
                record.key,
                record.start,
                record.stop,
                record.file_size,
                record.sample,
                pack(columns, meta),
            )
        )
    store.close()
    write_index_file(file, records)


@pytest.mark.parametrize("prefix", ["../../etc/", "/etc/", "a/../../b/", "./"])
def test_names_that_lead_elsewhere_are_made_harmless(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "c.tar").write_bytes(class_tar(1, 12))
    export(_built(tmp_path, "c.tar"), [0], tmp_path / "carried")
    _tampered(
        tmp_path / "carried",
        lambda columns, meta: meta.__setitem__(
            "prefix", (prefix.encode() + bytes.fromhex(meta["prefix"])).hex()
        ),
    )
    index, _ = _carried(tmp_path, tmp_path, "c.tar")
    for name in tar_table(index, 0).names():
        assert not name.startswith(b"/")
        assert b".." not in name.split(b"/")


@pytest.mark.parametrize("at", [[-1], [10**15], ["x"], "x", [0] * 1000, None])
def test_damaged_samples_are_refused(tmp_path: Path, at: object) -> None:
    (tmp_path / "c.tar").write_bytes(class_tar(1, 3))
    export(_built(tmp_path, "c.tar"), [0], tmp_path / "carried")
    _tampered(tmp_path / "carried", lambda columns, meta: meta.__setitem__("at", at))
    records, done = imported(Source(tmp_path), _archives("c.tar"), tmp_path / "carried")
    assert not records
    assert done.refused


def test_what_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no index")
    with pytest.raises(ArchiveError):
        imported(Source(tmp_path), {}, tmp_path / "x")


# --- checking -------------------------------------------------------------------------------------


def test_an_index_is_compared_with_its_archives(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(4, 5))
    index = _built(tmp_path, "t.tar")
    export(index, [0], tmp_path / "x.idx")
    items = list(containers(index, [0]))
    assert compare(index, items, tmp_path / "x.idx") == (5, [])
    records, _ = imported(Source(tmp_path), _archives("t.tar"), tmp_path / "x.idx")
    write_index_file(tmp_path / "imported.idx", records[0])
    assert compare(index, items, tmp_path / "imported.idx") == (5, [])
    write_index_file(tmp_path / "few.idx", records[0][:2])
    assert compare(index, items, tmp_path / "few.idx") == (2, [])
    _tampered(
        tmp_path / "x.idx",
        lambda columns, meta: meta.__setitem__("mtime", meta["mtime"] + (meta["rows"] == 5)),
    )
    present, wrong = compare(index, items, tmp_path / "x.idx")
    assert present == 5
    assert wrong == [f"t.tar: n{n:08d}.tar" for n in (1, 2, 3, 4)]
