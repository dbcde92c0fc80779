"""The forms of ILSVRC2012 that a site may hold: each shows what the archives show."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount, Mounted, of_split

pytestmark = pytest.mark.spread

SPLITS = ("ILSVRC2012/train", "ILSVRC2012/val", "ILSVRC2012/test", "ILSVRC2012_t3/train")
DIRECTORIES = ("train", "train_T3", "validation", "test")
KIT = "ILSVRC2012_devkit_t12"


def as_it_comes(root: Path) -> None:
    pass


def archives_only(root: Path) -> None:
    for name in DIRECTORIES:
        shutil.rmtree(root / name)


def directories_only(root: Path) -> None:
    for tar in root.glob("*.tar"):
        tar.unlink()


def val_for_validation(root: Path) -> None:
    directories_only(root)
    (root / "validation").rename(root / "val")


def validation_by_class(root: Path) -> None:
    from imagenetfs.tree.devkit import GROUND_TRUTH, META_MAT, parse

    directories_only(root)
    kit = root / KIT
    parsed = parse(*((kit / os.fsdecode(name)).read_bytes() for name in (META_MAT, GROUND_TRUTH)))
    for number, path in enumerate(sorted((root / "validation").iterdir()), start=1):
        wnid = parsed.val_wnid(number)
        assert wnid is not None
        (root / "validation" / wnid.decode()).mkdir(exist_ok=True)
        path.rename(root / "validation" / wnid.decode() / path.name)


def val_by_class(root: Path) -> None:
    validation_by_class(root)
    (root / "validation").rename(root / "val")


def val_by_class_without_devkit(root: Path) -> None:
    val_by_class(root)
    shutil.rmtree(root / KIT)


def devkit_as_it_is_downloaded(root: Path) -> None:
    subprocess.run(["tar", "-czf", root / f"{KIT}.tar.gz", "-C", root, KIT], check=True)
    shutil.rmtree(root / KIT)


def class_tars_in_a_directory(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    archive = root / "ILSVRC2012_img_train.tar"
    subprocess.run(["tar", "-xf", archive, "-C", root / "train"], check=True)
    archive.unlink()


@pytest.mark.parametrize(
    "form",
    [
        as_it_comes,
        archives_only,
        directories_only,
        val_for_validation,
        validation_by_class,
        val_by_class,
        val_by_class_without_devkit,
        devkit_as_it_is_downloaded,
        class_tars_in_a_directory,
    ],
)
def test_every_form_shows_the_same(
    sample_copy: Path, mount: Mount, sample_mount: Mounted, form: Callable[[Path], None]
) -> None:
    form(sample_copy / "ILSVRC2012")
    one = mount(sample_copy)
    assert one.warnings == []
    for split in SPLITS:
        assert of_split(one, split) == of_split(sample_mount, split)
    assert os.listdir(one.root / "validation") == os.listdir(one.root / "val")


@pytest.mark.parametrize("missing", DIRECTORIES)
def test_a_missing_split_is_not_shown(sample_copy: Path, mount: Mount, missing: str) -> None:
    root = sample_copy / "ILSVRC2012"
    directories_only(root)
    shutil.rmtree(root / missing)
    one = mount(sample_copy)
    names = {"train": "ILSVRC2012/train", "train_T3": "ILSVRC2012_t3/train"}
    gone = names.get(missing, f"ILSVRC2012/{missing.replace('idation', '')}")
    for split in SPLITS:
        assert (one.mountpoint / split).exists() == (split != gone)
    assert ("ILSVRC2012_t3" in os.listdir(one.mountpoint)) == (missing != "train_T3")
