"""Which directory each split of ILSVRC2012 is read from, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagenetfs.errors import SourceUnknownError
from imagenetfs.tree.tree import Tree
from tests.helpers.layouts import (
    Shown,
    by_directory,
    class_tars,
    devkit_files,
    flat,
    packed,
    shown,
    train_images,
    val_images,
    versions,
    write,
)
from tests.helpers.trees import tree_of
from tests.helpers.zips import zip_of

TRAIN, VAL = train_images(), val_images()
D = "ILSVRC2012/"
KIT = devkit_files(D + "ILSVRC2012_devkit_t12/")


def said(tree: Tree) -> str:
    return "\n".join([*tree.catalogue.warnings, *tree.catalogue.late_warnings.all()])


def tree(root: Path, *parts: Mapping[str, bytes]) -> Tree:
    return tree_of(write(root, {path: data for part in parts for path, data in part.items()}))


def directories(images: Shown, name: str) -> dict[str, bytes]:
    return by_directory(images, f"{D}{name}/")


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [("Train", "Val"), ("TRAIN", "VALIDATION"), ("Training", "Valid")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_the_case_of_a_name_says_nothing(
    tmp_path: Path, names: tuple[str, str], zipped: bool
) -> None:
    if zipped:
        zips = {
            f"{D}{name}.zip": zip_of(by_directory(images), "stored")
            for name, images in zip(names, (TRAIN, VAL), strict=True)
        }
        found = tree(tmp_path, KIT, zips)
    else:
        found = tree(tmp_path, KIT, directories(TRAIN, names[0]), directories(VAL, names[1]))
    assert shown(found, "ILSVRC2012/train") == TRAIN
    assert shown(found, "ILSVRC2012/val") == VAL
    assert said(found) == ""


def test_to_the_letter_comes_first(tmp_path: Path) -> None:
    found = tree(tmp_path, KIT, directories(TRAIN, "train"), directories(VAL, "Train"))
    assert shown(found, "ILSVRC2012/train") == TRAIN
    assert said(found) == "ILSVRC2012/Train is not used: train is read from ILSVRC2012/train."


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["_256", "2", "_images", "-resized", ".small", "_blurred"])
def test_a_name_that_speaks_of_the_split(tmp_path: Path, ending: str) -> None:
    val = {f"{D}val{ending}/{name}": data for name, data in flat(VAL).items()}
    found = tree(tmp_path, KIT, directories(TRAIN, f"train{ending}"), val)
    assert shown(found, "ILSVRC2012/train") == TRAIN
    assert shown(found, "ILSVRC2012/val") == VAL
    assert f"ILSVRC2012/train{ending} is taken for train, by its name." in said(found)
    assert f"ILSVRC2012/val{ending} is taken for val, by its name." in said(found)


def test_it_is_told_where_another_one_is_used(tmp_path: Path) -> None:
    found = tree(tmp_path, KIT, directories(TRAIN, "train"), directories(TRAIN, "train_256"))
    assert shown(found, "ILSVRC2012/train") == TRAIN
    assert said(found) == "ILSVRC2012/train_256 is not used: train is read from ILSVRC2012/train."


def test_two_that_speak_of_it(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        KIT,
        directories(TRAIN, "train_a"),
        directories(TRAIN, "train_b"),
        directories(VAL, "val"),
    )
    assert versions(found) == {"ILSVRC2012": ["val"]}
    assert "ILSVRC2012/train_a and ILSVRC2012/train_b all look like train" in said(found)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["val", "valid", "Validation"])
def test_two_that_are_called_so(tmp_path: Path, first: str) -> None:
    found = tree(tmp_path, KIT, directories(VAL, "ILSVRC2012_img_val"), directories(VAL, first))
    assert shown(found, "ILSVRC2012/val") == VAL
    assert "is not used: val is read from ILSVRC2012/" in said(found)


def test_one_that_is_called_otherwise(tmp_path: Path) -> None:
    found = tree(tmp_path, KIT, directories(TRAIN, "train"), directories(VAL, "dev"))
    assert versions(found) == {"ILSVRC2012": ["train"]}
    [told] = said(found).split("\n")
    assert told.startswith("ILSVRC2012/dev is not used: it holds 4 classes, and is not called as")
    assert "ln -s dev ILSVRC2012/val" in told


def test_what_holds_nothing_is_not_told(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        KIT,
        directories(TRAIN, "train"),
        {
            D + "scripts/run.sh": b"#!",
            D + "train_logs/x.txt": b"x",
            D + "bbox/n01440764/a.xml": b"x",
        },
    )
    assert said(found) == ""


def test_beside_the_tar_the_directory_is_no_news(tmp_path: Path) -> None:
    tar = {D + "ILSVRC2012_img_train.tar": packed(class_tars(TRAIN))}
    found = tree(tmp_path, KIT, tar, directories(TRAIN, "train"))
    assert said(found) == ""


def test_beside_the_tar_an_empty_directory_is_no_news(tmp_path: Path) -> None:
    (tmp_path / D / "train").mkdir(parents=True)
    found = tree(tmp_path, KIT, {D + "ILSVRC2012_img_train.tar": packed(class_tars(TRAIN))})
    assert said(found) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["val", "validation", "Val", "test"])
def test_a_split_that_is_empty(tmp_path: Path, name: str) -> None:
    write(tmp_path, {**KIT, **directories(TRAIN, "train")})
    (tmp_path / D / name).mkdir()
    split = "test" if name == "test" else "val"
    assert said(tree_of(tmp_path)) == f"ILSVRC2012/{name} is empty: there is no {split}."


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "Training", "ILSVRC2012_img_train"])
def test_a_split_that_is_a_link_to_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path, {**KIT, **directories(VAL, "val")})
    (tmp_path / D / name).symlink_to("/nowhere/at/all")
    found = tree_of(tmp_path)
    assert versions(found) == {"ILSVRC2012": ["val"]}
    assert said(found) == (
        f"ILSVRC2012/{name} is no directory, but a file or a link that leads nowhere: there is no "
        "train."
    )


def test_a_source_of_which_nothing_is_shown_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(SourceUnknownError, match="all look like train, and none is used"):
        tree(tmp_path, KIT, directories(TRAIN, "train_a"), directories(TRAIN, "train_b"))
