"""Classes that are directories within larger containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.tree.class_places import ClassPlace
from imagenetfs.tree.directory_split import DirectorySplit
from imagenetfs.tree.left_out import Reason
from tests.helpers.archives import close, image, index_of, tar_of, tar_table
from tests.helpers.splits import split_images

A, B, C = b"n00000001", b"n00000002", b"n00000003"
TAR = tar_of(
    {
        "train/": b"",
        "train/n00000001/": b"",
        "train/n00000001/a.JPEG": image(1),
        "train/n00000001/notes.txt": b"x",
        "train/n00000002/b.JPEG": image(2),
        "train/n00000002x/c.JPEG": image(3),
        "n00000003.tar": tar_of({"d.JPEG": image(4)}),
    }
)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    (tmp_path / "t.tar").write_bytes(TAR)
    found = index_of(tmp_path, "t.tar")
    yield found
    close(found)


@pytest.fixture
def split(index: Index) -> DirectorySplit:
    places = {
        B: ClassPlace(0, OUTER, b"train/" + B),
        A: ClassPlace(0, OUTER, b"train/" + A),
        C: ClassPlace(0, 0),
    }
    return DirectorySplit(index, places, tell=lambda sentence: pytest.fail(sentence))


def test_its_images_by_class(index: Index, split: DirectorySplit) -> None:
    assert list(split.classes) == [A, B, C]
    assert split_images(index, split) == {
        A: {b"a.JPEG": image(1)},
        B: {b"b.JPEG": image(2)},
        C: {b"d.JPEG": image(4)},
    }


def test_where_its_classes_stand(split: DirectorySplit) -> None:
    assert split.archives == (0,)
    assert [split.places(number) for number in range(3)] == [
        ((0, OUTER),),
        ((0, OUTER),),
        ((0, 0),),
    ]
    assert split.directories(0) == [b"train/" + A, b"train/" + B, b""]
    assert split.directories(1) == []
    assert [place.below for place in split.class_places()] == [b"train/" + A, b"train/" + B, b""]


def test_the_class_of_a_row(index: Index, split: DirectorySplit) -> None:
    members = tar_table(index, 0)
    found = {name: split.class_of(0, OUTER, members.find(name)) for name in members.names()}
    assert {name: number for name, number in found.items() if number is not None} == {
        b"train/n00000001/a.JPEG": 0,
        b"train/n00000001/notes.txt": 0,
        b"train/n00000002/b.JPEG": 1,  # and n00000002x is another directory
    }
    assert split.class_of(0, 0, 0) == 2
    assert split.class_of(0, 1, 0) is None
    assert split.class_of(7, OUTER, 0) is None


def test_times_are_those_of_the_directories(split: DirectorySplit) -> None:
    assert split.mtime_ns(0) == 7 * 10**9
    assert split.mtime_ns(2) is None  # the whole of a container


def test_what_is_left_out_is_counted_once(split: DirectorySplit) -> None:
    assert not split.left_out()
    for _ in range(3):
        split.listing(0)
        split.listing(1)
    assert split.left_out().counts == {Reason.NOT_IMAGE: 1}
    assert split.problems() == []


@pytest.mark.expects_log("cut off by the end")
def test_what_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(TAR[: TAR.index(b"n00000003.tar") + 600])
    index, told = index_of(tmp_path, "t.tar"), list[str]()
    split = DirectorySplit(index, {A: ClassPlace(0, OUTER, b"train/" + A)}, tell=told.append)
    assert set(split_images(index, split)[A]) == {b"a.JPEG"}
    assert told and "t.tar" in told[0]
    assert split.problems() == list(dict.fromkeys(told))
    close(index)
