"""Views: lists sorted out, parts of splits, and what a list names in vain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagenetfs.errors import UsageError
from imagenetfs.tree.tree import Tree
from imagenetfs.tree.versions.views import parse, read_list, view
from tests.helpers.devkit import LEAVES
from tests.helpers.listings import check_listing
from tests.helpers.trees import at, ilsvrc2012, tree_of


@pytest.mark.parametrize(
    ("entry", "meant"),
    [
        (b"n01440764/a b 3.JPEG 12", b"a b 3.JPEG"),
        (b"a b 3.JPEG", b"a b 3.JPEG"),
        (b"holiday 2012", b"holiday 2012"),
        (b"n01440764 0", b"n01440764"),
        (b"val/n01440764/x.png\t7 # a comment", b"x.png"),
    ],
)
def test_what_is_a_label(entry: bytes, meant: bytes) -> None:
    [wanted] = parse("v", entry, []).wanted.values()
    assert wanted.classes | wanted.files == {meant}


def test_the_list_of_a_view(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\nb\n")
    assert read_list("mine", tmp_path / "list") == b"a\nb\n"
    with pytest.raises(UsageError, match="the list of the view mine cannot be read: No such file"):
        read_list("mine", tmp_path / "nothing")


def shown(text: bytes, tree: Tree) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """split -> class -> images of a view, and its warnings."""
    found, warnings = view("mine", text, tree.catalogue.versions, _told.append)
    return {
        split.name.decode(): {
            wnid.decode(): [name.decode() for name in check_listing(split.backend.listing(number))]
            for number, wnid in enumerate(split.backend.classes)
        }
        for split in found.splits
    }, warnings


_told: list[str] = []
"""What is found missing when a class is listed."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return tree_of(ilsvrc2012(tmp_path_factory.mktemp("v") / "imagenet"))


@pytest.fixture(autouse=True)
def _silent() -> None:
    _told.clear()


IMAGES = [f"n00000002_{n}.JPEG" for n in range(4)]


def test_a_whole_class(tree: Tree) -> None:
    assert shown(b"n00000002\n", tree) == ({"train": {"n00000002": IMAGES}}, [])


def test_single_images(tree: Tree) -> None:
    text = (
        b"n00000002_3.JPEG\ntrain/n00000002/n00000002_1.JPEG 7\n# nothing\n\nn00000003_0.JPEG # x\n"
    )
    assert shown(text, tree) == (
        {"train": {"n00000002": [IMAGES[1], IMAGES[3]], "n00000003": ["n00000003_0.JPEG"]}},
        [],
    )
    assert _told == []


def test_a_class_and_some_of_its_images(tree: Tree) -> None:
    assert shown(b"n00000002_3.JPEG\nn00000002\n", tree)[0] == {"train": {"n00000002": IMAGES}}


def test_images_of_val_are_found_by_their_labels(tree: Tree) -> None:
    one = "ILSVRC2012_val_00000001.JPEG"
    assert shown(one.encode(), tree) == ({"val": {LEAVES[1].decode(): [one]}}, [])
    assert shown(b"val/" + one.encode(), tree)[0] == shown(b"validation/" + one.encode(), tree)[0]


def test_a_version_is_meant_by_its_name(tree: Tree) -> None:
    assert shown(b"ILSVRC2012_t3/train/n00000001\n", tree)[0] == {
        "train": {"n00000001": ["n00000001_0.JPEG", "n00000001_1.JPEG"]}
    }
    assert len(shown(b"n00000001\n", tree)[0]["train"]["n00000001"]) == 4


def test_an_empty_list(tree: Tree) -> None:
    assert shown(b"# nothing\n\n", tree) == (
        {},
        ["the view mine is empty: its list has no entries."],
    )


def test_names_of_nothing(tree: Tree) -> None:
    found, warnings = shown(b"n00000002\nn00000008\nquatsch\nn00000008_1.JPEG\n", tree)
    assert found == {"train": {"n00000002": IMAGES}}
    assert warnings == [
        "the view mine: 3 of 4 entries of its list name nothing in ILSVRC2012 (first: n00000008)."
    ]
    assert shown(b"val/n00000008\n", tree)[1][-1] == (
        "the view mine is empty: nothing of its list is here."
    )


def test_an_image_that_is_missing_shows_when_its_class_is_listed(tree: Tree) -> None:
    found, warnings = shown(b"n00000002_0.JPEG\nn00000002_900001.JPEG\n", tree)
    assert (found, warnings) == ({"train": {"n00000002": IMAGES[:1]}}, [])
    assert _told == [
        "the view mine: 1 of 2 names in n00000002 are not there (first: n00000002_900001.JPEG)."
    ]


def test_an_image_of_val_that_is_missing(tree: Tree) -> None:
    found, warnings = shown(b"ILSVRC2012_val_00000099.JPEG\n", tree)
    assert (found, warnings) == ({"val": {}}, [])
    assert _told == [
        "the view mine: 1 of 1 names in val are not there (first: ILSVRC2012_val_00000099.JPEG)."
    ]


def test_the_same_inodes_as_elsewhere(tree: Tree) -> None:
    found, _ = view("mine", b"n00000002_3.JPEG\n", tree.catalogue.versions, lambda what: None)
    [(_, number, _)] = found.splits[0].backend.listing(0).entries(0)
    assert number == at(tree, "ILSVRC2012/train/n00000002/n00000002_3.JPEG")


def test_two_lines_of_one_split_are_one_view(tree: Tree) -> None:
    text = b"n00000001\nILSVRC2012/train/n00000002_1.JPEG\ntrain/n00000003\n"
    assert {wnid: len(images) for wnid, images in shown(text, tree)[0]["train"].items()} == {
        "n00000001": 4,
        "n00000002": 1,
        "n00000003": 4,
    }


def test_lists_are_sorted_out() -> None:
    parsed = parse("v", b"n00000001\ntrain/a b.JPEG\nval/unlabeled/x.JPEG\nn00000001/y.JPEG\n", [])
    assert {where: (w.classes, w.files) for where, w in parsed.wanted.items()} == {
        (None, None): ({b"n00000001"}, {b"y.JPEG"}),
        (None, b"train"): (set(), {b"a b.JPEG"}),
        (None, b"val"): (set(), {b"x.JPEG"}),
    }


# --- classes by their words -----------------------------------------------------------------------


def test_a_word_names_its_class(tree: Tree) -> None:
    by_word, warnings = shown(b"word 1\nval/Word_0\n", tree)
    assert warnings == []
    assert by_word == shown(LEAVES[1] + b"\nval/" + LEAVES[0] + b"\n", tree)[0]


def test_an_ambiguous_word_is_refused_with_the_classes(tree: Tree) -> None:
    with pytest.raises(UsageError, match=r"`other` in its list means 4 classes: n00000003 \(word"):
        shown(b"other\n", tree)


@pytest.mark.slow
def test_a_word_of_nothing_is_told_with_what_it_may_mean(tree: Tree) -> None:
    _, warnings = shown(b"word\n", tree)
    assert "nothing in ILSVRC2012 (first: word). It is in the words of n00000003" in warnings[0]
    _, warnings = shown(b"word l\n", tree)
    assert re.search(r"\(first: word l\). Did you mean word \d\?$", warnings[0])
