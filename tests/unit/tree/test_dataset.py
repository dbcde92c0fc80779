"""Versions and splits: classes are wnids, sorted, each once."""

from __future__ import annotations

from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.split_backend import UNLABELED


class Backend:
    def __init__(self, *classes: bytes) -> None:
        self.classes = classes


def split(name: bytes, *classes: bytes) -> Split:
    return Split(name, Backend(*classes), "x")  # type: ignore[arg-type]  # a backend of classes alone


def test_the_classes_of_a_split() -> None:
    assert split(b"val", b"n00000001", b"n00000003", UNLABELED).wnids == [
        b"n00000001",
        b"n00000003",
    ]
    assert split(b"test", UNLABELED).wnids == []


def test_the_classes_of_a_version() -> None:
    version = Version(
        b"v",
        [
            split(b"val", b"n00000003", UNLABELED),
            split(b"train", b"n00000001", b"n00000003"),
            split(b"test", UNLABELED),
        ],
    )
    assert version.wnids == [b"n00000001", b"n00000003"]
    assert Version(b"none").wnids == []


def test_splits_by_name() -> None:
    train = split(b"train")
    version = Version(b"v", [train, split(b"val")])
    assert version.split(b"train") is train
    assert version.split(b"validation") is None
