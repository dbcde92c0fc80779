"""Which file an index recognises as the one it was made from, and which
header as a member's own.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from imagenetfs.errors import SourceChangedError, SourceReplacedError
from imagenetfs.index.archives import OUTER, Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.header_match import check_header
from imagenetfs.index.index import Index
from imagenetfs.index.revalidation import Revalidator
from imagenetfs.source.source import Source
from tests.helpers.archives import class_tar, index_of, tar_table, train_tar


def _flat(names: dict[str, bytes], form: int = tarfile.USTAR_FORMAT, mtime: int = 5) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), mtime
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _recognised(index: Index, path: bytes) -> bool | None:
    with Source(index.source.path).opened(path) as file:
        return Revalidator(index)(file)


def test_a_tar(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(class_tar(1, 40))
    index = index_of(tmp_path, "t.tar")
    assert _recognised(index, b"t.tar") is None  # not indexed yet
    index.container(0)
    assert _recognised(index, b"t.tar") is True
    data = bytearray((tmp_path / "t.tar").read_bytes())
    at = tar_table(index, 0).header(0)
    data[at] ^= 1
    (tmp_path / "t.tar").write_bytes(data)
    assert _recognised(index, b"t.tar") is False
    (tmp_path / "t.tar").write_bytes(class_tar(1, 80))
    assert _recognised(index, b"t.tar") is False


def test_a_tar_among_loose_files(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "t.tar").write_bytes(class_tar(1, 3))
    (tmp_path / "d" / "x").write_bytes(b"x")
    index = Index(Source(tmp_path), [Archive(0, b"d", Kind.DIRECTORY)], Arena(1))
    assert _recognised(index, b"d/t.tar") is None
    inner = index.inner_of_row(0, index.container(0).members.find(b"t.tar"))
    index.container(0, inner)
    assert _recognised(index, b"d/t.tar") is True
    assert _recognised(index, b"d/x") is None
    (tmp_path / "d" / "t.tar").write_bytes(class_tar(2, 3))
    assert _recognised(index, b"d/t.tar") is False


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_a_class_is_not_indexed_from_another_archive(tmp_path: Path) -> None:
    """The outer table is of the old archive: no table of the new one may be made by it."""
    (tmp_path / "t.tar").write_bytes(train_tar(3, 4))
    index = index_of(tmp_path, "t.tar")
    index.container(0, 0)
    (tmp_path / "new").write_bytes(train_tar(3, 4)[::-1])
    os.replace(tmp_path / "new", tmp_path / "t.tar")
    with pytest.raises(SourceReplacedError):
        index.container(0, 1)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers(tmp_path: Path, form: int) -> None:
    names = {"a.JPEG": b"1" * 700, "d/b.JPEG": b"2" * 900, "./c.JPEG": b"3"}
    if form != tarfile.USTAR_FORMAT:
        names |= {"x" * 150 + ".JPEG": b"4" * 800, "ä.JPEG": b"5"}
    data = _flat(names, form)
    (tmp_path / "t.tar").write_bytes(data)
    container = index_of(tmp_path, "t.tar").container(0)
    members = container.members
    for row in members.regular():
        at = members.offset(row) - 512
        check_header(data[at : at + 512], container, int(row))
        for wrong in (data[at + 512 :][:512], data[at : at + 100], b"", bytes(512)):
            with pytest.raises(SourceChangedError, match="something else"):
                check_header(wrong, container, int(row))
    first, second = (members.find(name) for name in (b"a.JPEG", b"d/b.JPEG"))
    with pytest.raises(SourceChangedError):
        at = members.offset(second) - 512
        check_header(data[at : at + 512], container, first)


def test_a_hard_link_has_the_header_of_its_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        file, link = tarfile.TarInfo("file"), tarfile.TarInfo("zlink")
        file.size, link.type, link.linkname = 5, tarfile.LNKTYPE, "file"
        tar.addfile(file, io.BytesIO(b"hello"))
        tar.addfile(link)
    data = buffer.getvalue()
    (tmp_path / "t.tar").write_bytes(data)
    container = index_of(tmp_path, "t.tar").container(0, OUTER)
    row = container.members.find(b"zlink")
    at = container.members.offset(row) - 512
    check_header(data[at : at + 512], container, row)
