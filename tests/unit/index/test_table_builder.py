"""Making a table while somebody touches, changes or replaces the archive."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.errors import SourceChangedError
from imagenetfs.index.archives import OUTER
from tests.helpers.archives import Scans, class_tar, contents, index_of, tar_of, tar_table
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


@pytest.mark.slow
@pytest.mark.expects_log("is broken at byte")
@pytest.mark.parametrize("is_inner", [False, True])
@pytest.mark.parametrize("zeros", [20_000, 70_000, 700_000, 1 << 20, 3 << 20])
def test_a_tar_that_was_fetched_in_part(tmp_path: Path, zeros: int, is_inner: bool) -> None:
    """A file is made in its full length, and filled from the front: no tar is padded so."""
    data = b"".join(member(b"%d.JPEG" % i, b"\xd8" * 900) for i in range(3))
    start = len(data)
    records = (start + zeros) // 20_480 * 2 + 1  # of 10,240 bytes, as they are published
    data = data.ljust((records if records % 5 else records + 2) * 10_240, b"\0")
    length = len(data) - start
    if is_inner:
        data = tar_of({"n1.tar": data, "n2.tar": class_tar(1)})
    (tmp_path / "t.tar").write_bytes(data)
    index, inner = index_of(tmp_path, "t.tar"), 0 if is_inner else OUTER
    assert len(contents(index, 0, inner)) == 3
    table = tar_table(index, 0, inner)
    if zeros > 2 << 20:
        assert "nothing but zeros up to the end" in (table.problem or "")
    else:
        assert table.problem is None
        assert table.doubt == f"{length:,} bytes of zeros, from byte {start:,} on"
    assert not is_inner or tar_table(index, 0).doubt is None


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [1, 2, 10, 16, 20, 32, 64, 100, 128, 256, 512, 1000, 1024, 2048])
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_no_padding_that_programs_write_is_blamed(
    tmp_path: Path, program: str, blocks: int
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, size in enumerate((1, 512, 700, 90_000)):
        (images / f"{number}.JPEG").write_bytes(b"\xd8" * size)
        tar = [program, f"-b{blocks}", "-cf", "-", "-C", str(images), "."]
        written = subprocess.run(tar, check=True, capture_output=True).stdout
        (tmp_path / f"{number}.tar").write_bytes(written)
        index = index_of(tmp_path, f"{number}.tar")
        table = tar_table(index, 0)
        assert (table.problem, table.doubt) == (None, None)
        assert len(contents(index, 0)) == number + 1


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
