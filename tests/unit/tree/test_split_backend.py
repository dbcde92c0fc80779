"""Flat splits: with labels, without, with a patch, and in directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from imagenetfs.errors import ArchiveError, ImagenetfsError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.tree import class_listing
from imagenetfs.tree.inode import max_rows
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit, image_number
from tests.helpers.archives import image, index_of, tar_of
from tests.helpers.splits import split_images


def _val(tmp_path: Path, count: int) -> None:
    names = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, count + 1)]
    shuffled = sorted(names, key=lambda name: name[::-1])
    numbers = {name: n for n, name in enumerate(names, 1)}
    (tmp_path / "val.tar").write_bytes(tar_of({name: image(numbers[name]) for name in shuffled}))


def _name(number: int) -> bytes:
    return b"ILSVRC2012_val_%08d.JPEG" % number


def test_labelled(tmp_path: Path) -> None:
    _val(tmp_path, 25)
    index = index_of(tmp_path, "val.tar")
    classes = [b"n00000003", b"n00000001", b"n00000002"]
    backend = FlatSplit(index, (0,), classes, lambda name: b"n%08d" % (image_number(name) % 3 + 1))
    found = split_images(index, backend)
    assert list(found) == sorted(classes)
    for number in range(1, 26):
        assert found[b"n%08d" % (number % 3 + 1)].pop(_name(number)) == image(number)
    assert not any(found.values())
    inode_of_5 = backend.find_anywhere(_name(5))
    assert inode_of_5 == backend.listing(2).find(_name(5)) is not None
    assert backend.find_anywhere(b"nothing") is None


def test_a_class_without_images_is_an_empty_directory(tmp_path: Path) -> None:
    _val(tmp_path, 3)
    index = index_of(tmp_path, "val.tar")
    backend = FlatSplit(index, (0,), [b"n1", b"n2", b"n3"], lambda name: b"n2")
    assert [len(backend.listing(number)) for number in range(3)] == [0, 3, 0]


def test_images_without_a_label_stand_in_unlabeled(tmp_path: Path) -> None:
    _val(tmp_path, 4)
    index = index_of(tmp_path, "val.tar")
    labels = {_name(1): b"n1", _name(2): b"n9", _name(3): None}
    found = split_images(index, FlatSplit(index, (0,), [b"n1", UNLABELED], labels.get))
    assert {wnid: sorted(names) for wnid, names in found.items()} == {
        b"n1": [_name(1)],
        UNLABELED: [_name(2), _name(3), _name(4)],
    }


def test_without_labels_everything_is_unlabeled(tmp_path: Path) -> None:
    _val(tmp_path, 4)
    index = index_of(tmp_path, "val.tar")
    backend = FlatSplit(index, (0,))
    assert split_images(index, backend) == {UNLABELED: {_name(n): image(n) for n in range(1, 5)}}


def test_a_patch_is_laid_over(tmp_path: Path) -> None:
    (tmp_path / "test.tar").write_bytes(
        tar_of({"test/": b"", **{f"test/{n}.JPEG": image(n) for n in range(5)}})
    )
    (tmp_path / "patch.tar").write_bytes(
        tar_of({"patch_images/2.JPEG": b"patched", "9.JPEG": b"new"})
    )
    index = index_of(tmp_path, "test.tar", "patch.tar")
    backend = FlatSplit(index, (0, 1))
    expected = {b"%d.JPEG" % n: image(n) for n in range(5)}
    assert split_images(index, backend)[UNLABELED] == {
        **expected,
        b"2.JPEG": b"patched",
        b"9.JPEG": b"new",
    }
    assert backend.archives == (0, 1)


def _flat_directory(tmp_path: Path, names: Sequence[str]) -> Index:
    for number, name in enumerate(names):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / f"{number}.JPEG").write_bytes(image(number))
    return index_of(tmp_path, "val")


def test_a_directory_with_a_few_below(tmp_path: Path) -> None:
    index = _flat_directory(tmp_path, ["a", "b", "c"])
    (tmp_path / "val" / "9.JPEG").write_bytes(image(9))
    backend = FlatSplit(index, (0,))
    assert split_images(index, backend)[UNLABELED] == {
        b"%d.JPEG" % n: image(n) for n in (0, 1, 2, 9)
    }


@pytest.mark.slow
def test_a_directory_with_many_below(tmp_path: Path) -> None:
    index = _flat_directory(tmp_path, [f"class{n:03d}" for n in range(300)])
    backend = FlatSplit(index, (0,))
    assert split_images(index, backend)[UNLABELED] == {b"%d.JPEG" % n: image(n) for n in range(300)}


def test_a_container_with_more_rows_than_numbers_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = _flat_directory(tmp_path, ["a"])
    (tmp_path / "val" / "a" / "1.JPEG").write_bytes(image(1))
    assert max_rows(0) > 2
    monkeypatch.setattr(class_listing, "max_rows", lambda inner: 1)
    with pytest.raises(ArchiveError, match="val: a has 2 members"):
        FlatSplit(index, (0,)).listing(0)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"ILSVRC2012_val_00000001.JPEG", 1),
        (b"ILSVRC2012_val_00050000.JPEG", 50_000),
        (b"ILSVRC2012_val_00050000.jpg", 50_000),
        (b"ILSVRC2012_val_1.JPEG", 0),
        (b"readme.txt", 0),
        (b"", 0),
    ],
)
def test_image_numbers(name: bytes, number: int) -> None:
    assert image_number(name) == number


def test_what_is_of_another_archive_is_told_without_reading_its_own(tmp_path: Path) -> None:
    """A split whose archive may not be read has no say in attributes of other files."""
    _val(tmp_path, 3)
    (tmp_path / "other.tar").write_bytes(tar_of({"a.JPEG": image(1)}))
    index = index_of(tmp_path, "val.tar", "other.tar")
    (tmp_path / "val.tar").unlink()
    backend = FlatSplit(index, (0,), [b"n1"], lambda name: b"n1")
    assert backend.class_of(1, OUTER, 0) is None
    with pytest.raises(ImagenetfsError):
        backend.class_of(0, OUTER, 0)
