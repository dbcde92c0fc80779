"""Small members read whole, and the first bytes of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.errors import ArchiveError, SourceChangedError, SourceReadError
from imagenetfs.index.contents import first_bytes, whole_content
from tests.helpers.archives import index_of, tar_of, tar_table
from tests.helpers.zips import Member, raw_zip

TEXT = b"a list of labels\n" * 40


def whole(directory: Path, name: str, data: bytes, member: bytes, limit: int = 1 << 20) -> bytes:
    (directory / name).write_bytes(data)
    index = index_of(directory, name)
    container = index.container(0)
    with index.source.opened(name.encode()) as file:
        return whole_content(file, container, tar_table(index, 0).find(member), limit)


@pytest.mark.parametrize("method", [0, 8])
def test_of_a_zip(tmp_path: Path, method: int) -> None:
    data = raw_zip([Member(b"a", b"x"), Member(b"list.txt", TEXT, method=method)])
    assert whole(tmp_path, "x.zip", data, b"list.txt") == TEXT


def test_of_a_tar(tmp_path: Path) -> None:
    data = tar_of({"a": b"x", "d/list.txt": TEXT})
    assert whole(tmp_path, "x.tar", data, b"d/list.txt") == TEXT


@pytest.mark.parametrize(
    ("member", "error"),
    [
        (Member(b"a", TEXT, told_crc=5, local_crc=5), SourceReadError),
        (Member(b"a", TEXT, method=8, told_crc=5, local_crc=5), ArchiveError),
        (Member(b"a", TEXT, method=8, local_crc=5), SourceChangedError),
    ],
)
def test_what_is_not_as_the_directory_says(
    tmp_path: Path, member: Member, error: type[Exception]
) -> None:
    with pytest.raises(error):
        whole(tmp_path, "x.zip", raw_zip([member]), b"a")


def test_what_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(SourceReadError, match=r"x\.zip: a has 680 bytes, more than such a file"):
        whole(tmp_path, "x.zip", raw_zip([Member(b"a", TEXT)]), b"a", 679)


@pytest.mark.parametrize("name", ["d", "x.tar", "stored.zip", "deflated.zip"])
def test_first_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(TEXT)
    (tmp_path / "x.tar").write_bytes(tar_of({"a": TEXT}))
    (tmp_path / "stored.zip").write_bytes(raw_zip([Member(b"a", TEXT)]))
    (tmp_path / "deflated.zip").write_bytes(raw_zip([Member(b"a", TEXT, method=8)]))
    index = index_of(tmp_path, name)
    row = index.container(0).members.find(b"a")
    assert first_bytes(index.source, index.container(0), row, 16) == TEXT[:16]
    assert first_bytes(index.source, index.container(0), row, 9999) == TEXT


def test_first_bytes_of_what_is_no_deflate(tmp_path: Path) -> None:
    bad = Member(b"a", TEXT, method=8, packed=b"\xff" * 30)
    (tmp_path / "x.zip").write_bytes(raw_zip([bad]))
    index = index_of(tmp_path, "x.zip")
    assert first_bytes(index.source, index.container(0), 0, 16) == b""
