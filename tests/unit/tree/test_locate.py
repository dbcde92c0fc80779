"""Where each version stands, by the names that discovery has read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from imagenetfs.tree.discovery import DOWN_SAMPLED, FALL11, ILSVRC2012, TINY, WINTER21, Discovery
from imagenetfs.tree.locate import OTHER_SET, holds_classes, holds_split, locate

NAMES = {
    ILSVRC2012: "ILSVRC2012",
    TINY: "tiny",
    WINTER21: "winter21",
    FALL11: "fall11",
    DOWN_SAMPLED: "downsampled",
}


def seen(paths: Iterable[str], base: str = "") -> Discovery:
    """What discovery reads of a tree of these; a path that ends in a slash is a directory."""
    found = Discovery(base=base.encode(), names={b"": []})
    for path in paths:
        parts = path.rstrip("/").encode().split(b"/")
        for depth, name in enumerate(parts):
            above = b"/".join(parts[:depth])
            entry = (name, depth < len(parts) - 1 or path.endswith("/"))
            names = found.names.setdefault(above, [])
            if entry not in names:
                names.append(entry)
    return found


def located(paths: Iterable[str], source: str = "/data/x", base: str = "") -> dict[str, str]:
    found = seen(paths, base)
    locate(found, Path(source))
    return {NAMES[pattern]: path.decode() for pattern, path in found.roots.items()}


TARS = ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"]


@pytest.mark.parametrize(
    ("paths", "source", "expected"),
    [
        # by its name, a level more, or the source itself
        (["ILSVRC2012/ILSVRC2012_img_val.tar"], "/d", {"ILSVRC2012": "ILSVRC2012"}),
        (["ILSVRC2012/Data/CLS-LOC/train/"], "/d", {"ILSVRC2012": "ILSVRC2012/Data/CLS-LOC"}),
        (["ILSVRC2012/readme.txt"], "/d", {"ILSVRC2012": "ILSVRC2012"}),
        (TARS, "/d/anything", {"ILSVRC2012": ""}),
        (["train/", "val/"], "/d/imagenet-1k", {"ILSVRC2012": ""}),
        (["n01440764/"], "/d/ILSVRC2012", {"ILSVRC2012": ""}),
        (["n01440764.tar"], "/d/ILSVRC2012", {"ILSVRC2012": ""}),
        (["n01440764/"], "/d/other", {}),
        # Kaggle's, classification before detection
        (
            ["ILSVRC/Data/DET/train/", "ILSVRC/Data/CLS-LOC/train/"],
            "/d",
            {"ILSVRC2012": "ILSVRC/Data/CLS-LOC"},
        ),
        (["imagenet/train/"], "/d", {"ILSVRC2012": "imagenet"}),
        (["images/train.tar"], "/d", {"ILSVRC2012": "images"}),
        # other sets are no ILSVRC2012
        (["train/", "val/"], "/d/imagenette2", {}),
        (["train/", "val/"], "/d/imagenet-r", {}),
        (["imagenet-a/train/"], "/d", {}),
        # the others
        (["wnids.txt", "train/"], "/d", {"tiny": "", "ILSVRC2012": ""}),
        (["wnids.txt", "train"], "/d", {}),
        (["train/"], "/d/tiny-imagenet-200", {"tiny": ""}),
        (["tiny-imagenet-200/tiny-imagenet-200/train/"], "/d", {"tiny": "T/T"}),
        (["tiny-imagenet-200/tiny-imagenet-200/", "tiny-imagenet-200/train/"], "/d", {}),
        (["n01440764.tar"], "/d/winter21_whole", {"winter21": ""}),
        (["n01440764.tar"], "/d/fall11", {"fall11": ""}),
        (["imagenet8_train/", "imagenet8_val/"], "/d", {"downsampled": ""}),
        (["down_sampled/imagenet8_train/"], "/d", {}),
    ],
)
def test_roots(paths: list[str], source: str, expected: dict[str, str]) -> None:
    if expected == {"tiny": "", "ILSVRC2012": ""}:
        expected = {"tiny": ""}  # what is tiny's is not taken twice
    twice = {name: path.replace("T", "tiny-imagenet-200") for name, path in expected.items()}
    assert located(paths, source) == twice


def test_everything_below_the_base() -> None:
    paths = ["a/b/imagenet/val.tar", "a/b/wnids.txt", "a/b/train/"]
    assert located(paths, base="a/b") == {"tiny": "a/b", "ILSVRC2012": "a/b/imagenet"}


def warnings(paths: Iterable[str], source: str = "/data/x") -> list[str]:
    found = seen(paths)
    locate(found, Path(source))
    return found.warnings


def test_a_guess_is_told() -> None:
    [told] = warnings(["train/", "val/"], "/data/photos")
    assert told.startswith("the splits in /data/photos are taken for those of ILSVRC2012")
    assert warnings(TARS, "/data/photos") == []
    assert warnings(["train/", "val/"], "/data/imagenet") == []


def test_two_that_may_be_meant_are_told_and_the_first_is_taken() -> None:
    paths = ["imagenet/train/", "images/train/"]
    assert located(paths) == {"ILSVRC2012": "imagenet"}
    [told] = warnings(paths)
    assert told.startswith("several directories may be ILSVRC2012: imagenet, images. The first")


@pytest.mark.parametrize(
    ("name", "is_other"),
    [
        *((name, True) for name in ("imagenette2-320", "ImageNet-C", "imagenet_v2", "imagenet100")),
        *((name, True) for name in ("tiny", "my-subset", "imagenet-21k", "imagenet-sketch")),
        *((name, False) for name in ("imagenet", "imagenet-1k", "imagenet1000", "imagenet_2012")),
        *((name, False) for name in ("imagenetful", "ILSVRC2012", "data")),
    ],
)
def test_names_of_other_sets(name: str, is_other: bool) -> None:
    assert bool(re.fullmatch(OTHER_SET, name.encode())) is is_other


@pytest.mark.parametrize(
    ("entry", "split", "classes"),
    [
        ("train/", True, False),
        ("Validation/", True, False),
        ("ILSVRC2012_img_train/", True, False),
        ("ILSVRC2012_img_train_t3.tar", True, False),
        ("train.tar", True, False),
        ("trainer/", False, False),
        ("train", False, False),
        ("test/", False, False),
        ("n01440764/", False, True),
        ("n01440764.zip", False, True),
        ("n01440764", False, False),
        ("n014407640/", False, False),
    ],
)
def test_what_a_directory_holds(entry: str, split: bool, classes: bool) -> None:
    found = seen([f"d/{entry}"])
    assert (holds_split(found, b"d"), holds_classes(found, b"d")) == (split, classes)
