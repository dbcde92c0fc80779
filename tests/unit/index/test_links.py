"""Which symbolic links of a directory are followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagenetfs.index.links import followed
from imagenetfs.source.source import DirectoryEntry, Source


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "directory").mkdir()
    os.utime(tmp_path / "file", ns=(7, 1_000_000_007))
    return Source(tmp_path)


def look(source: Source, name: str, target: str) -> DirectoryEntry | None:
    link = source.path / os.fsdecode(os.fsencode(name))
    link.symlink_to(target)
    status = os.lstat(link)
    entry = DirectoryEntry(os.fsencode(name), status.st_mode, len(target), 1, 1, 0, 0)
    return followed(source, os.fsencode(name), entry)


@pytest.mark.parametrize(
    ("name", "target", "kind"),
    [
        ("a.JPEG", "file", stat.S_IFREG),
        ("a.webp", "file", stat.S_IFREG),
        ("new\nline.png", "file", stat.S_IFREG),
        ("n01440764.tar", "file", stat.S_IFREG),
        ("n01440764", "directory", stat.S_IFDIR),
        ("a.JPEG", "directory", None),  # an image is no directory
        ("n01440764", "file", None),
        ("n01440764.tar", "directory", None),
        ("notes.txt", "file", None),
        ("a.JPEG.bak", "file", None),
        ("n0144076", "directory", None),
        ("n01440764x", "directory", None),
        ("train", "directory", None),
        ("a.JPEG", "nowhere", None),
        ("a.JPEG", "a.JPEG", None),  # in a circle
    ],
)
def test_what_a_link_is_taken_for(source: Source, name: str, target: str, kind: int | None) -> None:
    found = look(source, name, target)
    assert (None if found is None else stat.S_IFMT(found.mode)) == kind


def test_a_followed_link_has_its_own_name_and_the_files_attributes(source: Source) -> None:
    found = look(source, "a.JPEG", "file")
    assert found is not None
    status = (source.path / "file").stat()
    assert found == DirectoryEntry(
        b"a.JPEG",
        status.st_mode,
        5,
        1_000_000_007,
        status.st_ctime_ns,
        status.st_uid,
        status.st_gid,
    )
