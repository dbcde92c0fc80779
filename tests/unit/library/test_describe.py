"""What is said of classes, images and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cli.show_text import lines_of
from imagenetfs.config import resolve
from imagenetfs.library.describe import Describer
from imagenetfs.library.find import TreeSearch
from imagenetfs.library.opened import OpenedSource
from imagenetfs.library.settings import spec_of
from tests.helpers.sources import train_and_test

TRAIN_TAR = "ILSVRC2012/ILSVRC2012_img_train.tar"


def described(opened: OpenedSource, what: str) -> list[dict[str, Any]]:
    finder = TreeSearch(opened)
    describer = Describer(opened, finder)
    return [describer.describe(place) for place in finder.find(what)]


def test_a_class(opened: OpenedSource) -> None:
    [found] = described(opened, "word 1")
    assert (found["wnid"], found["words"], found["gloss"]) == (
        "n00000003",
        "word 1, other",
        "gloss 1",
    )
    assert found["parents"] == [{"wnid": "n10000004", "words": "word 4, other"}]
    assert [one["wnid"] for one in found["ancestors"]] == ["n10000004", "n10000005"]
    assert found["devkit_id"] == 2
    assert found["labels"] == {"ILSVRC2012": 2, "views/mine": 0}
    where = {one["split"]: (one["images"], one["from"]) for one in found["splits"]}
    assert where["ILSVRC2012/train"] == (4, [f"{TRAIN_TAR}: n00000003.tar"])
    assert where["ILSVRC2012/val"] == (3, ["ILSVRC2012/ILSVRC2012_img_val.tar"])


def test_an_image(opened: OpenedSource) -> None:
    [found] = described(opened, "ILSVRC2012/train/n00000003/n00000003_1.JPEG")
    data = (opened.spec.source / TRAIN_TAR).read_bytes()
    at, size = found["offset"], found["bytes"]
    assert data[at : at + size].startswith(b"image 000301 ") and size == 601
    assert (found["file"], found["inner"]) == (TRAIN_TAR, "n00000003.tar")
    assert (found["member"], found["wnid"]) == ("n00000003_1.JPEG", "n00000003")
    assert (found["words"], found["labels"]["ILSVRC2012"]) == ("word 1, other", 2)
    assert found["format"] is None, "these bytes are no image"


def test_a_split_and_a_version(opened: OpenedSource) -> None:
    [found] = described(opened, "ILSVRC2012")
    counts = {one["split"]: (one["classes"], one["images"]) for one in found["splits"]}
    assert counts == {
        "ILSVRC2012/train": (3, 12),
        "ILSVRC2012/val": (4, 12),
        "ILSVRC2012/test": (1, 4),
    }
    [split] = described(opened, "ILSVRC2012/val")
    assert split["splits"] == found["splits"][1:2]
    assert found["splits"][1]["labels_from"][0].endswith("data/meta.mat")


def test_without_a_devkit_the_package_knows(tmp_path: Path) -> None:
    root = train_and_test(tmp_path / "imagenet")
    opened = OpenedSource(spec_of(resolve({"source": str(root), "index_dir": "none"}, {})))
    try:
        [found] = described(opened, "n00000001")
        describer = Describer(opened, TreeSearch(opened))
        assert describer.in_short(b"n01443537").startswith("goldfish, Carassius auratus: small ")
        assert describer.caption(b"n01443537") == "goldfish"
        assert describer.caption(b"unlabeled") == "unlabeled"
    finally:
        opened.close()
    assert (found["parents"], found["devkit_id"], found["gloss"]) == ([], None, "")


@pytest.mark.expects_log("no tar archive", "is broken")
def test_a_class_that_is_broken_in_one_version(tmp_path: Path) -> None:
    """What the others have of it is described all the same."""
    source = train_and_test(tmp_path / "imagenet", classes=2, images=2)
    (source / "winter21_whole").mkdir()
    (source / "winter21_whole" / "n00000001.tar").write_bytes(b"")
    opened = OpenedSource(spec_of(resolve({"source": str(source), "index_dir": "none"}, {})))
    try:
        [found] = described(opened, "n00000001")
    finally:
        opened.close()
    where = {one["split"]: one for one in found["splits"]}
    assert where["ILSVRC2012/train"]["images"] == 2
    assert "nothing of n00000001 can be read" in where["winter21_whole/train"]["problem"]
    [line] = [value for name, value in lines_of(found) if name == "winter21_whole/train"]
    assert line.startswith("nothing of n00000001 can be read")
