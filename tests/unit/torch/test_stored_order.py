"""How a dataset's samples stand in their archives: of a split, of a mount's directories."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import imagenetfs
from tests.helpers.archives import image, tar_of
from tests.helpers.late_imports import late_imports
from tests.helpers.sources import TRAIN, write

if TYPE_CHECKING:
    from imagenetfs.torch import ImageFolder
    from imagenetfs.torch.stored_order import stored_order

_late = late_imports(
    "torch",
    ImageFolder="imagenetfs.torch:ImageFolder",
    stored_order="imagenetfs.torch.stored_order:stored_order",
)


class Folder:
    """As torchvision's ImageFolder is to be seen."""

    split: Any = None

    def __init__(self, samples: list[tuple[Any, int]]) -> None:
        self.samples = samples
        self.targets = [target for _, target in samples]

    def __len__(self) -> int:
        return len(self.samples)


FOLDER = Folder([(f"/data/{n // 3}/{n}.JPEG", n // 3) for n in range(6)])


def attribute(monkeypatch: pytest.MonkeyPatch, values: dict[str, list[int]]) -> None:
    """What the directories of a mount answer."""

    def getxattr(path: Path, name: str) -> bytes:
        assert name == "user.imagenetfs.order"
        if str(path) not in values:
            raise OSError(95, os.strerror(95))
        return np.array(values[str(path)], dtype="<u2").tobytes()

    monkeypatch.setattr(os, "getxattr", getxattr)


def test_a_split(tmp_path: Path) -> None:
    stored = {"n1": "bca", "n2": "ab"}
    tars = {
        f"{wnid}.tar": tar_of({f"{wnid}_{name}.JPEG": image(1) for name in names})
        for wnid, names in stored.items()
    }
    root = tmp_path / "imagenet"
    write(root / TRAIN, tar_of({f"n0000000{n}.tar": data for n, data in enumerate(tars.values())}))
    with imagenetfs.open(root, index_dir="none") as tree:
        split = tree["ILSVRC2012/train"]
        folder = ImageFolder(split)
        found = stored_order(folder)
        assert found is not None and found.tolist() == [1, 2, 0, 3, 4]
        assert split.stored_order().tolist() == found.tolist()
        chosen = ImageFolder(split, is_valid_file=lambda path: not path.endswith("_c.JPEG"))
        assert stored_order(chosen) is None  # these are other numbers


def test_a_mounts_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    attribute(monkeypatch, {"/data/0": [2, 0, 1], "/data/1": [0, 2, 1]})
    found = stored_order(FOLDER)
    assert found is not None and found.tolist() == [2, 0, 1, 3, 5, 4]


@pytest.mark.parametrize(
    "values",
    [{}, {"/data/0": [0, 1, 2]}, {"/data/0": [0, 1], "/data/1": [0, 1, 2]}],
    ids=["no mount", "one class", "another number of images"],
)
def test_where_it_is_not_known(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, list[int]]
) -> None:
    attribute(monkeypatch, values)
    assert stored_order(FOLDER) is None


@pytest.mark.parametrize(
    "dataset",
    [
        range(5),
        Folder([]),
        Folder([("/data/1/a", 1), ("/data/0/b", 0)]),
        Folder([(3, 0), (4, 0)]),
    ],
    ids=["no folder", "empty", "unsorted", "no paths"],
)
def test_what_is_no_folder(monkeypatch: pytest.MonkeyPatch, dataset: Any) -> None:
    attribute(monkeypatch, {"/data/0": [0], "/data/1": [0]})
    assert stored_order(dataset) is None
