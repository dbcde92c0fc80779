"""Members and loose files: the same content, times and modes, whatever the umask is."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from imagenetfs.sample import members
from imagenetfs.sample.members import Member
from imagenetfs.sample.randomness import generator
from tests.helpers.tarfile_members import members_of


def test_a_member_is_dated_within_ten_days() -> None:
    rng = generator(0, "members")
    made = [members.member("a", b"", rng, members.OCTOBER_2019) for _ in range(200)]
    times = [each.mtime - members.OCTOBER_2019 for each in made]
    assert min(times) >= 0
    assert max(times) < 10 * members.DAY
    assert {each.mode for each in made} == {0o644, 0o664, 0o444, 0o755}
    assert len({each.owner for each in made}) == 3


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_with_and_without_padding(form: int) -> None:
    files = [Member("a.JPEG", b"one", 7), Member("b.JPEG", b"x" * 513, 8, 0o600)]
    whole, cut = (members.tar_bytes(files, form, padded=padded) for padded in (True, False))
    assert len(whole) % 10_240 == 0
    assert len(cut) == 512 + 512 + 512 + 1024 + 1024
    assert whole[: len(cut)] == cut
    for data in (whole, cut):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert [(i.name, i.size, i.mtime, i.mode) for i in archive] == [
                ("a.JPEG", 3, 7, 0o644),
                ("b.JPEG", 513, 8, 0o600),
            ]


def test_an_empty_tar_is_its_end() -> None:
    assert members.tar_bytes([], padded=False) == bytes(1024)


def test_a_fraction_of_a_second_needs_a_pax_header() -> None:
    file = members.at(Member("a", b"", 7), 7.5)
    with tarfile.open(fileobj=io.BytesIO(members.tar_bytes([file], tarfile.PAX_FORMAT))) as archive:
        [info] = archive.getmembers()
    assert info.pax_headers["mtime"] == "7.5"
    whole = members.at(Member("a", b"", 7.5), 8.0)
    with tarfile.open(
        fileobj=io.BytesIO(members.tar_bytes([whole], tarfile.PAX_FORMAT))
    ) as archive:
        [info] = archive.getmembers()
    assert info.pax_headers == {}


def test_a_tar_file_with_a_directory(tmp_path: Path) -> None:
    with members.open_tar(tmp_path / "x.tar") as archive:
        members.add_directory(archive, "test/", 9)
        members.add(archive, members.renamed(Member("a", b"data", 7), "test/a"))
    with tarfile.open(tmp_path / "x.tar") as archive:
        directory, file = archive.getmembers()
    assert directory.isdir()
    assert (directory.name, directory.mode, directory.mtime) == ("test", 0o755, 9)
    assert [data for _, data in members_of(tmp_path / "x.tar").values()] == [b"data"]
    assert (file.uname, file.gname) == ("root", "root")


def test_loose_files_are_as_the_members_say(tmp_path: Path) -> None:
    files = [Member("b", b"two", 7.25, 0o444), Member("a", b"one", 8, 0o755)]
    mask = os.umask(0o077)
    try:
        members.write_loose(tmp_path / "deep" / "er", files)
    finally:
        os.umask(mask)
    assert members.read_loose(tmp_path / "deep" / "er") == [("a", b"one"), ("b", b"two")]
    for file in files:
        status = (tmp_path / "deep" / "er" / file.name).stat()
        assert status.st_mtime_ns == file.mtime * 10**9
        assert status.st_mode & 0o7777 == file.mode


def test_a_file_makes_its_directory(tmp_path: Path) -> None:
    members.write_file(tmp_path / "x" / "y", b"data")
    status = (tmp_path / "x" / "y").stat()
    assert (status.st_mtime, status.st_mode & 0o7777) == (members.JUNE_2012, 0o644)
