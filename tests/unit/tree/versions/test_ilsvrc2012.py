"""ILSVRC2012 and its fine-grained task.

Which archives make which split, and how val is labelled.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.tree.split_backend import UNLABELED
from tests.helpers.archives import image
from tests.helpers.devkit import LEAVES
from tests.helpers.sources import write
from tests.helpers.trees import VAL, ilsvrc2012, names, read, tree_of

VAL_DIRECTORY = "ILSVRC2012/validation"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return ilsvrc2012(tmp_path / "imagenet")


def test_splits_and_where_they_come_from(source: Path) -> None:
    main, t3 = tree_of(source).catalogue.versions
    assert [(split.name, split.origin, split.aliases) for split in main.splits] == [
        (b"train", "ILSVRC2012/ILSVRC2012_img_train.tar", ()),
        (b"val", "ILSVRC2012/ILSVRC2012_img_val.tar", (b"validation",)),
        (
            b"test",
            "ILSVRC2012/ILSVRC2012_img_test_v10102019.tar and "
            "ILSVRC2012/ILSVRC2012_img_test_patch_images_v10102019.tar",
            (),
        ),
    ]
    assert (t3.name, [split.name for split in t3.splits]) == (b"ILSVRC2012_t3", [b"train"])
    assert main.hidden_directories == {
        b"ILSVRC2012_devkit_t12": b"ILSVRC2012/ILSVRC2012_devkit_t12"
    }


def test_classes_of_val_in_file_order(source: Path) -> None:
    version = tree_of(source).catalogue.versions[0]
    assert version.val_wnids is not None
    assert list(version.val_wnids()) == [LEAVES[n % 4] for n in range(1, VAL + 1)]


def test_a_part_alone(source: Path) -> None:
    for path in (source / "ILSVRC2012").glob("*.tar"):
        if "train_t3" not in path.name:
            path.unlink()
    [version] = tree_of(source).catalogue.versions
    assert version.name == b"ILSVRC2012_t3"


def _without_kit(source: Path) -> None:
    for path in (source / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data").iterdir():
        path.unlink()


def test_without_a_kit_val_is_labelled_by_class_directories(source: Path) -> None:
    _without_kit(source)
    write(source / VAL_DIRECTORY / "n00000007" / "ILSVRC2012_val_00000002.JPEG", b"x")
    tree = tree_of(source)
    assert names(tree, "ILSVRC2012/val") == ["n00000007", "unlabeled"]
    assert names(tree, "ILSVRC2012/val/n00000007") == ["ILSVRC2012_val_00000002.JPEG"]
    assert len(names(tree, "ILSVRC2012/val/unlabeled")) == VAL - 1
    assert any(
        warning.endswith(f"labelled by the extracted class directories of {VAL_DIRECTORY}.")
        or VAL_DIRECTORY in warning
        for warning in tree.catalogue.warnings
    )
    assert tree.catalogue.versions[0].val_wnids is None


def test_without_a_kit_and_directories_val_is_unlabelled(source: Path) -> None:
    _without_kit(source)
    tree = tree_of(source)
    assert names(tree, "ILSVRC2012/val") == ["unlabeled"]
    [warning] = [w for w in tree.catalogue.warnings if "is missing or cannot be used" in w]
    assert warning == (
        "the devkit is missing or cannot be used, so the labels of val are unknown: its images "
        "stand under val/unlabeled/. ILSVRC2012_devkit_t12.tar.gz (2.5 MB, from image-net.org's "
        "download page) beside the tars is enough."
    )


def test_an_extracted_val_of_class_directories(source: Path) -> None:
    (source / "ILSVRC2012" / "ILSVRC2012_img_val.tar").unlink()
    for wnid in ("n00000007", "n00000009"):
        write(source / VAL_DIRECTORY / wnid / f"{wnid}.JPEG", b"x")
    tree = tree_of(source)
    assert names(tree, "ILSVRC2012/val") == ["n00000007", "n00000009"]
    assert tree.catalogue.versions[0].splits[1].origin.rstrip("/").endswith(VAL_DIRECTORY)


@pytest.mark.expects_log("does not add up, as far as it has")
def test_an_extracted_flat_val_is_labelled_by_the_kit(source: Path) -> None:
    (source / "ILSVRC2012" / "ILSVRC2012_img_val.tar").unlink()
    write(source / VAL_DIRECTORY / "ILSVRC2012_val_00000001.JPEG", b"x")
    tree = tree_of(source)
    assert names(tree, f"ILSVRC2012/val/{LEAVES[1].decode()}") == ["ILSVRC2012_val_00000001.JPEG"]


def test_labels_that_the_kit_does_not_name(source: Path) -> None:
    data = source / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    write(data / "ILSVRC2012_validation_ground_truth.txt", b"1\n99\n" + b"2\n" * (VAL - 2))
    tree = tree_of(source)
    assert names(tree, "ILSVRC2012/val/unlabeled") == ["ILSVRC2012_val_00000002.JPEG"]
    assert (
        "the devkit gives val images labels that it does not name: see val/unlabeled/."
        in tree.catalogue.warnings
    )
    version = tree.catalogue.versions[0]
    assert version.val_wnids is not None
    assert version.val_wnids()[1] == UNLABELED


def test_an_extracted_test_needs_no_patch(source: Path) -> None:
    (source / "ILSVRC2012" / "ILSVRC2012_img_test_v10102019.tar").unlink()
    write(source / "ILSVRC2012" / "test" / "ILSVRC2012_test_00000002.JPEG", b"extracted")
    tree = tree_of(source)
    one = "ILSVRC2012/test/unlabeled/ILSVRC2012_test_00000002.JPEG"
    assert read(tree, one) == b"extracted"


@pytest.mark.expects_log("no tar header here: its checksum does not hold;")
def test_a_broken_patch_is_left_out(source: Path) -> None:
    write(source / "ILSVRC2012" / "ILSVRC2012_img_test_patch_images_v10102019.tar", b"x" * 900)
    tree = tree_of(source)
    one = "ILSVRC2012/test/unlabeled/ILSVRC2012_test_00000002.JPEG"
    assert read(tree, one) == image(2)
    assert any("test_patch" in warning for warning in tree.catalogue.warnings)


@pytest.mark.slow
def test_another_name_of_the_directory(source: Path) -> None:
    (source / "ILSVRC2012").rename(source / "ILSVRC2012_CLS-LOC")
    assert [version.name for version in tree_of(source).catalogue.versions] == [
        b"ILSVRC2012",
        b"ILSVRC2012_t3",
    ]
