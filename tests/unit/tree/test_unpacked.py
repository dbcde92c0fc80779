"""Paths that lead into zips as if they had been unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.errors import NoEntryError
from imagenetfs.index.archives import OUTER
from imagenetfs.tree.unpacked import DirectoryPlace, UnpackedSource, UnpackedZip, stem_of
from tests.helpers.archives import index_of
from tests.helpers.zips import zip_of

FILES = {"set/train/a/x": b"1", "set/list.txt": b"2" * 99, "beside": b"3"}


@pytest.fixture
def unpacked(tmp_path: Path) -> UnpackedSource:
    (tmp_path / "d" / "real").mkdir(parents=True)
    (tmp_path / "d" / "real" / "file").write_bytes(b"real")
    (tmp_path / "d" / "x.zip").write_bytes(zip_of(FILES))
    found = UnpackedSource(index_of(tmp_path, "d/x.zip", "d"))
    found.zips.append(UnpackedZip(0, b"d", frozenset({b"set"})))
    found.zips.append(UnpackedZip(0, b"whole"))
    return found


def test_where_paths_lead() -> None:
    some = UnpackedZip(0, b"d", frozenset({b"set"}))
    paths = (b"d/set", b"d/set/a", b"d/other", b"d", b"dd/set", b"set")
    assert [some.within(path) for path in paths] == [b"set", b"set/a", None, None, None, None]
    whole = UnpackedZip(0, b"w")
    inside = (b"w", b"w/a/b", b"wa", b"")
    assert [whole.within(path) for path in inside] == [b"", b"a/b", None, None]
    top = UnpackedZip(0, b"", frozenset({b"set"}))
    assert [top.within(path) for path in (b"set/a", b"x", b"")] == [b"set/a", None, None]


def test_names(unpacked: UnpackedSource) -> None:
    assert unpacked.names(b"d/set") == [(b"list.txt", False), (b"train", True)]
    assert unpacked.names(b"whole") == [(b"beside", False), (b"set", True)]
    assert unpacked.names(b"d/real") == [(b"file", False)]
    assert unpacked.has_entries(b"d/set/train")
    assert unpacked.has_entries(b"d/real")


def test_contents(unpacked: UnpackedSource) -> None:
    assert unpacked.read_whole(b"d/set/list.txt") == b"2" * 99
    assert unpacked.read_whole(b"whole/beside") == b"3"
    assert unpacked.read_whole(b"d/real/file") == b"real"
    with pytest.raises(NoEntryError):
        unpacked.read_whole(b"d/set/train")


def test_places(unpacked: UnpackedSource) -> None:
    place = unpacked.directory(b"d/set/train")
    assert place == DirectoryPlace(0, OUTER, b"set/train")
    assert unpacked.path_of(place) == b"d/set/train"
    assert unpacked.title(place) == "d/x.zip: set/train"
    assert unpacked.directory(b"d/set/list.txt") is None
    assert unpacked.directory(b"d/real") is None
    assert unpacked.path_of(DirectoryPlace(1)) == b"d"
    assert unpacked.title(DirectoryPlace(1)) == "d"


def test_the_file_that_a_path_is_read_from(unpacked: UnpackedSource) -> None:
    assert unpacked.file_of(b"d/set/list.txt") == b"d/x.zip"
    assert unpacked.file_of(b"d/real/file") == b"d/real/file"


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        (b"a/imagenette.zip", b"a/imagenette"),
        (b"set.ZIP", b"set"),
        (b"x (1).zip", b"x (1)"),
        (b"a/x.zip.1", b"a/x"),
        (b"x.zip?download=1", b"x"),
        (b"other", b"other"),
    ],
)
def test_the_directory_of_a_zip_s_name(path: bytes, stem: bytes) -> None:
    assert stem_of(path) == stem
