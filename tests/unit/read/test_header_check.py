"""Each member's header is looked at with its first bytes, in the same request,
wherever they come from.
"""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.quota import Limits
from imagenetfs.counters import REQUESTS
from imagenetfs.errors import SourceReplacedError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.read import header_check
from imagenetfs.read.backend import FileExtent
from imagenetfs.read.cache_backend import CacheBackend, Volumes
from imagenetfs.read.plain_members import PlainMembers
from imagenetfs.read.reader import Reader
from imagenetfs.source.source import SourceFile
from imagenetfs.system.splice import make_pipe
from imagenetfs.tree.inode import InodeKind, inode
from tests.helpers.archives import index_of, tar_table
from tests.helpers.block_cache import Steady
from tests.helpers.leaks import descriptors
from tests.helpers.randomness import seeded

COUNT = 60


def archive(form: int = tarfile.GNU_FORMAT, **more: int) -> tuple[bytes, dict[bytes, bytes]]:
    """More members than are sampled; of about 30 KB each, and those of ``more``, by their size."""
    buffer, held, choose = io.BytesIO(), {}, random.Random(7)
    sizes = {f"n1_{n:03d}.JPEG": choose.randrange(20_000, 40_000) for n in range(COUNT)} | more
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, size in sizes.items():
            member, data = tarfile.TarInfo(name), choose.randbytes(size)
            member.size, member.mtime = size, 1_300_000_000
            tar.addfile(member, io.BytesIO(data))
            held[os.fsencode(name)] = data
    return buffer.getvalue(), held


Open = Callable[[Index], Reader]
Splice = Callable[[FileExtent], bytes]


class WholeMembersReader(Reader):
    """Whole members are read as a loader's own process reads them."""

    def read(self, inode: int, offset: int, length: int) -> bytes:
        if self._plain is None:
            self._plain = self.plain_members(self._index.source)
        whole = self._plain.read(inode) if self._plain is not None and not offset else None
        return whole if whole is not None else super().read(inode, offset, length)

    _plain: PlainMembers | None = None


@pytest.fixture(params=["uncached", "whole", "cached", "read around", "no room"])
def reader_of(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    def make(index: Index) -> Reader:
        if request.param == "uncached":
            return Reader(index, index.source)
        if request.param == "whole":
            return WholeMembersReader(index, index.source)
        (tmp_path / "cache").mkdir(mode=0o700, exist_ok=True)
        size = 0 if request.param == "no room" else 1 << 30
        pace = Steady() if request.param == "read around" else None
        cache = BlockCache(CacheDirectory(tmp_path / "cache"), Limits(size, 0), pace=pace)
        reads = CacheBackend(cache, Volumes(index, index.source, {}), index.source)
        return Reader(index, index.source, None, reads)

    return make


def _number(index: Index, name: bytes) -> int:
    return inode(InodeKind.FILE, 0, OUTER, index.container(0).members.find(name))


@pytest.mark.slow
def test_it_costs_no_request(tmp_path: Path, reader_of: Open) -> None:
    data, held = archive()
    (tmp_path / "t.tar").write_bytes(data)
    index = index_of(tmp_path, "t.tar")
    reader, meter = reader_of(index), index.source.meter
    index.container(0)
    index.source.open(b"t.tar")
    before, names = meter[REQUESTS], list(held)
    seeded("order of members").shuffle(names)
    for name in names:
        assert reader.read(_number(index, name), 0, 1 << 20) == held[name]
    assert meter[REQUESTS] - before <= COUNT
    # In parts that begin anywhere: once more where it is the first one, and never again.
    before = meter[REQUESTS]
    for name in names:
        assert reader.read(_number(index, name), 9_000, 1 << 20) == held[name][9_000:]
    assert meter[REQUESTS] - before <= COUNT


def _damage(path: Path, at: int, new: bytes) -> None:
    """Write without a trace: neither size nor times of the file tell."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(new)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.slow
@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
@pytest.mark.parametrize("offset", [0, 9_000])
def test_another_member_stands_there(
    tmp_path: Path, reader_of: Open, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    """S4 S9: where no sampled header tells that the archive was written
    to, the member's own does.
    """
    path = tmp_path / "t.tar"
    data, held = archive()
    path.write_bytes(data)
    index = index_of(tmp_path, "t.tar")
    members = tar_table(index, 0)
    sampled = members.meta["at"]
    row = next(row for row in range(5, COUNT) if members.header(row) not in sampled)
    _damage(path, members.header(row), data[members.header(0) :][:512])
    reader = reader_of(index)
    fine, wrong = (inode(InodeKind.FILE, 0, OUTER, at) for at in (row - 3, row))
    assert reader.read(fine, 0, 1 << 20) == held[members.name(row - 3)]
    with pytest.raises(SourceReplacedError):
        reader.read(wrong, offset, 1 << 20)
    with pytest.raises(SourceReplacedError):
        reader.read(inode(InodeKind.FILE, 0, OUTER, row - 4), 0, 1 << 20)
    assert len([r for r in caplog.records if "is another file now" in r.getMessage()]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_of_every_form(tmp_path: Path, reader_of: Open, form: int) -> None:
    """Whatever a table was made from is found again where it was."""
    more = {"./c.JPEG": 3, "/d/./e//f.JPEG": 700}
    if form != tarfile.USTAR_FORMAT:
        more |= {"x" * 150 + ".JPEG": 20_000, "ä.JPEG": 512, "g/" * 60 + "h": 30_000}
    data, held = archive(form, **more)
    (tmp_path / "t.tar").write_bytes(data)
    index = index_of(tmp_path, "t.tar")
    reader, members = reader_of(index), index.container(0).members
    read = {}
    for row in members.regular().tolist():
        content = reader.read(inode(InodeKind.FILE, 0, OUTER, row), 0, 1 << 20)
        read[members.name(row).rpartition(b"/")[2]] = content
    assert read == {name.rpartition(b"/")[2]: content for name, content in held.items()}


@pytest.fixture
def spliced(tmp_path: Path) -> Iterator[tuple[Index, Reader, Splice, dict[bytes, bytes]]]:
    """An index, a reader, what an image's bytes are spliced with, and all images."""
    data, held = archive()
    (tmp_path / "t.tar").write_bytes(data)
    index = index_of(tmp_path, "t.tar")
    reader, pipe = Reader(index, index.source), make_pipe()
    assert pipe is not None

    def splice(extent: FileExtent) -> bytes:
        assert extent.file.splice_to(pipe[1], extent.offset, extent.length)
        return os.read(pipe[0], 1 << 20)

    yield index, reader, splice, held
    for end in pipe:
        os.close(end)


def found_by(reader: Reader, number: int) -> FileExtent:
    extent = reader.find(number, 0, 1 << 20)
    assert isinstance(extent, FileExtent)
    return extent


@pytest.mark.parametrize("pipes", ["enough", "none"])
def test_a_splice_takes_the_header_off(
    spliced: tuple[Index, Reader, Splice, dict[bytes, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    pipes: str,
) -> None:
    """In one request, whether or not there is a second pipe to be had."""
    index, reader, splice, held = spliced
    if pipes == "none":
        monkeypatch.setattr(header_check, "make_pipe", lambda: None)
    index.source.open(b"t.tar")
    requests = index.source.meter
    for name, content in list(held.items())[:5]:
        number = _number(index, name)
        before = requests[REQUESTS]
        assert splice(found_by(reader, number)) == content
        assert requests[REQUESTS] - before == 1
        assert isinstance(found_by(reader, number).file, SourceFile), "it is verified now"


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_a_wrong_header_leaves_nothing_in_the_pipe(
    spliced: tuple[Index, Reader, Splice, dict[bytes, bytes]], tmp_path: Path
) -> None:
    index, reader, splice, held = spliced
    members = tar_table(index, 0)
    row = next(row for row in range(5, COUNT) if members.header(row) not in members.meta["at"])
    path = tmp_path / "t.tar"
    _damage(path, members.header(row), path.read_bytes()[members.header(0) :][:512])
    index.source.open(b"t.tar").revalidate_at = 0.0
    fine, wrong = (inode(InodeKind.FILE, 0, OUTER, at) for at in (row - 1, row))
    assert splice(found_by(reader, fine)) == held[members.name(row - 1)]
    opened = descriptors()
    with pytest.raises(SourceReplacedError):
        splice(found_by(reader, wrong))
    closed = [opened[fd] for fd in opened.keys() - descriptors().keys()]
    assert sum(what.startswith("pipe:") for what in closed) == 2
