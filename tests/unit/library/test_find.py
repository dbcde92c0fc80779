"""What a word of the user means."""

from __future__ import annotations

import pytest

from imagenetfs.errors import UsageError
from imagenetfs.library.find import TreeSearch
from imagenetfs.library.opened import OpenedSource

TRAIN = "ILSVRC2012/train"


@pytest.fixture(scope="module")
def finder(opened: OpenedSource) -> TreeSearch:
    return TreeSearch(opened)


@pytest.mark.parametrize(
    ("what", "kind", "titles"),
    [
        ("ILSVRC2012", "version", ["ILSVRC2012"]),
        ("/ILSVRC2012/val/", "split", ["ILSVRC2012/val"]),
        ("views/mine/train", "split", ["views/mine/train"]),
        ("n00000003", "class", ["n00000003"]),
        ("word 1", "class", ["n00000003"]),
        ("OTHER", "class", ["n00000003", "n00000005", "n00000007", "n00000009"]),
        # An ancestor of the devkit, without images of its own: what is below it.
        ("n10000004", "class", ["n00000003", "n00000005", "n00000007", "n00000009"]),
        (f"{TRAIN}/n00000003", "class", [f"{TRAIN}/n00000003"]),
        (f"{TRAIN}/word 1", "class", [f"{TRAIN}/n00000003"]),
        (f"{TRAIN}/n00000002/n00000002_1.JPEG", "image", [f"{TRAIN}/n00000002/n00000002_1.JPEG"]),
        (
            "n00000002_1.JPEG",
            "image",
            [f"{v}/train/n00000002/n00000002_1.JPEG" for v in ("ILSVRC2012", "ILSVRC2012_t3")],
        ),
        (
            "ILSVRC2012_val_00000001.JPEG",
            "image",
            ["ILSVRC2012/val/n00000003/ILSVRC2012_val_00000001.JPEG"],
        ),
        (
            "source/ILSVRC2012/ILSVRC2012_img_val.tar",
            "image",
            ["source/ILSVRC2012/ILSVRC2012_img_val.tar"],
        ),
    ],
)
def test_what_is_meant(finder: TreeSearch, what: str, kind: str, titles: list[str]) -> None:
    found = finder.find(what)
    assert [place.title for place in found] == titles
    assert {place.kind for place in found} == {kind}


def test_a_class_knows_where_it_is(finder: TreeSearch) -> None:
    [place] = finder.find("word 1")
    titles = [title for title, _, _ in place.splits]
    assert titles == [TRAIN, "ILSVRC2012/val", "views/mine/train", "views/mine/val"]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (
            "goldfish",
            r"has no images of goldfish, .* n01443537 \(.*\)\. It has images of 'word \d', for",
        ),
        ("n01443537", r"has no images of n01443537 \(goldfish, Carassius auratus\)"),
        ("n09999999", "has no images of n09999999: the classes"),
        ("word l", "has nothing called word l: give .* Did you mean word \\d"),
        (
            "ILSVRC2012/trian",
            r"has nothing called ILSVRC2012/trian: .* Did you mean ILSVRC2012/train",
        ),
        ("ILSVRC2012_val_00099999.JPEG", "has nothing called ILSVRC2012_val_00099999.JPEG"),
        ("source", "has nothing called source"),
    ],
)
def test_what_means_nothing(finder: TreeSearch, what: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        finder.find(what)
