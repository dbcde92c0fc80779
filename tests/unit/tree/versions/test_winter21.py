"""winter21's classes are known by name alone: no tar is opened, and none is
asked for its attributes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.counters import REQUESTS
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.discovery import index_group
from imagenetfs.tree.inode import ROOT
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import class_tar
from tests.helpers.leaks import descriptors, opened_since
from tests.helpers.trees import tree_of

CLASSES = 700


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tars = tmp_path / "winter21_whole" / "tars"
    tars.mkdir(parents=True)
    for number in range(CLASSES):
        (tars / f"n{number:08d}.tar").write_bytes(class_tar(number, 2))
    return tmp_path


@pytest.mark.slow
def test_classes_cost_one_listing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Source(source)
    asked: list[str] = []
    real = os.stat

    def noted(path: Any, **more: Any) -> os.stat_result:
        asked.append(os.fsdecode(path) if not isinstance(path, int) else str(path))
        return real(path, **more)

    monkeypatch.setattr(os, "stat", noted)
    tree = Tree(build_catalogue(one, places=IndexSearchPath(None, source)), "1")
    train = tree.lookup(tree.lookup(ROOT, b"winter21_whole"), b"train")
    classes = list(tree.listing(train).entries(0))
    assert [name for name, _, _ in classes] == [b"n%08d" % n for n in range(CLASSES)]
    tree.lookup(train, b"n00000500")
    assert one.meter[REQUESTS] == 3, "the source, winter21_whole and tars are listed; that is all"
    assert not [path for path in asked if ".tar" in path]


@pytest.mark.slow
def test_descriptors_are_bounded(source: Path) -> None:
    before = descriptors()  # other tests' among them
    tree = tree_of(source)
    train = tree.lookup(tree.lookup(ROOT, b"winter21_whole"), b"train")
    for name, number, _ in tree.listing(train).entries(0):
        assert tree.listing(number).find(name + b"_1.JPEG")
    assert len(opened_since(before)) < 200


@pytest.mark.slow
def test_all_class_tars_share_an_index_file(source: Path) -> None:
    tree = tree_of(source)
    catalogue = tree.catalogue
    tars = [archive for archive in catalogue.archives if archive.path.endswith(b".tar")]
    assert len(tars) == CLASSES
    assert {index_group(archive) for archive in tars} == {"winter21_whole-tars"}
