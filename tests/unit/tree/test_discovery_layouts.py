"""The trees that people really have (docs/layouts.md): what is shown of each, to the last byte, and
what is said of it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.errors import SourceUnknownError
from imagenetfs.read.ownership import OwnershipMapper
from imagenetfs.tree.ledger import account
from imagenetfs.tree.source_paths import SourcePaths
from imagenetfs.tree.tree import Tree
from imagenetfs.tree.wordnet import ilsvrc2012_wnids
from tests.helpers.layouts import (
    CLASSES,
    by_directory,
    class_tars,
    devkit_files,
    documented,
    flat,
    packed,
    read,
    shown,
    train_images,
    val_images,
    val_order,
    versions,
    without,
    write,
)
from tests.helpers.trees import at, tree_of

TRAIN, VAL = train_images(), val_images()
D = "ILSVRC2012/"
TRAIN_TAR, VAL_TAR = f"{D}ILSVRC2012_img_train.tar", f"{D}ILSVRC2012_img_val.tar"
KIT = f"{D}ILSVRC2012_devkit_t12"


def file_at(tree: Tree, path: str) -> bytes:
    return read(tree, at(tree, path))


def both(source: Path, prefer: str = "archives") -> list[str]:
    """See that train and val of ILSVRC2012 are shown whole; the warnings."""
    tree = tree_of(source, prefer=prefer)
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL
    return tree.catalogue.warnings + tree.catalogue.late_warnings.all()


def test_the_documented_tree(tmp_path: Path) -> None:
    assert both(documented(tmp_path)) == []


# --- val that was to be sorted (1) ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("moved", [0, 3, 8])
@pytest.mark.parametrize("name", ["val", "validation"])
def test_sorting_val_failed(tmp_path: Path, moved: int, name: str) -> None:
    """The class directories are made; some images have been moved into them, or all."""
    source = without(documented(tmp_path), VAL_TAR)
    for wnid in CLASSES:
        (source / D / name / wnid.decode()).mkdir(parents=True)
    left = by_directory(VAL)
    for place, (path, data) in enumerate(sorted(left.items())):
        write(source / D / name, {path if place < moved else path.rpartition("/")[2]: data})
    warnings = both(source)
    assert len(warnings) == (moved < 8)
    assert moved == 8 or "beside 4 class directories, as if sorting them had failed" in warnings[0]


def test_sorting_train_failed(tmp_path: Path) -> None:
    source = without(documented(tmp_path), TRAIN_TAR)
    for wnid in CLASSES:
        (source / D / "train" / wnid.decode()).mkdir(parents=True)
    write(source / D / "train", flat(TRAIN))
    [warning] = both(source)
    assert "4 empty class directories" in warning


# --- containers of classes (2, 21, 27, 28) --------------------------------------------------------

HALF = {wnid.decode(): TRAIN[wnid.decode()] for wnid in CLASSES[:2]}
REST = {wnid: images for wnid, images in TRAIN.items() if wnid not in HALF}

TRAIN_FORMS = {
    "class tars in a tar": {TRAIN_TAR: packed(class_tars(TRAIN))},
    "class tars below a directory in a tar": {TRAIN_TAR: packed(class_tars(TRAIN, "train/"))},
    "class tars two directories deep": {TRAIN_TAR: packed(class_tars(TRAIN, "a/train/"))},
    "class directories in a tar": {TRAIN_TAR: packed(by_directory(TRAIN, "train/"))},
    "with entries": {TRAIN_TAR: packed(by_directory(TRAIN, "train/"), directories=True)},
    "without train/": {TRAIN_TAR: packed(by_directory(TRAIN))},
    "with ./": {TRAIN_TAR: packed(by_directory(TRAIN, "./"))},
    "deep in a tar": {TRAIN_TAR: packed(by_directory(TRAIN, "ILSVRC/Data/CLS-LOC/train/"))},
    "flat in a tar": {TRAIN_TAR: packed(flat(TRAIN))},
    "a directory": by_directory(TRAIN, f"{D}train/"),
    "a directory of class tars": class_tars(TRAIN, f"{D}train/"),
    "under the archive's name": class_tars(TRAIN, f"{D}ILSVRC2012_img_train/"),
    "extracted under the archive's name": by_directory(TRAIN, f"{D}ILSVRC2012_img_train/"),
    "a level more": by_directory(TRAIN, f"{D}train/ILSVRC2012_img_train/"),
    "two levels more": by_directory(TRAIN, f"{D}train/a/b/"),
    "flat": {f"{D}train/{name}": data for name, data in flat(TRAIN).items()},
    "right in the version's directory": by_directory(TRAIN, D),
    "as class tars right there": class_tars(TRAIN, D),
    "the tar in a directory": {f"{D}train/ILSVRC2012_img_train.tar": packed(class_tars(TRAIN))},
    "the tar two directories deep": {f"{D}train/a/x.tar": packed(by_directory(TRAIN, "train/"))},
    "class tars two directories deep in a directory": class_tars(TRAIN, f"{D}train/a/b/"),
    "a tar of tars of directories": {
        TRAIN_TAR: packed(
            {"a/1.tar": packed(by_directory(HALF)), "a/2.tar": packed(by_directory(REST))}
        )
    },
    "a directory of tars of tars": {
        f"{D}train/{name}.tar": packed(class_tars(some))
        for name, some in (("1", HALF), ("2", REST))
    },
    "flat, two directories deep": {
        f"{D}train/a/b/{name}": data for name, data in flat(TRAIN).items()
    },
    "flat below a directory in a tar": {
        TRAIN_TAR: packed({f"train/{name}": data for name, data in flat(TRAIN).items()})
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("form", TRAIN_FORMS)
def test_forms_of_train(tmp_path: Path, form: str) -> None:
    source = write(without(documented(tmp_path), TRAIN_TAR), TRAIN_FORMS[form])
    assert both(source) == []


VAL_FORMS = {
    "flat in a tar": {VAL_TAR: packed(flat(VAL))},
    "below a directory": {VAL_TAR: packed({f"val/{n}": d for n, d in flat(VAL).items()})},
    "below an entry": {
        VAL_TAR: packed({f"./val/{n}": d for n, d in flat(VAL).items()}, directories=True)
    },
    "class directories": {VAL_TAR: packed(by_directory(VAL, "val/"), directories=True)},
    "class directories, no entries": {VAL_TAR: packed(by_directory(VAL))},
    "class tars": {VAL_TAR: packed(class_tars(VAL))},
    "a directory": {f"{D}val/{name}": data for name, data in flat(VAL).items()},
    "a directory by class": by_directory(VAL, f"{D}validation/"),
    "under the archive's name": {
        f"{D}ILSVRC2012_img_val/{name}": data for name, data in flat(VAL).items()
    },
    "a level more": {f"{D}val/images/{name}": data for name, data in flat(VAL).items()},
    "a level more, by class": by_directory(VAL, f"{D}val/val/"),
    "a directory of class tars": class_tars(VAL, f"{D}val/"),
    "the tar in a directory": {f"{D}val/ILSVRC2012_img_val.tar": packed(flat(VAL))},
    "by class in a tar in a directory": {f"{D}val/val.tar": packed(by_directory(VAL, "val/"))},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", VAL_FORMS)
def test_forms_of_val(tmp_path: Path, form: str) -> None:
    source = write(without(documented(tmp_path), VAL_TAR), VAL_FORMS[form])
    assert both(source) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", ["images", "data/raw", "Data/CLS-LOC"])
def test_a_level_more(tmp_path: Path, level: str) -> None:
    source = without(documented(tmp_path), TRAIN_TAR, VAL_TAR)
    write(source, by_directory(TRAIN, f"{D}{level}/train/"))
    write(source, {f"{D}{level}/val/{name}": data for name, data in flat(VAL).items()})
    assert both(source) == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tars", "directories", "kit above", "kit's data alone"])
@pytest.mark.parametrize("name", ["imagenet", "src"])
def test_flat_in_the_source(tmp_path: Path, form: str, name: str) -> None:
    """Tars, or train/ and val/, right in the source."""
    source = (documented(tmp_path) / "ILSVRC2012").rename(tmp_path / name)
    if form == "directories":
        without(source, "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
        write(source, by_directory(TRAIN, "train/"))
        write(source, {f"val/{image}": data for image, data in flat(VAL).items()})
    elif form == "kit's data alone":
        shutil.move(source / "ILSVRC2012_devkit_t12" / "data", source / "data")
        without(source, "ILSVRC2012_devkit_t12")
    warnings = both(source)
    guessed = form == "directories" and name == "src"
    assert [("taken for those of ILSVRC2012" in warning) for warning in warnings] == [
        True
    ] * guessed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tars", "my downloads", "2012"])
@pytest.mark.parametrize("beside", [True, False])
def test_in_a_directory_of_any_name(tmp_path: Path, name: str, beside: bool) -> None:
    """The published tars, beside ``ILSVRC2012/`` with the devkit or without it."""
    source = documented(tmp_path)
    (source / name).mkdir()
    for tar in (TRAIN_TAR, VAL_TAR):
        shutil.move(source / tar, source / name)
    if not beside:
        shutil.move(source / KIT, source / name)
        (source / "ILSVRC2012").rmdir()
    assert both(source) == []


@pytest.mark.slow
@pytest.mark.parametrize("levels", ["imagenet", "some data", "a/b"])
def test_one_level_too_high(tmp_path: Path, levels: str) -> None:
    documented(tmp_path / levels)
    write(tmp_path / levels, class_tars(TRAIN, "winter21_whole/tars/"))
    assert both(tmp_path) == []
    assert shown(tree_of(tmp_path), "winter21_whole/train") == TRAIN


# --- names of archives (11, 22) -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["val.tar", "ILSVRC2012_img_val(1).tar", "imagenet validation.tar"]
)
def test_val_under_another_name(tmp_path: Path, name: str) -> None:
    source = documented(tmp_path)
    (source / VAL_TAR).rename(source / D / name)
    assert both(source) == [f"{D}{name} is taken for val, by what it holds."]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["class tars in a tar", "with entries", "without train/"])
def test_train_under_another_name(tmp_path: Path, form: str) -> None:
    source = without(documented(tmp_path), TRAIN_TAR)
    write(source, {f"{D}something.tar": next(iter(TRAIN_FORMS[form].values()))})
    assert both(source) == [f"{D}something.tar is taken for train, by what it holds."]


def test_two_that_may_be_val(tmp_path: Path) -> None:
    """Neither is used, and both are named; nor is one beside that of the right name."""
    source = documented(tmp_path)
    shutil.copy(source / VAL_TAR, source / D / "val.tar")
    [warning] = both(source)
    assert warning == f"{D}val.tar is not used: it looks like val, which is read from {VAL_TAR}."
    (source / VAL_TAR).rename(source / D / "b.tar")
    [warning] = tree_of(source).catalogue.warnings
    assert f"{D}b.tar and {D}val.tar all look like val, and none is used" in warning
    assert "ILSVRC2012_img_val.tar (ln -s)" in warning


def test_fall11_and_names_that_lie(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        {
            "fall11_whole.tar": packed(class_tars(TRAIN)),
            "winter21_whole.tar.gz": packed(class_tars(VAL)),
        },
    )
    tree = tree_of(source)
    assert versions(tree) == {"winter21_whole": ["train"], "fall11_whole": ["train"]}
    assert shown(tree, "fall11_whole/train") == TRAIN
    assert shown(tree, "winter21_whole/train") == VAL


# --- labels (20, 23, 26) --------------------------------------------------------------------------


def test_no_devkit_but_class_directories(tmp_path: Path) -> None:
    """meta.bin is there, in the order of the images' numbers, and words are the package's."""
    source = write(tmp_path, by_directory(TRAIN, f"{D}train/") | by_directory(VAL, f"{D}val/"))
    assert both(source) == []
    tree = tree_of(source)
    [version] = tree.catalogue.versions
    assert version.val_wnids is not None
    assert [wnid.decode() for wnid in version.val_wnids()] == val_order()
    assert version.words[b"n01440764"] == "tench, Tinca tinca"


KITS = {
    "beside": devkit_files("ILSVRC2012_devkit_t12/"),
    "called devkit": devkit_files(f"{D}devkit/"),
    "of 2014": {
        f"{D}ILSVRC2014_devkit/data/{new}": devkit_files()[f"data/{old}"]
        for new, old in (
            ("meta_clsloc.mat", "meta.mat"),
            (
                "ILSVRC2014_clsloc_validation_ground_truth.txt",
                "ILSVRC2012_validation_ground_truth.txt",
            ),
        )
    },
    "nested": devkit_files(f"{KIT}/ILSVRC2012_devkit_t12/"),
    "tar": {f"{KIT}.tar": packed(devkit_files("ILSVRC2012_devkit_t12/"))},
    "tar.gz": {f"{KIT}.tar.gz": gzip.compress(packed(devkit_files("ILSVRC2012_devkit_t12/")))},
    "nested in a tar": {f"{KIT}.tar": packed(devkit_files("a/ILSVRC2012_devkit_t12/"))},
    "downloaded twice": {
        f"{KIT}.tar (1).gz": gzip.compress(packed(devkit_files("ILSVRC2012_devkit_t12/")))
    },
    "saved by wget": {
        f"{KIT}.tar.gz.1": gzip.compress(packed(devkit_files("ILSVRC2012_devkit_t12/")))
    },
    "its files in meta/": {
        f"{D}meta/{path.rpartition('/')[2]}": data for path, data in devkit_files().items()
    },
    "its files right there": {
        f"{D}{path.rpartition('/')[2]}": data for path, data in devkit_files().items()
    },
    "in a directory beside": devkit_files("labels/ILSVRC2012_devkit_t12/"),
    "tar beside": {"ILSVRC2012_devkit_t12.tar": packed(devkit_files("ILSVRC2012_devkit_t12/"))},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", KITS)
@pytest.mark.parametrize("broken", ["none", "empty", "damaged"])
def test_forms_of_the_devkit(tmp_path: Path, form: str, broken: str) -> None:
    source = write(without(documented(tmp_path), KIT), KITS[form])
    if broken == "empty" and form != "nested":
        (source / KIT).mkdir()
    elif broken == "damaged" and form != "nested":
        write(source, {f"{KIT}/data/meta.mat": b"none"})
    warnings = both(source)
    is_told = broken != "none" and form != "nested"
    assert [("is used instead" in warning) for warning in warnings] == [True] * is_told


@pytest.mark.slow
def test_two_kits_that_disagree(tmp_path: Path) -> None:
    """The first is followed. The archive beside the directory of its name is that, packed."""
    order = val_order()
    other = [order[1], order[0], *order[2:]]
    kit = devkit_files(f"{D}ILSVRC2014_devkit/", other)
    source = write(documented(tmp_path), kit)
    [warning] = both(source)
    assert warning == (
        f"{KIT} and {D}ILSVRC2014_devkit disagree about 2 of 8 val images: {KIT} is followed."
    )
    without(source, f"{D}ILSVRC2014_devkit")
    packed_kit = gzip.compress(packed(devkit_files("ILSVRC2012_devkit_t12/", other)))
    assert both(write(source, {f"{KIT}.tar.gz": packed_kit})) == []


def test_a_kit_that_counts_from_0_is_not_used(tmp_path: Path) -> None:
    """All its labels are those of another class."""
    source = documented(tmp_path)
    truth = source / KIT / "data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("\n".join(str(int(label) - 1) for label in truth.read_text().split()))
    tree = tree_of(source)
    assert "counts classes from 0, its meta.mat from 1" in tree.catalogue.warnings[0]
    assert shown(tree, "ILSVRC2012/val") == {"unlabeled": flat(VAL)}


def solution(order: list[str]) -> bytes:
    lines = ["ImageId,PredictionString"]
    lines += [f"ILSVRC2012_val_{k:08d},{w} 1 2 3 4 {w} 5 6 7 8" for k, w in enumerate(order, 1)]
    return "\n".join(lines[:1] + lines[:0:-1]).encode()


KAGGLE = {
    **by_directory(TRAIN, "ILSVRC/Data/CLS-LOC/train/"),
    **{f"ILSVRC/Data/CLS-LOC/val/{name}": data for name, data in flat(VAL).items()},
    "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG": b"\xff\xd8\xfftest",
    "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml": b"<annotation/>",
    "ILSVRC/ImageSets/CLS-LOC/val.txt": "".join(
        f"ILSVRC2012_val_{k:08d} {k}\n" for k in range(1, 9)
    ).encode(),
    "LOC_val_solution.csv": solution(val_order()),
    "LOC_synset_mapping.txt": b"n01440764 a tench, of Kaggle\nn01443537 goldfish\n",
}


@pytest.mark.parametrize("above", ["", "imagenet/", "ILSVRC2012/"])
def test_kaggles_tree(tmp_path: Path, above: str) -> None:
    source = write(tmp_path, {above + path: data for path, data in KAGGLE.items()})
    assert both(source) == []
    tree = tree_of(source)
    assert versions(tree) == {"ILSVRC2012": ["train", "val", "test"]}
    [version] = tree.catalogue.versions
    assert version.val_wnids is not None
    assert [wnid.decode() for wnid in version.val_wnids()] == val_order()
    assert version.words[b"n01440764"] == "a tench, of Kaggle"


def test_labels_that_disagree(tmp_path: Path) -> None:
    """The devkit is followed, and the number of differences is told."""
    order = val_order()
    other = [order[1], order[0], *order[2:-1]]
    source = write(documented(tmp_path), {"LOC_val_solution.csv": solution(other)})
    [warning] = both(source)
    assert "disagree about 3 of 8 val images: the devkit is followed." in warning


@pytest.mark.expects_log("whose names say another class than they stand in")
@pytest.mark.parametrize("form", ["tars in a tar", "a directory", "a set", "one in another"])
def test_images_whose_names_say_another_class(tmp_path: Path, form: str) -> None:
    """Two classes were taken for one another; or one was moved into another."""
    images, split = dict(TRAIN), "ILSVRC2012/train"
    one, other = sorted(images)[:2]
    wrong = [f"{other}/{name}" for name in images[one]]
    if form == "one in another":
        files = by_directory(images, f"{D}train/")
        moved = by_directory({one: images[one]}, f"{D}train/")
        files = {path: data for path, data in files.items() if path not in moved}
        files |= by_directory({one: images[one]}, f"{D}train/{other}/")
    else:
        images[one], images[other] = images[other], images[one]
        wrong = [f"{one}/{name}" for name in images[one]] + wrong
        files = {TRAIN_TAR: packed(class_tars(images))}
        if form != "tars in a tar":
            split = "mine/train" if form == "a set" else split
            files = by_directory(images, f"{split}/")
    tree = tree_of(write(tmp_path, files))
    shown(tree, split)
    [version] = tree.catalogue.versions
    ledger = account(version, version.splits[0])
    assert ledger.named_otherwise == wrong
    assert not ledger.adds_up
    assert f"{len(wrong)} images whose names say another class" in (ledger.sentence("SRC") or "")


def test_a_set_may_put_classes_together(tmp_path: Path) -> None:
    """Dogs of all kinds in one class, which is none of theirs."""
    dogs = {name: data for images in TRAIN.values() for name, data in images.items()}
    tree = tree_of(write(tmp_path, by_directory({"n02084071": dogs}, "mine/train/")))
    [version] = tree.catalogue.versions
    assert account(version, version.splits[0]).adds_up


@pytest.mark.slow
@pytest.mark.expects_log("does not add up, as far as it has")
@pytest.mark.parametrize("by", ["the devkit", "LOC_val_solution.csv"])
@pytest.mark.parametrize("form", ["a directory by class", "class directories", "class tars"])
def test_class_directories_that_disagree_with_a_list(tmp_path: Path, form: str, by: str) -> None:
    """The class directories are followed, and the number of differences is told."""
    source = write(without(documented(tmp_path), VAL_TAR), VAL_FORMS[form])
    order = val_order()
    other = [order[1], order[0], *order[2:]]
    assert order[0] != order[1]
    if by == "the devkit":
        write(source, devkit_files(f"{KIT}/", other))
    else:
        write(without(source, KIT), {"LOC_val_solution.csv": solution(other)})
    tree = tree_of(source)
    assert shown(tree, "ILSVRC2012/val") == VAL
    [version] = tree.catalogue.versions
    val = version.split(b"val")
    assert val is not None
    ledger = account(version, val)
    assert sorted(ledger.labelled_otherwise) == [
        f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2)
    ]
    told = f"2 images in another class than {by} has"
    assert told in (ledger.sentence("SRC") or "")
    assert "the class directories are followed" in (ledger.sentence("SRC") or "")
    assert not ledger.adds_up
    [late] = tree.catalogue.late_warnings.all()
    assert f"in another class than {by} has" in late


@pytest.mark.slow
@pytest.mark.parametrize("label", ["wnid", "place"])
@pytest.mark.parametrize("where", [D, f"{D}meta_data/", f"{D}ImageSets/CLS-LOC/"])
def test_lists_of_labels(tmp_path: Path, label: str, where: str) -> None:
    places = {wnid: str(ilsvrc2012_wnids().index(wnid.encode())) for wnid in val_order()}
    lines = [
        f"ILSVRC2012_val_{k:08d}.JPEG {wnid if label == 'wnid' else places[wnid]}\n"
        for k, wnid in enumerate(val_order(), 1)
    ]
    source = write(without(documented(tmp_path), KIT), {f"{where}val.txt": "".join(lines).encode()})
    assert both(source) == []


# --- other sets of classes (31) -------------------------------------------------------------------


def numbered(images: dict[str, dict[str, bytes]], above: str = "") -> dict[str, bytes]:
    """Classes called by their places in the sorted wnids of ILSVRC2012, as ImageNetV2 has them."""
    places = {wnid: str(ilsvrc2012_wnids().index(wnid.encode())) for wnid in images}
    assert "0" in places.values()
    return by_directory({places[wnid]: some for wnid, some in images.items()}, above)


SETS = {
    "imagenet-a.tar": (
        {
            "imagenet-a.tar": packed(
                {"imagenet-a/README.txt": b"x", **by_directory(TRAIN, "imagenet-a/")}
            )
        },
        {"imagenet-a": ["val"]},
    ),
    "imagenet-r, extracted": (
        {"imagenet-r/README.txt": b"x", **by_directory(TRAIN, "imagenet-r/")},
        {"imagenet-r": ["val"]},
    ),
    "a subset": (by_directory(TRAIN, "mine/"), {"mine": ["train"]}),
    "a subset of class tars": (class_tars(TRAIN, "mine/"), {"mine": ["train"]}),
    "sketch": (by_directory(TRAIN, "sketch/"), {"sketch": ["val"]}),
    "V2 in a tar": (
        {"imagenetv2-matched-frequency.tar": packed(numbered(TRAIN, "imagenetv2-format-val/"))},
        {"imagenetv2-matched-frequency": ["val"]},
    ),
    "V2, extracted": (
        numbered(TRAIN, "imagenetv2-top-images/"),
        {"imagenetv2-top-images": ["val"]},
    ),
    "imagenette": (
        by_directory(TRAIN, "imagenette2/train/") | by_directory(TRAIN, "imagenette2/val/"),
        {"imagenette2": ["train", "val"]},
    ),
    "imagenette in a tar": (
        {
            "imagenette2-320.tar": packed(
                by_directory(TRAIN, "imagenette2-320/train/")
                | by_directory(TRAIN, "imagenette2-320/val/"),
                directories=True,
            )
        },
        {"imagenette2-320": ["train", "val"]},
    ),
    "twice the same name": (
        by_directory(TRAIN, "imagenette2/imagenette2/train/"),
        {"imagenette2": ["train"]},
    ),
    "-C in a tar": (
        {
            "blur.tar": packed(
                by_directory(TRAIN, "blur/defocus_blur/1/")
                | by_directory(TRAIN, "blur/defocus_blur/5/")
                | by_directory(TRAIN, "blur/zoom_blur/1/"),
                directories=True,
            )
        },
        {"blur": ["defocus_blur-1", "defocus_blur-5", "zoom_blur-1"]},
    ),
    "-C, extracted": (
        by_directory(TRAIN, "ImageNet-C/fog/1/") | by_directory(TRAIN, "ImageNet-C/snow/3/"),
        {"ImageNet-C": ["fog-1", "snow-3"]},
    ),
    "ImageNet-100 in parts": (
        by_directory(dict(list(TRAIN.items())[:2]), "imagenet100/train.X1/")
        | by_directory(dict(list(TRAIN.items())[2:]), "imagenet100/train.X2/")
        | by_directory(TRAIN, "imagenet100/val.X/"),
        {"imagenet100": ["train", "val"]},
    ),
    "21K-P": (
        by_directory(TRAIN, "imagenet21k_train/") | by_directory(TRAIN, "imagenet21k_val/"),
        {"imagenet21k_train": ["train"], "imagenet21k_val": ["val"]},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("beside", [False, True])
def test_other_sets_of_classes(tmp_path: Path, form: str, beside: bool) -> None:
    """Alone, or beside ILSVRC2012."""
    files, expected = SETS[form]
    source = write(documented(tmp_path) if beside else tmp_path, files)
    tree = tree_of(source)
    found = versions(tree)
    assert tree.catalogue.warnings == []
    assert found.pop("ILSVRC2012", None) == (["train", "val"] if beside else None)
    assert found == expected
    for name, splits in expected.items():
        for split in splits:
            assert shown(tree, f"{name}/{split}") == TRAIN
    if beside:
        assert shown(tree, "ILSVRC2012/train") == TRAIN


@pytest.mark.slow
@pytest.mark.parametrize("form", SETS)
def test_the_set_itself_as_the_source(tmp_path: Path, form: str) -> None:
    files, expected = SETS[form]
    [(name, splits), *more] = expected.items()
    source = write(tmp_path, files) / name
    if more or not source.is_dir():
        pytest.skip("it is not one directory")
    tree = tree_of(source)
    assert versions(tree) == {name: splits}
    for split in splits:
        assert shown(tree, f"{name}/{split}") == TRAIN


def test_a_class_in_two_parts_of_a_split_is_not_lost(tmp_path: Path) -> None:
    source = write(
        tmp_path, by_directory(TRAIN, "mine/train.X1/") | by_directory(VAL, "mine/train.X2/")
    )
    tree = tree_of(source)
    [(name, splits)] = versions(tree).items()
    every = [shown(tree, f"{name}/{split}") for split in splits]
    assert sorted(image for one in every for image in flat(one)) == sorted(
        {**flat(TRAIN), **flat(VAL)}
    )


def test_numbered_tars_are_no_classes(tmp_path: Path) -> None:
    """They are shards of other programs."""
    shards = {f"shards/{number}.tar": packed(flat(TRAIN)) for number in range(3)}
    source = write(documented(tmp_path), shards)
    assert list(versions(tree_of(source))) == ["ILSVRC2012"]


def test_years_are_no_classes(tmp_path: Path) -> None:
    """Directories of numbers that no set has."""
    source = write(documented(tmp_path), by_directory({"1": TRAIN["n01440764"]}, "results/"))
    assert list(versions(tree_of(source))) == ["ILSVRC2012"]


# --- what is refused (25, 28, 29, 30) -------------------------------------------------------------


def refusal(source: Path) -> str:
    with pytest.raises(SourceUnknownError) as caught:
        tree_of(source)
    return str(caught.value)


COMPRESS: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "gzip": (gzip.compress, "gunzip", "gz"),
    "xz": (lzma.compress, "unxz", "xz"),
    "bzip2": (bz2.compress, "bunzip2", "bz2"),
    "zstd": (lambda data: b"\x28\xb5\x2f\xfd" + data, "unzstd", "zst"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", COMPRESS)
@pytest.mark.parametrize("where", ["ILSVRC2012/ILSVRC2012_img_train.tar", "mine.tar"])
def test_compressed_beside(tmp_path: Path, how: str, where: str) -> None:
    compress, command, ending = COMPRESS[how]
    source = write(tmp_path, {f"{where}.{ending}": compress(packed(class_tars(TRAIN)))})
    said = refusal(source)
    assert f"{where}.{ending} is compressed with {how}" in said
    assert f"({command} {'--rm ' * (how == 'zstd')}{source}/{where}.{ending})" in said
    write(source, {where: packed(class_tars(TRAIN))})
    tree = tree_of(source)
    assert tree.catalogue.warnings == []
    assert [shown(tree, f"{v}/{s}") for v, splits in versions(tree).items() for s in splits] == [
        TRAIN
    ]


@pytest.mark.slow
@pytest.mark.expects_log(
    "bytes are no tar archive, it has", "this is no tar, but compressed with zstd: decompress"
)
@pytest.mark.parametrize("how", COMPRESS)
@pytest.mark.parametrize("name", ["ILSVRC2012_img_val.tar", "val.tar"])
def test_compressed_under_a_tars_name(tmp_path: Path, how: str, name: str) -> None:
    compress, command, _ = COMPRESS[how]
    source = without(documented(tmp_path), VAL_TAR)
    write(source, {f"{D}{name}": compress(packed(flat(VAL)))})
    [warning] = tree_of(source).catalogue.warnings
    file = source / D / name
    assert warning == (
        f"{D}{name} is compressed with {how}, and images cannot be read from the middle of it: "
        f"unpack it once ({command} -c < {file} > {file}.unpacked && mv {file}.unpacked {file})."
    )


@pytest.mark.slow
@pytest.mark.expects_log("bytes are no tar archive, it has")
def test_the_command_that_unpacks_does_so(tmp_path: Path) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    write(source, {VAL_TAR: gzip.compress(packed(flat(VAL)))})
    [warning] = tree_of(source).catalogue.warnings
    subprocess.run(warning.partition("once (")[2].removesuffix(")."), shell=True, check=True)
    assert both(source) == []


@pytest.mark.slow
@pytest.mark.parametrize("suffixes", [("aa", "ab", "ac"), ("00", "01", "02"), ("part1", "part2")])
def test_parts_of_an_archive(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    whole = packed(flat(VAL))
    each = -(-len(whole) // len(suffixes))
    pieces = {
        f"{VAL_TAR}.{suffix}": whole[number * each : (number + 1) * each]
        for number, suffix in enumerate(suffixes)
    }
    [warning] = tree_of(write(source, pieces)).catalogue.warnings
    assert f"{VAL_TAR} is there in {len(suffixes)} parts" in warning
    subprocess.run(warning.partition("once (")[2].removesuffix(")."), shell=True, check=True)
    assert both(source) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "how", "program"),
    [
        (".tar.gz", "gzip", "gunzip"),
        (".tgz", "gzip", "gunzip"),
        (".tar.xz", "xz", "unxz"),
        (".txz", "xz", "unxz"),
        (".tar.bz2", "bzip2", "bunzip2"),
    ],
)
def test_parts_of_a_compressed_archive(tmp_path: Path, ending: str, how: str, program: str) -> None:
    """The command puts them together, and unpacks the whole."""
    source = without(documented(tmp_path), VAL_TAR)
    whole = COMPRESS[how][0](packed(flat(VAL)))
    path = VAL_TAR.removesuffix(".tar") + ending
    write(source, {f"{path}.aa": whole[:500], f"{path}.ab": whole[500:]})
    [warning] = tree_of(source).catalogue.warnings
    assert f"{path} is there in 2 parts" in warning
    assert f"&& {program} " in warning
    subprocess.run(warning.partition("once (")[2].removesuffix(")."), shell=True, check=True)
    assert both(source) == []


@pytest.mark.parametrize("how", ["gzip", "xz", "bzip2"])
@pytest.mark.parametrize("short", [False, True])
def test_the_commands_that_unpack_do_so(tmp_path: Path, how: str, short: bool) -> None:
    compress, _, ending = COMPRESS[how]
    name = f"mine.t{ending}" if short else f"mine.tar.{ending}"
    source = write(tmp_path, {name: compress(packed(class_tars(TRAIN)))})
    command = refusal(source).partition("unpack it once (")[2].removesuffix(").")
    subprocess.run(command, shell=True, check=True)
    assert shown(tree_of(source), "mine/train") == TRAIN


@pytest.mark.parametrize("where", ["winter21_whole", "mine"])
def test_class_tars_that_are_compressed_are_told_once(tmp_path: Path, where: str) -> None:
    """One sentence and one look for all of them, for there may be 19,167."""
    tars = {f"{name}.gz": gzip.compress(data) for name, data in class_tars(TRAIN).items()}
    source = write(tmp_path, {f"{where}/{name}": data for name, data in tars.items()})
    said = refusal(source)
    assert f"{where} has 4 class tars compressed with gzip (first: n01440764.tar.gz)" in said
    command = said.partition("unpack them once (")[2].removesuffix(").")
    subprocess.run(command, shell=True, check=True)
    assert shown(tree_of(source), f"{where}/train") == TRAIN


def test_short_endings_of_class_tars(tmp_path: Path) -> None:
    tars = {f"{name[:-4]}.tgz": gzip.compress(data) for name, data in class_tars(TRAIN).items()}
    source = write(tmp_path, {f"mine/{name}": data for name, data in tars.items()})
    command = refusal(source).partition("unpack them once (")[2].removesuffix(").")
    subprocess.run(command, shell=True, check=True)
    assert shown(tree_of(source), "mine/train") == TRAIN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "command"),
    [("train.7z", "7z x train.7z"), ("ImageNet.RAR", "unrar x ImageNet.RAR")],
)
def test_archives_of_formats_that_are_not_read(tmp_path: Path, name: str, command: str) -> None:
    source = write(documented(tmp_path), {f"{D}{name}": b"x"})
    [warning] = tree_of(source).catalogue.warnings
    assert f"{D}{name} is an archive of a kind that is not read" in warning
    assert warning.endswith(f"(cd {source}/ILSVRC2012 && {command}).")


def test_archives_that_have_nothing_to_do_with_it_are_not_told(tmp_path: Path) -> None:
    source = write(documented(tmp_path), {"papers.7z": b"x", f"{D}talk.rar": b"x"})
    assert both(source) == []


def test_the_published_tar_in_its_own_place_within_another(tmp_path: Path) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    inside = {TRAIN_TAR.rpartition("/")[2]: (source / TRAIN_TAR).read_bytes()}
    write(source, {TRAIN_TAR: packed(inside)})
    assert shown(tree_of(source), "ILSVRC2012/train") == TRAIN


@pytest.mark.slow
@pytest.mark.parametrize("above", ["", "mine/", "a/b/"])
def test_a_set_of_flat_images_in_a_tar(tmp_path: Path, above: str) -> None:
    """Their names tell the classes."""
    tar = packed({above + name: data for name, data in flat(TRAIN).items()})
    tree = tree_of(write(documented(tmp_path), {"mine.tar": tar}))
    assert shown(tree, "mine/train") == TRAIN
    assert both(tmp_path) == []


def test_several_tars_of_flat_images_are_no_sets(tmp_path: Path) -> None:
    shards = {f"shard-{number}.tar": packed(flat(TRAIN)) for number in range(3)}
    tree = tree_of(write(documented(tmp_path), shards))
    assert list(versions(tree)) == ["ILSVRC2012"]
    [warning] = tree.catalogue.warnings
    assert warning.startswith("3 tars (first: shard-0.tar) hold images whose names tell")


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_empty_split_of_a_set(tmp_path: Path, split: str) -> None:
    source = write(tmp_path, by_directory(TRAIN, "mine/train/"))
    (source / "mine" / split).mkdir()
    assert tree_of(source).catalogue.warnings == [f"mine/{split} is empty: there is no {split}."]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ILSVRC2012_devkit_t12 (1)", "devkit-1.17", "ILSVRC2017_devkit"])
def test_names_of_the_devkit(tmp_path: Path, name: str) -> None:
    source = without(documented(tmp_path), f"{D}ILSVRC2012_devkit_t12")
    assert both(write(source, devkit_files(f"{D}{name}/"))) == []


@pytest.mark.parametrize("second", ["ilsvrc2012", "winter21"])
def test_two_directories_of_one_version(tmp_path: Path, second: str) -> None:
    first = {"ilsvrc2012": "ILSVRC2012/train/", "winter21": "winter21_whole/"}[second]
    source = write(tmp_path, by_directory(TRAIN, first))
    write(source, by_directory(VAL, f"{second}/val/" if "train" in first else f"{second}/"))
    [warning] = tree_of(source).catalogue.warnings
    assert "is not used: " in warning
    assert "is taken for the same version" in warning


def test_a_version_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    source = documented(tmp_path)
    (source / "winter21_whole").symlink_to("/nowhere/at/all")
    [warning] = tree_of(source).catalogue.warnings
    assert warning == "winter21_whole is no directory, but a file or a link that leads nowhere."


@pytest.mark.slow
@pytest.mark.parametrize("names", [("TRAIN.TAR", "VAL.TAR"), ("ILSVRC2012_IMG_TRAIN.Tar", "v.TAR")])
def test_endings_in_capitals(tmp_path: Path, names: tuple[str, str]) -> None:
    source = without(documented(tmp_path), TRAIN_TAR, VAL_TAR)
    tars = {f"{wnid}.TAR": packed(images) for wnid, images in TRAIN.items()}
    write(source, {f"{D}{names[0]}": packed(tars), f"{D}{names[1]}": packed(flat(VAL))})
    warnings = both(source)
    assert all("by what it holds" in warning for warning in warnings)


def test_hugging_faces_archives(tmp_path: Path) -> None:
    """Named; the commands unpack them; then the classes come from the images' names."""
    images = list(flat(TRAIN).items())
    halves = {0: images[:6], 1: images[6:]}
    named = {
        wnid: {f"{Path(name).stem}_{wnid}.JPEG": data for name, data in some.items()}
        for wnid, some in TRAIN.items()
    }
    labelled = {
        wnid: {f"{Path(name).stem}_{wnid}.JPEG": data for name, data in some.items()}
        for wnid, some in VAL.items()
    }
    shards = {
        f"data/train_images_{k}.tar.gz": gzip.compress(
            packed({f"{Path(name).stem}_{name[:9]}.JPEG": data for name, data in half})
        )
        for k, half in halves.items()
    }
    source = write(
        tmp_path / "hf", {**shards, "data/val_images.tar.gz": gzip.compress(packed(flat(labelled)))}
    )
    said = refusal(source)
    assert "these are Hugging Face's archives of ILSVRC2012" in said
    commands = said.partition("there is room (")[2].partition("), and give")[0]
    subprocess.run(commands, shell=True, check=True, cwd=tmp_path, executable="/bin/bash")
    tree = tree_of(tmp_path)
    assert shown(tree, "ILSVRC2012/train") == named
    assert shown(tree, "ILSVRC2012/val") == labelled


def test_several_that_may_be_meant(tmp_path: Path) -> None:
    for name in ("one", "other"):
        documented(tmp_path / name)
    said = refusal(tmp_path)
    assert f"give one of them: {tmp_path}/one or {tmp_path}/other" in said


def test_too_many_levels_too_high(tmp_path: Path) -> None:
    """The path to give is named, where the survey comes by it."""
    source = tmp_path / "a" / "b" / "c"
    write(source, {"ILSVRC2012_img_train.tar": packed(class_tars(TRAIN))})
    assert f"But {source} does: give that." in refusal(tmp_path)


def test_nothing_at_all(tmp_path: Path) -> None:
    write(tmp_path, {"bin/x": b"x", "notes.txt": b"x"})
    said = refusal(tmp_path)
    assert "it has bin/, notes.txt. Give the directory that holds ILSVRC2012/" in said


# --- symbolic links (6) ---------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Images that lie elsewhere."""
    return write(tmp_path / "real", by_directory(TRAIN, "train/") | by_directory(VAL, "val/"))


def link(source: Path, at: str, target: Path | str) -> None:
    path = source / at
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("form", ["absolute", "relative", "of links"])
def test_images_that_are_links(tmp_path: Path, real: Path, form: str) -> None:
    source = tmp_path / "source"
    for split, images in (("train", TRAIN), ("val", VAL)):
        for path in by_directory(images, f"{split}/"):
            target: Path | str = real / path
            if form == "of links":
                link(tmp_path, f"middle/{path}", target)
                target = tmp_path / "middle" / path
            elif form == "relative":
                target = f"../../../../real/{path}"
            link(source, D + path, target)
    assert both(source) == []


@pytest.mark.slow
@pytest.mark.parametrize("flat_val", [False, True])
@pytest.mark.parametrize("form", ["splits", "classes", "class tars"])
def test_directories_and_tars_that_are_links(
    tmp_path: Path, real: Path, form: str, flat_val: bool
) -> None:
    source = write(tmp_path / "source", devkit_files(f"{KIT}/"))
    if form == "splits":
        link(source, f"{D}train", real / "train")
    elif form == "classes":
        for wnid in TRAIN:
            link(source, f"{D}train/{wnid}", real / "train" / wnid)
    else:
        write(real, class_tars(TRAIN, "tars/"))
        for wnid in TRAIN:
            link(source, f"{D}train/{wnid}.tar", real / "tars" / f"{wnid}.tar")
    if flat_val:
        for path in by_directory(VAL):
            link(source, f"{D}val/{Path(path).name}", real / "val" / path)
    else:
        link(source, f"{D}val", real / "val")
    assert both(source) == []


@pytest.mark.expects_log("does not add up, as far as it has")
def test_links_that_lead_nowhere_or_in_circles(tmp_path: Path, real: Path) -> None:
    source = tmp_path / "source"
    for path in by_directory(TRAIN):
        link(source, f"{D}train/{path}", real / "train" / path)
    wnid = "n01440764"
    link(source, f"{D}train/{wnid}/dangling.JPEG", "nowhere.JPEG")
    link(source, f"{D}train/{wnid}/circle.JPEG", "circle.JPEG")
    link(source, f"{D}train/{wnid}/up.JPEG", "..")
    link(source, f"{D}train/{wnid}/{wnid}", "..")
    link(source, f"{D}train/{wnid}/images", "../../train")
    tree = tree_of(source)
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    # They are there as they stand in source/.
    directory = at(tree, f"source/{D}train/{wnid}")
    for name in ("dangling.JPEG", "circle.JPEG", "up.JPEG", wnid, "images"):
        assert tree.link_target(tree.lookup(directory, name.encode()))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that all users may enter, and all above it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_a_link_out_of_the_source_in_a_mount_for_all_users(open_directory: Path) -> None:
    """A user who may not pass the directory above a link's target may not read it."""
    real = write(open_directory / "real", by_directory(TRAIN, "train/"))
    source = open_directory / "source"
    for path in by_directory(TRAIN):
        link(source, f"{D}train/{path}", real / "train" / path)
    wnid = "n01440764"
    closed = real / "train" / wnid
    closed.chmod(0o700)
    tree = tree_of(source)
    owners = OwnershipMapper(tree.catalogue.source, SourcePaths(tree), 60.0)
    seen = {}
    for name in TRAIN:
        inode = at(tree, f"ILSVRC2012/train/{name}/{name}_1.JPEG")
        rights = owners.of(inode, tree.attributes(inode).mode)
        assert rights is not None
        seen[name] = rights[2] & 0o777
    assert seen == {name: 0o400 if name == wnid else 0o444 for name in TRAIN}


# --- lists that other programs read (32) ----------------------------------------------------------


def test_lists_that_answer_without_being_listed(tmp_path: Path) -> None:
    tree = tree_of(documented(tmp_path))
    version = at(tree, "ILSVRC2012")
    listed = {name.decode() for name, _, _ in tree.listing(version).entries(0)}
    assert listed.isdisjoint({"train_list.txt", "val_list.txt", "meta_data"})
    wnids = sorted(TRAIN)
    for split, images in (("train", TRAIN), ("val", VAL)):
        lines = [
            f"{wnid}/{name} {wnids.index(wnid)}\n"
            for wnid in wnids
            for name in sorted(images[wnid])
        ]
        assert file_at(tree, f"ILSVRC2012/meta/{split}.txt") == "".join(lines).encode()
        assert file_at(tree, f"ILSVRC2012/meta_data/{split}.txt") == "".join(lines).encode()
        above = [f"{split}/{line}" for line in lines]
        assert file_at(tree, f"ILSVRC2012/{split}_list.txt") == "".join(above).encode()
    whole = file_at(tree, "ILSVRC2012/meta.bin")
    for split in ("train", "val", "validation"):
        assert file_at(tree, f"ILSVRC2012/{split}/meta.bin") == whole
        names = [name for name, _, _ in tree.listing(at(tree, f"ILSVRC2012/{split}")).entries(0)]
        assert names == sorted(CLASSES)


# --- what is there and not used -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", D])
def test_a_tar_of_the_published_tars(tmp_path: Path, where: str) -> None:
    source = documented(tmp_path)
    inside = {Path(path).name: (source / path).read_bytes() for path in (TRAIN_TAR, VAL_TAR)}
    without(source, TRAIN_TAR, VAL_TAR)
    write(source, {f"{where}all.tar": packed(inside)})
    tree = tree_of(source)
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL
    assert both(source) == []


def test_a_tar_whose_name_promises_a_split(tmp_path: Path) -> None:
    source = write(documented(tmp_path), {f"{D}old-val.tar": packed({"notes.txt": b"x"})})
    [warning] = both(source)
    assert f"{D}old-val.tar is not used: its first member is notes.txt" in warning


def test_boxes_are_no_loss(tmp_path: Path) -> None:
    boxes = gzip.compress(packed({"n01440764/n01440764_1.xml": b"<x/>"}))
    source = write(documented(tmp_path), {f"{D}ILSVRC2012_bbox_train_v2.tar.gz": boxes})
    assert both(source) == []


def test_a_tar_that_is_no_part_of_it(tmp_path: Path) -> None:
    source = write(documented(tmp_path), {"code.tar": packed({"a/b.py": b"x"})})
    assert both(source) == []


@pytest.mark.parametrize("name", [D + "ILSVRC2012_img_train.tar", "mine.tar"])
def test_images_in_no_class_of_a_tar_are_told(tmp_path: Path, name: str) -> None:
    files = by_directory(TRAIN, "data/train/") | {f"data/val/{i}": d for i, d in flat(VAL).items()}
    source = without(documented(tmp_path), TRAIN_TAR)
    tree = tree_of(write(source, {name: packed(files)}))
    split = "ILSVRC2012/train" if name.startswith(D) else "mine/train"
    assert shown(tree, split) == TRAIN
    [warning] = tree.catalogue.warnings
    assert f"{name} has 8 images in no class directory (first: data/val/" in warning


@pytest.mark.parametrize("labels", ["devkit", "names", "none"])
def test_a_set_whose_val_is_flat(tmp_path: Path, labels: str) -> None:
    source = write(tmp_path, by_directory(TRAIN, "mine/train/"))
    expected = VAL
    if labels == "devkit":
        write(source, devkit_files("ILSVRC2012_devkit_t12/"))
    elif labels == "names":
        expected = {
            wnid: {f"{Path(name).stem}_{wnid}.JPEG": data for name, data in some.items()}
            for wnid, some in VAL.items()
        }
    write(source, {f"mine/val/{name}": data for name, data in flat(expected).items()})
    tree = tree_of(source)
    assert versions(tree) == {"mine": ["train", "val"]}
    assert shown(tree, "mine/train") == TRAIN
    if labels == "none":
        assert shown(tree, "mine/val") == {"unlabeled": flat(VAL)}
        assert "mine/val has images of which nothing says" in tree.catalogue.warnings[0]
    else:
        assert shown(tree, "mine/val") == expected
        assert tree.catalogue.warnings == []
