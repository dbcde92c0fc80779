"""The tree that a source should show, made by os.walk, tarfile, zipfile, scipy and numpy alone.

Nothing of imagenetfs is used: docs/tree.md and docs/formats.md say what the tree is, and this says
it once more.
"""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat

from tests.prove import world

DIRECTORY, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK


@dataclass
class Node:
    """One name. ``data``: the bytes of a file, the target of a link. ``of``: the files of the
    source that it comes from; of a directory, those that its names come from. ``pixels``: of a PNG
    that is made, whose bytes are the encoder's affair. ``mtime``: None where nothing is said.
    ``opaque``: of which nothing is said but that it is there. ``lost``: a directory of which
    nothing is whole, or the list of a split with such a class: it fails whatever is asked of it.
    """

    kind: int
    data: bytes = b""
    of: set[str] = field(default_factory=set)
    mtime: int | None = None
    pixels: bytes | None = None
    opaque: bool = False
    lost: bool = False


Nodes = dict[str, Node]


def tree_of(root: Path) -> Nodes:
    """Path -> what is there, of all that a listing shows; the dynamic files are left out."""
    nodes: Nodes = {"": Node(DIRECTORY)}
    _archives(nodes, root)
    kit = _devkit(root)
    _version(nodes, root, kit)
    _downsampled(nodes, root, kit)
    for version in ("ILSVRC2012", "Imagenet8"):
        _made(nodes, version, kit.words)
    return nodes


def children(nodes: Nodes) -> dict[str, set[str]]:
    """Directory -> the names in it."""
    found: dict[str, set[str]] = {p: set() for p, node in nodes.items() if node.kind == DIRECTORY}
    for path in nodes:
        if path:
            parent, _, name = path.rpartition("/")
            found[parent].add(name)
    return found


def _put(nodes: Nodes, path: str, node: Node) -> None:
    """Enter a node and the directories above it."""
    nodes[path] = node
    while path:
        path = path.rpartition("/")[0]
        above = nodes.setdefault(path, Node(DIRECTORY))
        above.of |= node.of if path.count("/") > 0 else set()


# --- archives/: the source as it stands -----------------------------------------------------------


def _archives(nodes: Nodes, root: Path) -> None:
    for directory, below, names in os.walk(root):
        at = str(PurePosixPath("archives") / os.path.relpath(directory, root))
        _put(nodes, at, Node(DIRECTORY))
        for name in below + names:
            path = Path(directory, name)
            source = os.path.relpath(path, root)
            if path.is_symlink():
                _put(nodes, f"{at}/{name}", Node(LINK, os.fsencode(os.readlink(path))))
            elif name.endswith((".tar", ".zip")):
                _container(nodes, f"{at}/{name}", path.read_bytes(), source, 0)
            elif path.is_file():
                mtime = int(path.stat().st_mtime) if source not in world.ARCHIVES else None
                _put(nodes, f"{at}/{name}", Node(FILE, path.read_bytes(), {source}, mtime))


def _container(nodes: Nodes, at: str, data: bytes, source: str, depth: int) -> None:
    """A tar or zip as a directory; those within it too, and deeper ones as files."""
    nodes[at] = Node(DIRECTORY, of={source})
    members = tar_members(data) if at.endswith(".tar") else zip_members(data)
    for name, node in members.items():
        node.of = {source}
        if depth == 0 and node.kind == FILE and name.endswith((".tar", ".zip")):
            _container(nodes, f"{at}/{name}", node.data, source, 1)
        else:
            above = PurePosixPath(name).parents
            for parent in [str(p) for p in above if str(p) != "."]:
                nodes.setdefault(f"{at}/{parent}", Node(DIRECTORY, of={source}))
            nodes[f"{at}/{name}"] = node


def tar_members(data: bytes) -> Nodes:
    """The members of a tar, of which the end may be cut off: whole ones alone."""
    found: Nodes = {}
    if len(data) < tarfile.BLOCKSIZE:  # tarfile refuses what has not one whole header
        return found
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in _readable(archive):
            name = info.name
            if info.isfile() and info.offset_data + info.size <= len(data):
                file = archive.extractfile(info)
                assert file is not None
                found[name] = Node(FILE, file.read(), mtime=int(info.mtime))
            elif info.issym():
                found[name] = Node(LINK, os.fsencode(info.linkname), mtime=int(info.mtime))
            elif info.islnk() and info.linkname in found:
                found[name] = found[info.linkname]
    return found


def _readable(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            info = archive.next()
        except tarfile.TarError:
            return
        if info is None:
            return
        yield info


def zip_members(data: bytes) -> Nodes:
    """The files of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {i.filename: Node(FILE, archive.read(i)) for i in archive.infolist()}


# --- versions -------------------------------------------------------------------------------------


class Kit(NamedTuple):
    """ID -> wnid; wnid -> words; the ID of each image of val."""

    wnids: dict[int, str]
    words: dict[str, str]
    truth: list[int]


def _devkit(root: Path) -> Kit:
    data = root / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    synsets = loadmat(data / "meta.mat", squeeze_me=True)["synsets"]
    leaves = [row for row in synsets if int(row["num_children"]) == 0]
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in leaves}
    words = {str(row["WNID"]): str(row["words"]) for row in leaves}
    lines = (data / "ILSVRC2012_validation_ground_truth.txt").read_text().split()
    return Kit(wnids, words, [int(line) for line in lines])


def _version(nodes: Nodes, root: Path, kit: Kit) -> None:
    if (root / world.TRAIN).exists():
        tars = tar_members((root / world.TRAIN).read_bytes())
        if not tars:
            _put(nodes, "ILSVRC2012/train", Node(DIRECTORY, of={world.TRAIN}, lost=True))
        for name, node in tars.items():
            wnid = name.removesuffix(".tar")
            for image, found in tar_members(node.data).items():
                found.of = {world.TRAIN}
                _put(nodes, f"ILSVRC2012/train/{wnid}/{image}", found)
    if (root / world.VAL).exists():
        images = tar_members((root / world.VAL).read_bytes())
        if not images:
            _put(nodes, "ILSVRC2012/val", Node(DIRECTORY, of={world.VAL}, lost=True))
        # The devkit says the classes: one whose images are all cut off is there, and lost.
        for wnid in kit.wnids.values() if images else ():
            _put(nodes, f"ILSVRC2012/val/{wnid}", Node(DIRECTORY, of={world.VAL}, lost=True))
        for name, node in images.items():
            node.of = {world.VAL}
            wnid = kit.wnids[kit.truth[int(name[15:23]) - 1]]
            _put(nodes, f"ILSVRC2012/val/{wnid}/{name}", node)
            nodes[f"ILSVRC2012/val/{wnid}"].lost = False


def _downsampled(nodes: Nodes, root: Path, kit: Kit) -> None:
    if not (root / world.ARRAY).exists():
        return
    with np.load(root / world.ARRAY) as arrays:
        data, labels = arrays["data"], arrays["labels"]
    for row, label in enumerate(labels):
        pixels = data[row].reshape(3, 8, 8).transpose(1, 2, 0).tobytes()
        path = f"Imagenet8/val/{kit.wnids[int(label)]}/val_data_{row:06d}.png"
        _put(nodes, path, Node(FILE, of={world.ARRAY}, pixels=pixels))


def _made(nodes: Nodes, version: str, words: dict[str, str]) -> None:
    """The files that are made of a version: one line a class, or an image."""
    if version not in nodes:
        return
    wnids = sorted(words)
    texts = {
        "wnids.txt": "".join(f"{wnid}\n" for wnid in wnids),
        "words.txt": "".join(f"{wnid}\t{words[wnid]}\n" for wnid in wnids),
        "labels.txt": "".join(f"{w},{words[w].partition(',')[0]}\n" for w in wnids),
        "LOC_synset_mapping.txt": "".join(f"{wnid} {words[wnid]}\n" for wnid in wnids),
        "imagenet_class_index.json": json.dumps(
            {str(i): [w, words[w].partition(",")[0].replace(" ", "_")] for i, w in enumerate(wnids)}
        ),
    }
    for split in ("train", "val"):
        above = f"{version}/{split}/"
        images = sorted(path.removeprefix(above) for path in nodes if path.startswith(above))
        lines = [
            f"{image} {wnids.index(image.partition('/')[0])}\n" for image in images if "/" in image
        ]
        if lines:
            node = nodes[f"{version}/{split}"]
            lost = any(node.lost for path, node in nodes.items() if path.startswith(above))
            made = Node(FILE, "".join(lines).encode(), node.of, lost=lost)
            _put(nodes, f"{version}/meta/{split}.txt", made)
    for name, text in texts.items():
        _put(nodes, f"{version}/{name}", Node(FILE, text.encode()))
    if version == "ILSVRC2012":
        _put(nodes, f"{version}/meta.bin", Node(FILE, opaque=True))
