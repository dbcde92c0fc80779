"""Where classes stand in containers of every form, and what makes splits of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.tree.class_places import (
    ClassPlace,
    FoundClass,
    by_split,
    choose_split,
    classes_by_name,
    find_classes,
    image_names,
    is_numbered,
    names_below,
    outside_of_classes,
    renamed,
    rows_outside,
    split_name,
    together,
    wnid_of_name,
)
from imagenetfs.tree.discovery import NUMBERED
from imagenetfs.tree.unpacked import DirectoryPlace
from tests.helpers.archives import close, index_of, tar_of
from tests.helpers.layouts import write
from tests.helpers.tables import DIRECTORY, FILE, LINK, members_of

A, B, C = b"n00000001", b"n00000002", b"n00000003"
PLACE = ClassPlace(0)


@pytest.fixture
def indexes() -> Iterator[list[Index]]:
    made: list[Index] = []
    yield made
    for one in made:
        close(one)


def found_in(
    indexes: list[Index], root: Path, files: dict[str, bytes], *paths: str
) -> list[tuple[str, ClassPlace]]:
    """Parent/class -> place, of the first of these archives of a source."""
    write(root, files)
    index = index_of(root, *paths)
    indexes.append(index)
    every = find_classes(index, DirectoryPlace(0))
    return [(os.fsdecode(b"/".join(filter(None, one[:2]))), one.place) for one in every]


X = {"x.JPEG": b"x"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({f"{A.decode()}.tar": tar_of(X)}, [("n00000001", ClassPlace(0, 0))]),
        ({"n00000001/x.JPEG": b"x"}, [("n00000001", ClassPlace(0, OUTER, A))]),
        ({"a/train/n00000001/x": b""}, [("a/train/n00000001", (0, OUTER, b"a/train/" + A))]),
        # both of one name: the tar comes last
        (
            {"n00000001/x": b"", "n00000001.tar": tar_of(X)},
            [("n00000001", (0, OUTER, A)), ("n00000001", (0, 0, b""))],
        ),
        ({"n1/x.JPEG": b"", "n000000010/x": b"", "xn00000001/x": b""}, []),
        ({"__MACOSX/n00000001/x.JPEG": b"", ".hidden/n00000001/x": b""}, []),
        ({"n00000001": b"a file"}, []),
        # a tar of tars of directories: one level more
        (
            {"train.tar": tar_of({"n00000001/x": b""})},
            [("train/n00000001", (1, OUTER, A))],
        ),
        ({"part7.tar": tar_of({"n00000001/x": b""})}, [("n00000001", (1, OUTER, A))]),
        # class tars, and directories, behind two tars more; a third one is not looked into
        (
            {"a.tar": tar_of({"train/b.tar": tar_of({"n00000001.tar": tar_of(X)})})},
            [("train/n00000001", (2, 0, b""))],
        ),
        (
            {"a.tar": tar_of({"b.tar": tar_of({"c.tar": tar_of({"n00000001/x": b""})})})},
            [("n00000001", (2, 0, A))],
        ),
        (
            {"a.tar": tar_of({"b.tar": tar_of({"c.tar": tar_of({"n00000001.tar": tar_of(X)})})})},
            [],
        ),
        ({"._train.tar": tar_of({"n00000001/x": b""})}, []),
    ],
    ids=range(13),
)
def test_classes_in_a_tar(
    tmp_path: Path,
    indexes: list[Index],
    members: dict[str, bytes],
    expected: list[tuple[str, ClassPlace]],
) -> None:
    assert found_in(indexes, tmp_path, {"t.tar": tar_of(members)}, "t.tar") == expected


def test_classes_in_a_directory_and_its_own_tars(tmp_path: Path, indexes: list[Index]) -> None:
    files = {"d/n00000001/x": b"", "d/n00000002.tar": tar_of(X), "d/0.tar": tar_of(X)}
    found = found_in(indexes, tmp_path, files, "d", "d/n00000001", "d/n00000002.tar")
    # what is an archive of its own is named as that
    assert found == [("n00000001", ClassPlace(1)), ("n00000002", ClassPlace(2))]


def test_classes_in_tars_deep_in_a_directory(tmp_path: Path, indexes: list[Index]) -> None:
    files = {
        "d/train/n00000001.tar": tar_of(X),
        "d/val/part.tar": tar_of({"n00000002/x": b""}),
    }
    found = found_in(indexes, tmp_path, files, "d", "d/train/n00000001.tar", "d/val/part.tar")
    assert ("train/n00000001", ClassPlace(1)) in found
    assert ("val/n00000002", ClassPlace(2, OUTER, B)) in found


def test_of_many_directories_none_is_looked_into(tmp_path: Path, indexes: list[Index]) -> None:
    for count, expected in ((8, 1), (9, 0)):
        files = {f"d{count}/{number}/y": b"" for number in range(count)}
        files[f"d{count}/0/n00000001/x"] = b""
        assert len(found_in(indexes, tmp_path, files, f"d{count}")) == expected


def test_classes_below_a_directory_and_by_numbers(tmp_path: Path, indexes: list[Index]) -> None:
    write(tmp_path, {"t.tar": tar_of({"a/0/x": b"", "a/12/x": b"", "a/007/x": b"", "b/3/x": b""})})
    indexes.append(index := index_of(tmp_path, "t.tar"))
    found = find_classes(index, DirectoryPlace(0, OUTER, b"a"), NUMBERED)
    assert [(one.parent, one.name, one.place.below) for one in found] == [
        (b"", b"0", b"a/0"),
        (b"", b"12", b"a/12"),
    ]


# --- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "Training", "a/b/train", "train.X1", "train_2", "TRAIN-10"), b"train"),
        (("val", "valid", "validation", "val2"), b"val"),
        (("test", "test_1"), b"test"),
        (("", "trains", "evaluation", "train_t3", "train/x", "testing", "vals"), b""),
    ],
)
def test_names_of_splits(names: tuple[str, ...], split: bytes) -> None:
    assert {name: split_name(name.encode()) for name in names} == dict.fromkeys(names, split)


def classes(*paths: str) -> list[FoundClass]:
    """By parent and class; each at a place of its own."""
    return [
        FoundClass(*_parent_and_name(path), ClassPlace(number)) for number, path in enumerate(paths)
    ]


def _parent_and_name(path: str) -> tuple[bytes, bytes]:
    parent, _, name = path.encode().rpartition(b"/")
    return parent, name


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a"], {"train": "a"}),
        (["x/a", "x/b"], {"train": "ab"}),  # what all begin with says nothing
        (["set/train/a", "set/val/a"], {"train": "a", "val": "a"}),
        (["train/a"], {"train": "a"}),
        (["val/a"], {"val": "a"}),
        (["fog/1/a", "fog/2/a", "snow/1/a"], {"fog-1": "a", "fog-2": "a", "snow-1": "a"}),
        (["a", "val/b"], {"train": "a", "val": "b"}),
        (["fog/val/a", "snow/val/b"], {"fog-val": "a", "snow-val": "b"}),
        (["train.X1/a", "train.X2/b"], {"train": "ab"}),  # parts of one
        (["train.X1/a", "train.X2/a"], {"train": "a", "train.X2": "a"}),
        (["train/a", "Train/a", "TRAIN/a"], {"train": "a", "Train": "a", "TRAIN": "a"}),
    ],
)
def test_classes_by_split(paths: list[str], expected: dict[str, str]) -> None:
    found = by_split(classes(*paths), b"train")
    assert {
        split.decode(): b"".join(sorted(places)).decode() for split, places in found.items()
    } == expected
    places = [place for by_class in found.values() for place in by_class.values()]
    assert sorted(places) == [ClassPlace(number) for number in range(len(paths))], "none is lost"


def test_classes_of_one_name_and_parent_are_not_lost() -> None:
    found = by_split([FoundClass(b"", b"a", ClassPlace(number)) for number in range(3)], b"train")
    assert list(found) == [b"train", b"train-2", b"train-3"]


@pytest.mark.parametrize(
    ("paths", "places", "twice"),
    [
        (["a", "b"], [0, 1], 0),
        (["train/a", "val/a", "val/b"], [0], 0),  # what is called as the split is it
        (["x/a", "val/b"], [0], 0),  # else what is called as none
        (["val/a", "val/b", "test/c"], [0, 1, 2], 0),  # else all
        (["x/a", "y/a", "y/b"], [1, 2], 1),  # from the one with the most
        (["x/a", "y/a"], [0], 1),
        (["train/a", "b/train/a", "b/train/c"], [1, 2], 1),
    ],
)
def test_the_classes_of_one_split(paths: list[str], places: list[int], twice: int) -> None:
    told: list[str] = []
    found = choose_split(classes(*paths), b"train", told.append, "t.tar")
    assert sorted(place.archive for place in found.values()) == places
    assert len(told) == bool(twice)
    if twice:
        assert told[0].startswith(f"t.tar holds classes twice: {twice} of them (first: ")


# --- flat images ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        (b"n01440764_10026.JPEG", b"n01440764"),
        (b"n01440764_10026_n01440764.JPEG", b"n01440764"),
        (b"ILSVRC2012_val_00000001_n01751748.JPEG", b"n01751748"),
        (b"n01440764.jpg", b"n01440764"),
        (b"n01440764_10026_n02119789.JPEG", b"n02119789"),  # the last one is the class
        (b"ILSVRC2012_val_00000001.JPEG", None),
        (b"n0144076_1.JPEG", None),
        (b"xn01440764_1.JPEG", None),
        (b"n01440764_1", None),
        (b"", None),
    ],
)
def test_the_class_that_a_name_says(name: bytes, wnid: bytes | None) -> None:
    assert wnid_of_name(name) == wnid
    assert classes_by_name([name, name, b"x"]) == ({wnid: 2} if wnid else {})


def test_images_of_a_table_by_name() -> None:
    members = members_of(
        [
            (b"a.JPEG", FILE),
            (b"b.txt", FILE),
            (b"c.JPEG", LINK),
            (b"d", DIRECTORY),
            (b"d/e.JPEG", FILE),
            (b"d/f", DIRECTORY),
            (b"d/f/g.JPEG", FILE),
            (b"d/f/__MACOSX", DIRECTORY),
            (b"d/f/__MACOSX/h.JPEG", FILE),
        ]
    )
    assert image_names(members) == [b"a.JPEG", b"e.JPEG", b"g.JPEG"]
    assert image_names(members, only_top=True) == [b"a.JPEG"]
    assert image_names(members, b"d") == [b"e.JPEG", b"g.JPEG"]
    assert image_names(members, b"d", only_top=True) == [b"e.JPEG"]
    places = [ClassPlace(0, OUTER, b"d/f")]
    assert outside_of_classes(members, places) == [b"a.JPEG", b"d/e.JPEG"]
    assert outside_of_classes(members, places, b"d") == [b"d/e.JPEG"]
    assert outside_of_classes(members, [PLACE]) == [b"a.JPEG", b"d/e.JPEG", b"d/f/g.JPEG"]
    rows = rows_outside(members, [b"d/f", b"d/f/__MACOSX"]).tolist()
    assert [members.name(row) for row in rows] == [b"a.JPEG", b"b.txt", b"d/e.JPEG"]


def test_images_in_the_few_directories_of_a_directory(tmp_path: Path, indexes: list[Index]) -> None:
    write(tmp_path, {"d/a.JPEG": b"", "d/e/b.JPEG": b"", "d/.x/c.JPEG": b"", "d/e/f/g.JPEG": b""})
    indexes.append(index := index_of(tmp_path, "d"))
    assert sorted(names_below(index, DirectoryPlace(0))) == [b"a.JPEG", b"b.JPEG", b"g.JPEG"]


# --- places ---------------------------------------------------------------------------------------


def test_numbers_and_the_classes_that_they_stand_for() -> None:
    assert is_numbered([b"0", b"12"])
    assert not any(map(is_numbered, ([], [b"0"], [b"0", b"x"], [b"0", b"01"], [b"0", b"1000"])))
    places = {b"0": ClassPlace(5), b"2": ClassPlace(6), b"3": ClassPlace(7)}
    assert renamed(places, [A, B, C]) == {A: ClassPlace(5), C: ClassPlace(6)}


def test_containers_each_once() -> None:
    places = {A: ClassPlace(1, 0, b"a"), B: ClassPlace(1, 0, b"b"), C: ClassPlace(1, 1)}
    assert together(places) == [ClassPlace(1, 0), ClassPlace(1, 1)]
