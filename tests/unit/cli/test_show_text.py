"""A description in lines: what is not known is left out, versions that agree stand together."""

from __future__ import annotations

from typing import Any

from imagenetfs.cli.show_text import lines_of

CLASS: dict[str, Any] = {
    "kind": "class",
    "name": "n1",
    "wnid": "n1",
    "words": "kit fox, Vulpes macrotis",
    "gloss": "a small fox",
    "parents": [{"wnid": "n2", "words": "fox"}, {"wnid": "n3", "words": "pet, darling"}],
    "ancestors": [{"wnid": "n2", "words": "fox, a"}, {"wnid": "n9", "words": ""}],
    "labels": {"A": 5, "B": 5, "C": 7},
    "devkit_id": 1,
    "splits": [
        {"split": "A/train", "images": 1, "from": ["x.tar"]},
        {"split": "C/train", "images": 2000, "from": ["1", "2", "3", "4"]},
    ],
}


def test_a_class() -> None:
    assert lines_of(CLASS) == [
        ("class", "n1"),
        ("words", "kit fox, Vulpes macrotis"),
        ("meaning", "a small fox"),
        ("is a", "fox > n9"),
        ("and also a", "pet, darling (n3)"),
        ("label", "5 in A, B; 7 in C"),
        ("devkit's id", "1"),
        ("A/train", "1 image from x.tar"),
        ("C/train", "2,000 images from 1 and 2 and 2 more"),
    ]
    bare = {**CLASS, "words": "", "gloss": "", "parents": [], "ancestors": [], "devkit_id": None}
    names = [name for name, _ in lines_of(bare)]
    assert names == ["class", "words", "label", "A/train", "C/train"]


def test_an_image() -> None:
    image: dict[str, Any] = {
        "kind": "image",
        "name": "A/train/n1/x.png",
        "wnid": "n1",
        "words": "kit fox",
        "labels": {"A": 5},
        "format": "PNG",
        "width": 64,
        "height": 32,
        "mode": "RGB",
        "bytes": 12420,
        "file": "a.npz",
        "inner": None,
        "member": "row 25",
        "offset": None,
    }
    assert lines_of(image) == [
        ("image", "A/train/n1/x.png"),
        ("class", "n1  kit fox"),
        ("label", "5 in A"),
        ("size", "PNG, 64 x 32 pixels, RGB, 12,420 bytes"),
        ("from", "a.npz"),
        ("member", "row 25"),
    ]


def test_a_split() -> None:
    split = {
        "split": "A/val",
        "classes": 1,
        "images": 3,
        "bytes": None,
        "from": "val.tar",
        "labels_from": ["meta.mat"],
        "problems": ["it is broken."],
    }
    assert lines_of({"kind": "split", "name": "A/val", "splits": [split]}) == [
        ("split", "A/val"),
        ("holds", "3 images in 1 class"),
        ("from", "val.tar"),
        ("labels from", "meta.mat"),
        ("problem", "it is broken."),
    ]
