"""The development kits: read by scipy, and by this project."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import io as scipy_io

from imagenetfs.sample import (
    members,
)
from imagenetfs.sample.devkit import write_devkit
from imagenetfs.tree.devkit import parse
from tests.helpers.tarfile_members import loose


@pytest.fixture
def ilsvrc(sample: Path) -> Path:
    return sample / "ILSVRC2012"


def test_devkit(ilsvrc: Path) -> None:
    kit = ilsvrc / "ILSVRC2012_devkit_t12"
    assert (kit / "readme.txt").is_file()
    assert any((kit / "evaluation").iterdir())
    rows = scipy_io.loadmat(kit / "data" / "meta.mat")["synsets"]
    assert rows.ndim == 2
    assert rows.shape[1] == 1
    assert rows.dtype.names == (
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    )
    rows = scipy_io.loadmat(kit / "data" / "meta.mat", squeeze_me=True)["synsets"]
    assert [int(row["ILSVRC2012_ID"]) for row in rows] == list(range(1, len(rows) + 1))
    leaves = [row for row in rows if row["num_children"] == 0]
    assert [int(row["ILSVRC2012_ID"]) for row in leaves] == list(range(1, 11))
    assert (leaves[0]["WNID"], leaves[0]["words"]) == ("n02119789", "kit fox, Vulpes macrotis")
    assert [row["WNID"] for row in leaves] != sorted(row["WNID"] for row in leaves)
    for row in rows[10:]:
        assert np.atleast_1d(row["children"]).size == row["num_children"] > 0
    for row in leaves:
        assert row["num_train_images"] == len(loose(ilsvrc / "train" / row["WNID"]))


def test_ground_truth(ilsvrc: Path) -> None:
    path = ilsvrc / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    text = path.read_text()
    assert not text.endswith("\n")
    numbers = [int(line) for line in text.split("\n")]
    assert len(numbers) == len(list((ilsvrc / "validation").iterdir())) == 100
    assert Counter(numbers) == dict.fromkeys(range(1, 11), 10)
    assert numbers != sorted(numbers)


def test_a_kit_as_the_tree_reads_it(tmp_path: Path) -> None:
    counts = {"n02119789": 3, "n02100735": 5}
    write_devkit(tmp_path / "kit", counts, [2, 1, 1])
    data = tmp_path / "kit" / "data"
    truth = (data / "ILSVRC2012_validation_ground_truth.txt").read_bytes()
    assert truth == b"2\n1\n1"
    kit = parse((data / "meta.mat").read_bytes(), truth)
    assert kit.wnids == {1: b"n02119789", 2: b"n02100735"}
    assert [kit.val_wnid(number) for number in (1, 2, 3)] == [b"n02100735", *[b"n02119789"] * 2]
    assert kit.words[b"n00001740"], "the root is named too"


def test_a_kit_without_val_has_no_ground_truth(tmp_path: Path) -> None:
    write_devkit(tmp_path / "kit", {"n02119789": 3}, None)
    assert [path.name for path in (tmp_path / "kit" / "data").iterdir()] == ["meta.mat"]
    readme = (tmp_path / "kit" / "readme.txt").read_text()
    assert "the 1 classes have ILSVRC2012_ID 1 to 1" in readme
    assert "ground_truth" not in readme


def test_meta_mat_holds_no_time_of_day(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_devkit(tmp_path / name, {"n02119789": 3}, None)
    one, two = (tmp_path / name / "data" / "meta.mat" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(
        b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Fri Jun"
    )
    assert one.stat().st_mtime == members.JUNE_2012
