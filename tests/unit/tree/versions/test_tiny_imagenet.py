"""tiny-imagenet-200: train without its level images/, val by its annotations, images alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.sources import write
from tests.helpers.trees import at, names, tree_of

ROOT = "tiny-imagenet-200"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for wnid in ("n00000001", "n00000002"):
        for number in range(2):
            write(tmp_path / ROOT / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", b"x")
        write(tmp_path / ROOT / "train" / wnid / f"{wnid}_boxes.txt", b"boxes")
    for number in range(3):
        write(tmp_path / ROOT / "val" / "images" / f"val_{number}.JPEG", b"x")
    lines = [
        "val_0.JPEG\tn00000002\t0\t0\t1\t1",
        "val_1.JPEG\tn00000009\t0",
        "odd",
        "val_2.JPEG\tx",
    ]
    write(tmp_path / ROOT / "val" / "val_annotations.txt", "\n".join(lines).encode())
    write(tmp_path / ROOT / "test" / "images" / "test_0.JPEG", b"x")
    write(tmp_path / ROOT / "test" / "readme.txt", b"x")
    return tmp_path


def test_train(source: Path) -> None:
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/train") == ["n00000001", "n00000002"]
    assert names(tree, f"{ROOT}/train/n00000002") == ["n00000002_0.JPEG", "n00000002_1.JPEG"]


@pytest.mark.expects_log(
    "does not add up, as far as it has", "have no label and stand in no class; they"
)
def test_val_has_the_classes_of_train_and_of_its_annotations(source: Path) -> None:
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/val") == ["n00000001", "n00000002", "n00000009"]
    assert names(tree, f"{ROOT}/val/n00000001") == []
    assert names(tree, f"{ROOT}/val/n00000002") == ["val_0.JPEG"]
    assert names(tree, f"{ROOT}/val/n00000009") == ["val_1.JPEG"]
    assert at(tree, f"{ROOT}/validation/val_2.JPEG"), "without a label it answers to its name"


def test_test_has_images_alone(source: Path) -> None:
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/test/unlabeled") == ["test_0.JPEG"]


def test_annotations_that_are_not_there(source: Path) -> None:
    (source / ROOT / "val" / "val_annotations.txt").unlink()
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/val") == ["unlabeled"]
    assert len(names(tree, f"{ROOT}/val/unlabeled")) == 3
    [warning] = tree.catalogue.warnings
    assert warning.endswith(
        "So the labels of tiny-imagenet-200/val are unknown: its images stand under val/unlabeled/."
    )


@pytest.mark.expects_log("have no label and stand in no class; they")
def test_a_val_that_was_sorted_in_part(source: Path) -> None:
    write(source / ROOT / "val" / "n00000001" / "val_7.JPEG", b"x")
    (source / ROOT / "val" / "n00000009").mkdir()
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/val/n00000001") == ["val_7.JPEG"]
    assert names(tree, f"{ROOT}/val/n00000002") == ["val_0.JPEG"]
    assert names(tree, f"{ROOT}/val/n00000009") == ["val_1.JPEG"]
    [warning] = tree.catalogue.warnings
    assert "as if sorting them had failed" in warning


def test_a_val_of_class_directories(source: Path) -> None:
    write(source / ROOT / "val" / "n00000001" / "val_7.JPEG", b"x")
    shutil.rmtree(source / ROOT / "val" / "images")
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/val") == ["n00000001"]
    assert names(tree, f"{ROOT}/validation/n00000001") == ["val_7.JPEG"]


@pytest.mark.parametrize("name", ["tiny_imagenet", "Tiny-ImageNet-200", "tinyimagenet200"])
def test_names_of_the_directory(source: Path, name: str) -> None:
    (source / ROOT).rename(source / name)
    [version] = tree_of(source).catalogue.versions
    assert version.name == b"tiny-imagenet-200"


def test_splits_that_are_missing(source: Path) -> None:
    for name in ("train", "test"):
        (source / ROOT / name).rename(source / ROOT / f"no-{name}")
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/val") == ["n00000002", "n00000009"]
    [version] = tree.catalogue.versions
    assert [split.name for split in version.splits] == [b"val"]


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_split_that_is_empty_is_told(source: Path, name: str) -> None:
    shutil.rmtree(source / ROOT / name)
    (source / ROOT / name).mkdir()
    told = tree_of(source).catalogue.warnings
    assert f"{ROOT}/{name} is empty: there is no {name}." in told


@pytest.mark.parametrize("name", [ROOT, "tiny_imagenet"])
def test_unpacked_into_a_directory_of_its_name(source: Path, name: str) -> None:
    (source / ROOT).rename(source / "inner")
    (source / name).mkdir()
    (source / "inner").rename(source / name / ROOT)
    tree = tree_of(source)
    assert names(tree, f"{ROOT}/train") == ["n00000001", "n00000002"]
    assert names(tree, f"{ROOT}/test/unlabeled") == ["test_0.JPEG"]
