"""A split as a sequence: order, labels, bytes, and how little it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import imagenetfs
from imagenetfs.errors import BrokenArchivesError
from imagenetfs.library.split import _SplitTable
from imagenetfs.source.file import SourceFile
from imagenetfs.tree.listing import Columns, Listing
from tests.helpers.sources import train_and_test


@pytest.fixture
def split(tmp_path: Path) -> Iterator[imagenetfs.Split]:
    source = train_and_test(tmp_path / "imagenet", classes=4, images=5)
    with imagenetfs.open(source, index_dir="none") as tree:
        yield tree["ILSVRC2012/train"]


def test_classes_and_labels(split: imagenetfs.Split) -> None:
    assert split.classes == [f"n0000000{n}" for n in (1, 2, 3, 4)]
    assert split.class_to_idx == {name: n for n, name in enumerate(split.classes)}
    assert len(split) == 20
    assert split.labels.dtype == np.int32
    assert split.labels.tolist() == [n for n in range(4) for _ in range(5)]
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 3


def test_paths_are_in_the_order_of_names(split: imagenetfs.Split) -> None:
    paths = [split.path(number) for number in range(len(split))]
    assert paths == sorted(paths)
    assert all(path.split("/")[2] == split.classes[n // 5] for n, path in enumerate(paths))
    assert split.path(-1) == paths[-1]


def test_bytes(split: imagenetfs.Split) -> None:
    tree = split.tree
    one_by_one = [split.read(number) for number in range(len(split))]
    assert one_by_one == [tree.read(split.path(number)) for number in range(len(split))]
    assert len(set(one_by_one)) == len(split)
    order = np.random.default_rng(0).permutation(len(split))
    assert split.read_many(order) == [one_by_one[n] for n in order]
    assert split.read_many([]) == []
    assert split.read_many(iter([-1, 0, 0])) == [one_by_one[-1], one_by_one[0], one_by_one[0]]


@pytest.mark.parametrize("wrong", [20, -21])
def test_numbers_that_are_not_there(split: imagenetfs.Split, wrong: int) -> None:
    for ask in (split.read, split.path, lambda number: split.read_many([0, number])):
        with pytest.raises(IndexError, match="has 20 images"):
            ask(wrong)
    with pytest.raises(TypeError):
        split.read(1.5)  # type: ignore[arg-type]  # that is the test


def test_every_request_of_a_batch_is_made_before_the_first_is_read(
    split: imagenetfs.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    hint, read = SourceFile.hint, SourceFile.read

    def hinted(self: SourceFile, offset: int, length: int) -> None:
        done.append("hint")
        hint(self, offset, length)

    def was_read(self: SourceFile, offset: int, length: int) -> bytes:
        done.append("read")
        return read(self, offset, length)

    assert len(split) == 20
    monkeypatch.setattr(SourceFile, "hint", hinted)
    monkeypatch.setattr(SourceFile, "read", was_read)
    split.read_many(range(8))
    assert done == ["hint"] * 8 + ["read"] * 8


def test_more_than_the_window(split: imagenetfs.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagenetfs.library.opened.AHEAD", 3)
    assert split.read_many(range(20)) == [split.read(number) for number in range(20)]


def test_extensions(split: imagenetfs.Split) -> None:
    assert split.with_extensions([".jpeg", ".png"]) is None
    chosen = split.with_extensions(["_2.jpeg"])
    assert chosen is not None and len(chosen) == 4
    assert all(split.path(int(number)).endswith("_2.JPEG") for number in chosen)


def test_images_in_a_row_take_no_memory_of_their_own() -> None:
    class Images:
        """A class's listing of images in a row."""

        def __init__(self, first: int) -> None:
            self.first = first

        def __len__(self) -> int:
            return 1_000

        def columns(self, start: int, stop: int) -> Columns:
            numbers = np.arange(self.first + start, self.first + stop, dtype=np.uint64)
            middles = np.frombuffer(b"".join(b"%03d" % n for n in range(start, stop)), np.uint8)
            ends = 3 * np.arange(1, stop - start + 1)
            return Columns(b"", middles, ends, b"", numbers, numbers, numbers, 0, 0)

    listings = cast(list[Listing], [Images(10_000 * n) for n in range(100)])
    table = _SplitTable(listings)
    assert len(table) == 100_000
    assert all(isinstance(one._inodes, int) and one._order is None for one in table._classes)
    assert table.inode(99_999) == 10_000 * 99 + 999
    assert table.labels().nbytes == 400_000


@pytest.mark.expects_log("no tar header here", "Nothing of it can be served", "is broken")
def test_what_is_broken_as_a_whole_is_no_empty_split(tmp_path: Path) -> None:
    """Neither the split nor its directory has nothing in it: both fail, and say why."""
    source = train_and_test(tmp_path / "imagenet", classes=2, images=2)
    (source / "ILSVRC2012" / "ILSVRC2012_img_val.tar").write_bytes(b"no tar" * 500)
    with imagenetfs.open(source, index_dir="none") as tree:
        assert "val" in tree.listdir("ILSVRC2012")
        assert len(tree["ILSVRC2012/train"]) == 4
        for ask in (
            lambda: tree["ILSVRC2012/val"],
            lambda: tree.listdir("ILSVRC2012/val"),
            lambda: tree.read("ILSVRC2012/val/n00000001/x.JPEG"),
        ):
            with pytest.raises(BrokenArchivesError, match=r"img_val\.tar is broken"):
                ask()
