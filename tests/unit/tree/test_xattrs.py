"""Extended attributes: where an image comes from, and what is on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imagenetfs.errors import (
    NoAttributeError,
)
from imagenetfs.tree.tree import Tree
from imagenetfs.tree.xattrs import ORDER, PREFIX
from tests.helpers.archives import image
from tests.helpers.devkit import LEAVES
from tests.helpers.odd_tars import sparse_member
from tests.helpers.tars import END, member
from tests.helpers.trees import at, ilsvrc2012, names, tree_of
from tests.helpers.zips import zip_of


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return tree_of(ilsvrc2012(tmp_path_factory.mktemp("x") / "imagenet"))


def attributes(tree: Tree, path: str) -> dict[str, str]:
    found = tree.extended(at(tree, path))
    assert all(name.startswith(PREFIX) for name in found)
    return {name.removeprefix(PREFIX).decode(): value.decode() for name, value in found.items()}


def test_an_image_of_train(tree: Tree) -> None:
    found = attributes(tree, "ILSVRC2012/train/n00000002/n00000002_1.JPEG")
    offset = int(found.pop("offset"))
    assert found == {
        "source": "ILSVRC2012/ILSVRC2012_img_train.tar",
        "wnid": "n00000002",
        "label": "1",
    }
    data = (tree.catalogue.source.path / "ILSVRC2012/ILSVRC2012_img_train.tar").read_bytes()
    assert data[offset : offset + 601] == image(201, 601)


def test_an_image_of_val_has_the_words_of_its_class(tree: Tree) -> None:
    wnid = LEAVES[1].decode()
    found = attributes(tree, f"ILSVRC2012/val/{wnid}/ILSVRC2012_val_00000001.JPEG")
    assert (found["wnid"], found["words"]) == (wnid, "word 1, other")
    every = sorted({*LEAVES, *(b"n%08d" % n for n in (1, 2, 3))})
    assert found["label"] == str(every.index(LEAVES[1]))


def test_the_same_image_has_the_same_label_by_any_path(tree: Tree) -> None:
    one = "ILSVRC2012_val_00000001.JPEG"
    assert attributes(tree, f"ILSVRC2012/val/{one}") == attributes(
        tree, f"archives/ILSVRC2012/ILSVRC2012_img_val.tar/{one}"
    )


def test_only_what_stands_in_the_source_as_it_is_has_an_offset(tmp_path: Path) -> None:
    """Not a deflated member of a zip, nor one with holes: its bytes are not there."""
    source = ilsvrc2012(tmp_path / "imagenet")
    data = image(1, 9000)
    (source / "more").mkdir()
    (source / "more" / "z.zip").write_bytes(zip_of({"stored": data, "deflated": data}))
    tar = sparse_member(b"sparse", bytes(8192) + data[:512], "old") + member(b"whole", data) + END
    (source / "more" / "t.tar").write_bytes(tar)
    tree = tree_of(source)
    for name in ("z.zip/stored", "t.tar/whole"):
        found = attributes(tree, f"archives/more/{name}")
        raw, offset = (source / found["source"]).read_bytes(), int(found["offset"])
        assert raw[offset : offset + len(data)] == data
    for name in ("z.zip/deflated", "t.tar/sparse"):
        assert attributes(tree, f"archives/more/{name}").keys() == {"source"}


def test_an_image_without_a_class(tree: Tree) -> None:
    found = attributes(tree, "ILSVRC2012/test/unlabeled/ILSVRC2012_test_00000001.JPEG")
    assert found.keys() == {"source", "offset"}
    patched = attributes(tree, "ILSVRC2012/test/unlabeled/ILSVRC2012_test_00000002.JPEG")
    assert patched["source"].endswith("patch_images_v10102019.tar")


def test_a_class_directory(tree: Tree) -> None:
    assert attributes(tree, "ILSVRC2012/train/n00000003") == {
        "wnid": "n00000003",
        "count": "4",
        **({"words": "word 1, other"} if LEAVES[1] == b"n00000003" else {}),
        "label": str(
            sorted({*LEAVES, b"n00000001", b"n00000002", b"n00000003"}).index(b"n00000003")
        ),
    }
    assert attributes(tree, "ILSVRC2012/test/unlabeled") == {"count": "4"}


def test_a_file_of_the_source(tree: Tree) -> None:
    path = "ILSVRC2012/ILSVRC2012_devkit_t12/data/meta.mat"
    assert attributes(tree, f"source/{path}") == {"source": path, "offset": "0"}


def test_what_has_none(tree: Tree) -> None:
    for path in ("ILSVRC2012", "ILSVRC2012/train", "ILSVRC2012/wnids.txt", "source"):
        assert attributes(tree, path) == {}
    with pytest.raises(NoAttributeError):
        tree.extended_value(at(tree, "ILSVRC2012"), PREFIX + b"wnid")


def test_one_by_its_name(tree: Tree) -> None:
    number = at(tree, "ILSVRC2012/train/n00000002")
    assert tree.extended_value(number, PREFIX + b"wnid") == b"n00000002"
    for name in (b"wnid", b"user.wnid", PREFIX + b"offset", b"security.capability"):
        with pytest.raises(NoAttributeError):
            tree.extended_value(number, name)


def test_how_a_class_is_stored_is_told_and_not_listed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the offsets that its images have."""
    directory = "ILSVRC2012/train/n00000002"
    images = sorted(names(tree, directory))
    offsets = [int(attributes(tree, f"{directory}/{name}")["offset"]) for name in images]
    order = np.frombuffer(tree.extended_value(at(tree, directory), ORDER), dtype="<u2").tolist()
    assert order == sorted(range(len(images)), key=offsets.__getitem__)
    assert "order" not in attributes(tree, directory)
    for other in ("ILSVRC2012/train", f"{directory}/{images[0]}"):
        with pytest.raises(NoAttributeError):
            tree.extended_value(at(tree, other), ORDER)
    monkeypatch.setattr("imagenetfs.tree.xattrs.MOST_ORDERED", len(images) - 1)
    with pytest.raises(NoAttributeError):
        tree.extended_value(at(tree, directory), ORDER)
