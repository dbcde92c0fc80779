"""winter21_whole of the miniature."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from imagenetfs.sample import (
    winter21,
)
from imagenetfs.sample.pictures import Painter
from imagenetfs.sample.plan import Plan
from tests.helpers.tarfile_members import loose, members_of


@pytest.mark.slow
def test_winter21(sample: Path) -> None:
    root = sample / "winter21_whole"
    directories = {path.name for path in root.iterdir() if path.name != "tars"}
    tars = {path.stem: members_of(path) for path in (root / "tars").iterdir()}
    assert tars.keys() - directories == {"n15102894"}
    assert directories - tars.keys() == {"n00007846"}
    assert {"n02012849", "n03126707"} <= tars.keys()  # both are named "crane"
    kinds: Counter[str] = Counter()
    for wnid, found in tars.items():
        assert all(name.startswith(f"{wnid}_") and name.endswith(".JPEG") for name in found)
        if wnid in directories:
            assert {name: data for name, (_, data) in found.items()} == loose(root / wnid)
        for _, data in found.values():
            kinds[_kind(data)] += 1
    assert kinds["gzip"] == 2
    assert kinds["empty"] == 2
    assert kinds["unreadable"] == 1
    with pytest.raises((OSError, UnidentifiedImageError)):
        Image.open(root / "n06470073" / "n06470073_47249.JPEG").load()


def _kind(data: bytes) -> str:
    if not data:
        return "empty"
    if data[:2] == b"\x1f\x8b":
        Image.open(io.BytesIO(gzip.decompress(data))).load()
        return "gzip"
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        return "unreadable"
    return "fine"


def test_winter21_shares_most_images(sample: Path) -> None:
    train = loose(sample / "ILSVRC2012/train/n02119789")
    winter = loose(sample / "winter21_whole/n02119789")
    shared = train.keys() & winter.keys()
    assert 0.6 < len(shared) / len(train) < 0.9
    assert all(train[name] == winter[name] for name in shared)


def test_classes_are_sorted_and_those_only_here_have_ids_of_their_own() -> None:
    found = winter21.classes(Plan(2, 4, 0))
    wnids = [each.wnid for each in found]
    assert wnids == sorted({"n02119789", "n02100735", *winter21.ONLY_HERE})
    numbers = {each.wnid: each.number for each in found}
    assert (numbers["n02119789"], numbers["n02100735"]) == (1, 2)
    assert (numbers["n02012849"], numbers["n03126707"]) == (11, 12)  # cranes are ILSVRC2012's too
    assert (numbers["n00004475"], numbers["n15102894"]) == (1001, 1003)


def test_without_ilsvrc2012_a_class_has_its_own_images(tmp_path: Path) -> None:
    winter21.write(tmp_path / "w", Plan(1, 4, 0), Painter(), tmp_path / "nothing")
    assert len(loose(tmp_path / "w" / "n02119789")) == 4
