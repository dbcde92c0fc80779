"""archives/: every tar, and every tar within a tar, is a directory; deeper ones are files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagenetfs.counters import BYTES, REQUESTS
from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.tree import archive_view, class_listing, class_places
from imagenetfs.tree.archive_view import container_mtime_ns
from imagenetfs.tree.inode import InodeKind, base, fields
from imagenetfs.tree.listing import FlatListing
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import tar_of, train_tar
from tests.helpers.trees import at, names, read, tree_of


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "imagenet"
    deeper = tar_of({"deeper.tar": tar_of({"x": b"1"})})
    files = {
        "ILSVRC2012/ILSVRC2012_img_train.tar": train_tar(2),
        "ILSVRC2012/extra/deep/more.tar": tar_of({"a.JPEG": b"a", "b/c.JPEG": b"c"}),
        "ILSVRC2012/nested.tar": tar_of({"inner.tar": deeper, "readme.txt": b"r"}),
        "ILSVRC2012/extra/notes.txt": b"so that it is no mere level between others",
        "ILSVRC2012/notes.txt": b"notes",
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(5 * 10**9, 5 * 10**9))
    return tree_of(root)


def is_directory(tree: Tree, path: str) -> bool:
    return stat.S_ISDIR(tree.attributes(at(tree, path)).mode)


def test_tars_are_directories(tree: Tree) -> None:
    train = "archives/ILSVRC2012/ILSVRC2012_img_train.tar"
    assert names(tree, train) == ["n00000001.tar", "n00000002.tar"]
    assert names(tree, f"{train}/n00000002.tar") == [f"n00000002_{n}.JPEG" for n in range(3)]
    assert not is_directory(tree, "archives/ILSVRC2012/notes.txt")


def test_a_tar_in_a_tar_in_a_tar_is_a_file(tree: Tree) -> None:
    nested = "archives/ILSVRC2012/nested.tar"
    assert names(tree, nested) == ["inner.tar", "readme.txt"]
    assert names(tree, f"{nested}/inner.tar") == ["deeper.tar"]
    assert not is_directory(tree, f"{nested}/inner.tar/deeper.tar")


def test_a_tar_deeper_than_the_survey_is_found_when_it_is_touched(tree: Tree) -> None:
    before = len(tree.catalogue.index.archives)
    more = "archives/ILSVRC2012/extra/deep/more.tar"
    assert names(tree, more) == ["a.JPEG", "b"]
    assert names(tree, f"{more}/b") == ["c.JPEG"]
    assert read(tree, f"{more}/b/c.JPEG") == b"c"
    assert len(tree.catalogue.index.archives) == before + 1


def test_below_source_a_tar_is_a_file(tree: Tree) -> None:
    for path in ("ILSVRC2012/nested.tar", "ILSVRC2012/extra/deep/more.tar"):
        assert not is_directory(tree, f"source/{path}")


def test_times_are_those_of_the_files(tree: Tree) -> None:
    names(tree, "source/ILSVRC2012")  # the directory around it has been read
    number = at(tree, "archives/ILSVRC2012/nested.tar")
    assert tree.attributes(number).mtime_ns == 5 * 10**9
    inner = at(tree, "archives/ILSVRC2012/nested.tar/inner.tar")
    assert tree.attributes(inner).mtime_ns == 7 * 10**9


def test_nothing_is_read_for_a_time(tree: Tree) -> None:
    catalogue = tree.catalogue
    meter = catalogue.source.meter
    before = (meter[REQUESTS], meter[BYTES])
    number = catalogue.numbers[b"ILSVRC2012/nested.tar"]
    assert container_mtime_ns(catalogue, number, OUTER) == catalogue.mtime_ns
    assert container_mtime_ns(catalogue, catalogue.numbers[b""], OUTER) == catalogue.mtime_ns
    assert (meter[REQUESTS], meter[BYTES]) == before


IMAGENET = 1_281_167


@pytest.mark.slow
def test_every_row_of_a_tar_as_large_as_imagenet_is_its_own_file() -> None:
    rows = MemberRows(
        [b"f%07d" % number for number in range(IMAGENET)],
        *([0] * IMAGENET, [512] * IMAGENET, [0] * IMAGENET, [7] * IMAGENET),
        [stat.S_IFREG | 0o644] * IMAGENET,
    )
    members = MemberTable(memoryview(encode_member_table(rows)))
    listing = FlatListing(members, base(InodeKind.FILE, 3, 0))
    for row in (0, (1 << 20) - 1, 1 << 20, IMAGENET - 1):
        number = listing.find(b"f%07d" % row)
        assert number is not None
        assert fields(number) == (3, 0, row)
        assert next(listing.entries(row))[1] == number


@pytest.fixture
def small_source(tmp_path: Path) -> Path:
    (tmp_path / "ILSVRC2012").mkdir()
    val = tar_of({"ILSVRC2012_val_00000001.JPEG": b"image"})
    (tmp_path / "ILSVRC2012" / "ILSVRC2012_img_val.tar").write_bytes(val)
    many = tar_of({f"d/{number}": b"x" for number in range(9)})
    few = tar_of({"one": b"1"})
    (tmp_path / "t.tar").write_bytes(tar_of({"a.tar": many, "b.tar": few}))
    return tmp_path


@pytest.mark.expects_log("it is shown as a file; take it out")
def test_a_tar_with_more_rows_than_numbers_is_a_file_and_that_is_told(
    small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_view, "max_rows", lambda inner: 5)
    monkeypatch.setattr(class_places, "DEEPEST", 0)
    tree = tree_of(small_source)
    assert names(tree, "archives/t.tar") == ["a.tar", "b.tar"]
    assert stat.S_ISREG(tree.attributes(at(tree, "archives/t.tar/a.tar")).mode)
    [told] = [line for line in tree.catalogue.late_warnings.all() if "t.tar: a.tar" in line]
    assert "t.tar: a.tar has 10 members, and what lies within an archive can show 5" in told


def test_tars_behind_too_many_others_are_files(
    small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_view, "MAX_INNER", 1)
    monkeypatch.setattr(class_places, "DEEPEST", 0)
    tree = tree_of(small_source)
    kinds = [tree.attributes(at(tree, f"archives/t.tar/{name}.tar")).mode for name in "ab"]
    assert [stat.S_ISDIR(mode) for mode in kinds] == [True, False]


def test_a_directory_with_more_rows_than_numbers_says_so(
    small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = small_source / "some" / "where"
    deep.mkdir(parents=True)
    for number in range(9):
        (deep / str(number)).write_bytes(b"")
    tree = tree_of(small_source)
    assert len(names(tree, "source/some/where")) == 9
    tree = tree_of(small_source)
    monkeypatch.setattr(class_listing, "max_rows", lambda inner: 5)
    with pytest.raises(ArchiveError, match=r"has \d+ members, and a container within"):
        tree.listing(at(tree, "source/some/where"))
