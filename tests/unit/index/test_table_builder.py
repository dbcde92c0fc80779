"""Making a table while somebody touches, changes or replaces the archive."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.errors import SourceChangedError
from tests.helpers.archives import Scans, class_tar, contents, index_of, tar_table
from tests.helpers.tars import END, member


def _at_the(which: set[int], scans: Scans, change: Callable[[], object]) -> None:
    """Call ``change`` while the scans of these numbers, from 1, are under way."""

    def before(start: int) -> None:
        if len(scans.extents) in which:
            change()

    scans.before = before


@pytest.mark.parametrize("how", ["archive", "in a directory"])
def test_a_touch_during_a_scan_costs_a_second_one(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tars").mkdir()
    path = tmp_path / "tars" / "t.tar"
    path.write_bytes(class_tar(1))
    scans = Scans()
    index = index_of(tmp_path, "tars/t.tar" if how == "archive" else "tars", scan=scans)
    _at_the({1}, scans, lambda: os.chmod(path, 0o640))
    with caplog.at_level("INFO"):
        found = contents(index, 0, -1 if how == "archive" else 0)
    assert len(found) == 3
    assert len(scans.extents) == 2
    assert caplog.text.count("touched while it was indexed") == 1


def test_what_is_touched_again_and_again_fails_and_is_tried_later(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(class_tar(1))
    scans = Scans()
    index = index_of(tmp_path, "t.tar", scan=scans)
    _at_the({1, 2}, scans, lambda: os.utime(path, ns=(1, len(scans.extents))))
    with pytest.raises(SourceChangedError, match="written to"):
        index.container(0)
    assert not index.known(0)
    assert len(index.container(0).members) == 3
    assert len(scans.extents) == 3


def test_what_has_another_length_then_is_not_taken_for_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(class_tar(1))
    scans = Scans()
    index = index_of(tmp_path, "t.tar", scan=scans)
    _at_the({1}, scans, lambda: path.write_bytes(class_tar(1) + bytes(512)))
    with pytest.raises(SourceChangedError):
        index.container(0)
    assert len(scans.extents) == 1


def test_what_was_written_during_a_scan_is_what_the_second_one_finds(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(class_tar(1))
    scans = Scans()
    index = index_of(tmp_path, "t.tar", scan=scans)
    _at_the({1}, scans, lambda: path.write_bytes(class_tar(2)))
    names = list(tar_table(index, 0).names())
    assert names == list(tar_table(index_of(tmp_path, "t.tar"), 0).names())


@pytest.mark.expects_log("is broken at byte")
@pytest.mark.parametrize(("zeros", "is_told"), [(1 << 20, False), (3 << 20, True)])
def test_a_tar_that_was_fetched_in_part(tmp_path: Path, zeros: int, is_told: bool) -> None:
    """A file is made in its full length, and filled from the front: no tar is padded so far."""
    (tmp_path / "t.tar").write_bytes(class_tar(1) + bytes(zeros))
    index = index_of(tmp_path, "t.tar")
    assert len(contents(index, 0)) == 3
    problem = tar_table(index, 0).problem or ""
    assert ("it may have been fetched in part" in problem) == is_told


@pytest.mark.expects_log("is broken at byte")
@pytest.mark.parametrize("is_inner", [False, True])
@pytest.mark.parametrize("whole", [0, 1])
def test_a_hole_over_all_headers_up_to_the_end_is_told(
    tmp_path: Path, is_inner: bool, whole: int
) -> None:
    """Member data behind the hole are in no member: nothing else tells that they were left out."""
    one = b"".join(member(b"%d.JPEG" % i, b"\xd8" * 900) for i in range(3))
    damaged = one[: whole * 1536] + bytes(1024) + one[whole * 1536 + 1024 :][:300]
    if is_inner:
        damaged = member(b"n1.tar", damaged) + member(b"n2.tar", class_tar(1)) + END
    (tmp_path / "t.tar").write_bytes(damaged)
    index = index_of(tmp_path, "t.tar")
    table = tar_table(index, 0, 0) if is_inner else tar_table(index, 0)
    assert len(table) == whole
    assert "bytes with no header among them" in (table.problem or "")
    if is_inner:
        assert len(contents(index, 0)) == 2, "the archive around it goes on behind it"


@pytest.mark.expects_log("is broken at byte")
def test_a_tar_of_nothing_but_zeros_is_told_where_no_padding_is_so_long(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(bytes(3 << 20))
    index = index_of(tmp_path, "t.tar")
    assert "it may have been fetched in part" in (tar_table(index, 0).problem or "")
