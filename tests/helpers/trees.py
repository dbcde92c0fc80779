"""A small source with all of ILSVRC2012, and the tree above a source."""

from __future__ import annotations

from pathlib import Path

from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.read.reader import Reader
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.node import FixedFile
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import image, tar_of, train_tar
from tests.helpers.devkit import meta_mat
from tests.helpers.listings import check_listing

VAL = 12
"""Images of val."""


def ilsvrc2012(root: Path) -> Path:
    """``root``/ILSVRC2012.

    A kit of four classes, train of three, t3 of two, val, test and its patch.
    """
    data = root / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "meta.mat").write_bytes(meta_mat())
    truth = "\n".join(str(n % 4 + 1) for n in range(1, VAL + 1))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    tars = {
        "train": train_tar(3, 4),
        "train_t3": train_tar(2, 2),
        "val": tar_of({f"ILSVRC2012_val_{n:08d}.JPEG": image(n) for n in range(VAL, 0, -1)}),
        "test_v10102019": tar_of(
            {"test/": b"", **{f"test/ILSVRC2012_test_{n:08d}.JPEG": image(n) for n in range(1, 5)}}
        ),
        "test_patch_images_v10102019": tar_of(
            {"patch_images/ILSVRC2012_test_00000002.JPEG": b"patched"}
        ),
    }
    for name, content in tars.items():
        (root / "ILSVRC2012" / f"ILSVRC2012_img_{name}.tar").write_bytes(content)
    return root


def tree_of(source: Path, places: IndexSearchPath | None = None, prefer: str = "archives") -> Tree:
    """The tree over a source, as a mount has it."""
    places = places or IndexSearchPath(None, source)
    catalogue = build_catalogue(Source(source), places=places, prefer=prefer)
    return Tree(catalogue, "1.2.3")


def at(tree: Tree, path: str) -> int:
    """The inode at a path."""
    number = 1
    for name in path.split("/"):
        number = tree.lookup(number, name.encode())
    return number


def names(tree: Tree, path: str) -> list[str]:
    """The names in the directory at a path."""
    return [name.decode() for name in check_listing(tree.listing(at(tree, path)))]


def read(tree: Tree, path: str) -> bytes:
    """The content of the file at a path."""
    number = at(tree, path)
    node = tree.file(number)
    size = tree.attributes(number).size
    if isinstance(node, FixedFile):
        return node.contents.read(0, size)
    catalogue = tree.catalogue
    return Reader(catalogue.index, catalogue.source).read(number, 0, size)
