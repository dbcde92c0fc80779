"""The search path of index files: one place to write, read-only ones behind
it, each believed or not.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs.index.bulk_build import save
from imagenetfs.index.search_path import IN_SOURCE, IndexSearchPath
from tests.helpers.archives import Scans, class_tar, contents, image, index_of

IMAGES = {b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in range(3)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "t.tar").write_bytes(class_tar(1))
    return root


def _made(source: Path, directory: Path) -> Path:
    """An index of ``source`` in a directory, as its keeper would make it."""
    file = IndexSearchPath(directory, source).file("t")
    assert file is not None
    index = index_of(source, "t.tar")
    index.container(0)
    save(index, [0], file)
    return file


def _scans(source: Path, places: IndexSearchPath) -> int:
    """How often the archive had to be scanned to serve right bytes."""
    scans = Scans()
    index = index_of(source, "t.tar", stores=[(frozenset([0]), places.files("t"))], scan=scans)
    assert contents(index, 0) == IMAGES
    return len(scans.extents)


def test_an_index_beside_the_data_serves_everybody(source: Path, tmp_path: Path) -> None:
    assert _made(source, source / IN_SOURCE) == source / IN_SOURCE / "t.idx"
    assert _scans(source, IndexSearchPath(tmp_path / "own", source)) == 0
    assert _scans(source, IndexSearchPath(None, source)) == 0
    moved = source.rename(tmp_path / "elsewhere")  # another path on another node
    assert _scans(moved, IndexSearchPath(tmp_path / "own", moved)) == 0


def test_a_site_s_place(source: Path, tmp_path: Path) -> None:
    site = [tmp_path / "nothing", tmp_path / "site"]
    _made(source, site[1])
    assert _scans(source, IndexSearchPath(tmp_path / "own", source, site)) == 0
    assert _scans(source, IndexSearchPath(tmp_path / "own", source)) == 1


def test_one_s_own_place_comes_first(source: Path, tmp_path: Path) -> None:
    own, site = tmp_path / "own", tmp_path / "site"
    places = IndexSearchPath(own, source, [site])
    assert places.files("t") == [places.file("t")]
    for place in (source / IN_SOURCE, own, site):
        _made(source, place)
    again = IndexSearchPath(own, source, [site])
    files = again.files("t")
    assert [file.parent.resolve() for file in files] == [
        places.files("t")[0].parent,
        source / IN_SOURCE,
        (IndexSearchPath(site, source).file("t") or site).parent,
    ]


def test_the_mount_may_lie_over_the_source(source: Path, tmp_path: Path) -> None:
    """What is read is what was there before, whatever has the name now."""
    _made(source, source / IN_SOURCE)
    places = IndexSearchPath(None, source)
    (source / IN_SOURCE).rename(tmp_path / "hidden")
    (source / IN_SOURCE).mkdir()
    assert _scans(source, places) == 0


@pytest.mark.expects_log(
    "is not used: the index directory may be written", "is not used: the index file may be written"
)
@pytest.mark.parametrize(
    ("which", "mode"),
    [("file", 0o664), ("file", 0o646), ("directory", 0o775), ("directory", 0o777)],
)
def test_what_others_may_write_is_not_believed(
    source: Path, tmp_path: Path, which: str, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = _made(source, source / IN_SOURCE)
    (file if which == "file" else file.parent).chmod(mode)
    assert _scans(source, IndexSearchPath(None, source)) == 1
    (record,) = caplog.records
    assert f"the index {which} may be written by others" in record.message
    assert str(file) in record.message  # and not by which way it was reached


@pytest.mark.expects_log(
    "is not used: the index directory may be written", "is not used: the index file may be written"
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("which", ["file", "directory"])
def test_what_is_somebody_else_s_is_not_believed(source: Path, tmp_path: Path, which: str) -> None:
    file = _made(source, tmp_path / "site")
    os.chown(file if which == "file" else file.parent, 12345, -1)
    assert _scans(source, IndexSearchPath(None, source, [tmp_path / "site"])) == 1


@pytest.mark.expects_log(
    "a block of the index file is damaged; indexing",
    "is not used: the index file is cut off;",
    "the archive is another one now; indexing",
)
@pytest.mark.parametrize("damage", ["stale", "torn", "of another kind"])
def test_one_that_does_not_hold_is_rebuilt_with_one_line(
    source: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own"
    file = _made(source, own)
    if damage == "stale":
        (source / "t.tar").write_bytes(class_tar(1) + bytes(512))
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    else:
        file.write_bytes(b"something else")
    places = IndexSearchPath(own, source)
    assert _scans(source, places) == 1
    assert len([r for r in caplog.records if "index file" in r.message]) == 1
    index = index_of(source, "t.tar", stores=[(frozenset([0]), places.files("t"))])
    index.container(0)
    save(index, [0], file)
    assert _scans(source, places) == 0
