"""The model of tests/prove/reference.py and the library, over archives that are cut at hard places.

The state machine cuts at random, and comes to these places once in some hundred runs.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from tests.prove import reference, world
from tests.prove.faces import Library

NOTHING, NO_HEADER, ONE_HEADER = 0, 511, 600


@pytest.mark.expects_log(".")  # each cut has a line
@pytest.mark.parametrize(
    ("seed", "path", "cut"),
    [
        (992, world.VAL, 114_944),  # no image of one class is whole: the class is there, and lost
        (963, world.TAR, NOTHING),
        (551, world.TAR, NO_HEADER),
        (31, world.TRAIN, NO_HEADER),
        (669, world.VAL, ONE_HEADER),  # not one image is whole: val is lost
    ],
)
def test_cut_archives(tmp_path: Path, seed: int, path: str, cut: int) -> None:
    """S1: each listing and each byte is the model's."""
    source = world.write(tmp_path / "source", seed)
    os.truncate(source / path, cut)
    nodes = reference.tree_of(source)
    face = Library(source, None)
    try:
        for directory, names in reference.children(nodes).items():
            if nodes[directory].lost:
                with pytest.raises(OSError) as caught:
                    face.names(directory, random.Random(seed))
                assert caught.value.errno == errno.EIO
            elif directory.startswith("ILSVRC2012") or path in directory:
                assert set(face.names(directory, random.Random(seed))) == names, directory
        for file, node in nodes.items():
            if node.lost and node.kind == reference.FILE:
                with pytest.raises(OSError) as caught:
                    face.read(file, 0, 1)
                assert caught.value.errno == errno.EIO
            elif node.kind == reference.FILE and node.of == {path}:
                assert face.read(file, 0, len(node.data) + 1) == node.data, file
    finally:
        face.close()


def test_a_class_without_images_is_in_the_model(tmp_path: Path) -> None:
    """As its images are cut off, and the devkit has it: nothing of it can be read."""
    source = world.write(tmp_path / "source", 992)
    os.truncate(source / world.VAL, 114_944)
    nodes = reference.tree_of(source)
    assert reference.children(nodes)["ILSVRC2012/val/n00000009"] == set()
    lost = ["ILSVRC2012/meta/val.txt", "ILSVRC2012/val/n00000009"]
    assert sorted(path for path, node in nodes.items() if node.lost) == lost
