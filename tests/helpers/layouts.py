"""The trees and archives that people really have, generated small, and a tree over them without
FUSE to compare with.

``images()`` are the pictures of a small ILSVRC2012: class -> name -> bytes, for train and val;
everything else packs, moves, renames or breaks them.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagenetfs.read.reader import Reader
from imagenetfs.tree.node import FixedFile
from imagenetfs.tree.tree import Tree
from tests.helpers.devkit import meta_mat
from tests.helpers.trees import at

CLASSES = [b"n01440764", b"n01443537", b"n02119789", b"n03126707"]
PER_CLASS = 3

Shown = dict[str, dict[str, bytes]]
"""Class -> name -> bytes."""


def jpeg(text: str) -> bytes:
    """Bytes that begin as a JPEG does, and tell images apart."""
    return b"\xff\xd8\xff\xe0" + text.encode() * 20


def train_images() -> Shown:
    """n01440764_1.JPEG and on."""
    return {
        wnid.decode(): {
            name: jpeg(name)
            for number in range(1, PER_CLASS + 1)
            for name in (f"{wnid.decode()}_{number}.JPEG",)
        }
        for wnid in CLASSES
    }


def val_images() -> Shown:
    """ILSVRC2012_val_00000001.JPEG and on, whose classes no name tells."""
    shown: Shown = {wnid.decode(): {} for wnid in CLASSES}
    for number, wnid in enumerate(val_order(), 1):
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        shown[wnid][name] = jpeg(name)
    return shown


def val_order() -> list[str]:
    """The class of each val image, by its number from 1."""
    return [CLASSES[(3 * number) % len(CLASSES)].decode() for number in range(1, 9)]


def flat(shown: Shown) -> dict[str, bytes]:
    """All images, without their classes."""
    return {name: data for images in shown.values() for name, data in images.items()}


def by_directory(shown: Shown, above: str = "") -> dict[str, bytes]:
    """``<above>/<class>/<name>`` -> bytes."""
    return {
        f"{above}{wnid}/{name}": data
        for wnid, images in shown.items()
        for name, data in images.items()
    }


def packed(files: Mapping[str, bytes], *, directories: bool = False) -> bytes:
    """A tar of these; with an entry for each directory before what is in it, as `tar c` has it."""
    buffer, seen = io.BytesIO(), set[str]()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in files.items():
            for parent in reversed(Path(path).parents) if directories else ():
                if str(parent) not in seen and str(parent) != ".":
                    seen.add(str(parent))
                    info = tarfile.TarInfo(str(parent))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def class_tars(shown: Shown, above: str = "") -> dict[str, bytes]:
    """``<above>/<class>.tar`` -> its bytes."""
    return {f"{above}{wnid}.tar": packed(images) for wnid, images in shown.items()}


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a directory."""
    for path, data in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return root


def devkit_files(above: str = "", order: Sequence[str] | None = None) -> dict[str, bytes]:
    """The files of a devkit; ``order``: the class of each val image."""
    wnids = [wnid.decode() for wnid in CLASSES[::-1]]
    truth = "\n".join(str(wnids.index(wnid) + 1) for wnid in order or val_order())
    return {
        f"{above}readme.txt": b"the kit",
        f"{above}data/meta.mat": meta_mat([wnid.encode() for wnid in wnids]),
        f"{above}data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }


def documented(root: Path) -> Path:
    """ILSVRC2012/ with the tars of train and val and the devkit, as it is published."""
    return write(
        root,
        {
            "ILSVRC2012/ILSVRC2012_img_train.tar": packed(class_tars(train_images())),
            "ILSVRC2012/ILSVRC2012_img_val.tar": packed(flat(val_images())),
            **devkit_files("ILSVRC2012/ILSVRC2012_devkit_t12/"),
        },
    )


def without(root: Path, *paths: str) -> Path:
    """Remove some of it."""
    for path in paths:
        target = root / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
    return root


# --- what is shown --------------------------------------------------------------------------------


def read(tree: Tree, number: int) -> bytes:
    """The bytes of a file."""
    size = tree.attributes(number).size
    node = tree.file(number)
    if isinstance(node, FixedFile):
        return node.contents.read(0, size)
    return Reader(tree.catalogue.index, tree.catalogue.source).read(number, 0, size)


def shown(tree: Tree, split: str) -> Shown:
    """All classes and images of ``version/split``, as listings and reads have them. A class in
    which nothing is shown is left out.
    """
    found: Shown = {}
    for wnid, directory, _ in tree.listing(at(tree, split)).entries(0):
        for name, number, attributes in tree.listing(directory).entries(0):
            data = read(tree, number)
            assert len(data) == attributes.size
            assert tree.lookup(directory, name) == number
            found.setdefault(wnid.decode(), {})[os.fsdecode(name)] = data
    return found


def versions(tree: Tree) -> dict[str, list[str]]:
    """Version -> its splits."""
    return {
        version.name.decode(): [split.name.decode() for split in version.splits]
        for version in tree.catalogue.versions
    }
