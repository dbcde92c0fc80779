"""DownSampled of the miniature: names, types and order of its arrays."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import io as scipy_io

from imagenetfs.sample import (
    downsampled,
    members,
)
from imagenetfs.sample.downsampled import Array
from imagenetfs.sample.ilsvrc2012 import Thumbnails
from imagenetfs.sample.plan import Class, Plan


def test_downsampled_listing(sample: Path) -> None:
    found = {
        str(path.relative_to(sample / "DownSampled"))
        for path in (sample / "DownSampled").rglob("*")
        if path.is_file()
    }
    expected = {f"Imagenet{side}_val_npz/val_data.npz" for side in (8, 16, 32, 64)}
    for batch in range(1, 11):
        expected |= {
            f"Imagenet{side}_train_npz/train_data_batch_{batch}.npz" for side in (8, 16, 32)
        }
        part = 1 if batch <= 5 else 2
        expected.add(f"Imagenet64_train_part{part}_npz/train_data_batch_{batch}.npz")
    assert found == expected


def test_downsampled_rows(sample: Path) -> None:
    counts = Counter[int]()
    dtypes = set()
    for side in (8, 16, 32, 64):
        labels = []
        for batch in range(1, 11):
            [path] = (sample / "DownSampled").glob(
                f"Imagenet{side}_train*_npz/train_data_batch_{batch}.npz"
            )
            with np.load(path, allow_pickle=False) as arrays:
                assert set(arrays) == {"data", "labels", "mean"}
                assert arrays["data"].shape == (80, 3 * side * side)
                assert arrays["data"].dtype == np.uint8
                assert arrays["mean"].shape == (3 * side * side,)
                assert arrays["mean"].dtype.kind == "f"
                dtypes.add(arrays["labels"].dtype.str)
                labels += arrays["labels"].tolist()
        assert labels != sorted(labels)
        assert set(labels) == set(range(1, 11))
        counts[hash(tuple(sorted(labels)))] += 1
    assert list(counts.values()) == [4]
    assert len(dtypes) == 3


def test_downsampled_stored_and_deflated(sample: Path) -> None:
    kinds = Counter[tuple[bool, int]]()
    for path in (sample / "DownSampled").rglob("*.npz"):
        with zipfile.ZipFile(path) as archive:
            [kind] = {info.compress_type for info in archive.infolist()}
            kinds["train" in path.name, kind] += 1
    assert kinds[True, zipfile.ZIP_STORED] == 30
    assert kinds[True, zipfile.ZIP_DEFLATED] == 10
    assert kinds[False, zipfile.ZIP_STORED] == 3
    assert kinds[False, zipfile.ZIP_DEFLATED] == 1


def test_downsampled_val_is_in_directory_order(sample: Path) -> None:
    kit = sample / "ILSVRC2012/ILSVRC2012_devkit_t12/data/meta.mat"
    rows = scipy_io.loadmat(kit, squeeze_me=True)["synsets"]
    wnid_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    with np.load(sample / "DownSampled/Imagenet32_val_npz/val_data.npz") as arrays:
        wnids = [wnid_of[int(label)] for label in arrays["labels"]]
        assert set(arrays) == {"data", "labels"}
    assert wnids == sorted(wnids)


def _thumbnail(value: int) -> Array:
    """Red grows along x, green along y, blue is ``value``."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :, 0] = np.arange(64)[None, :] * 4
    picture[:, :, 1] = np.arange(64)[:, None] * 4
    picture[:, :, 2] = value
    return picture


def _written(root: Path, images: int) -> Path:
    root.mkdir(exist_ok=True)
    one, two = Class("n00000002", 1), Class("n00000001", 2)
    thumbnails = Thumbnails()
    for number in range(images):
        thumbnails.train.append((f"{number}.JPEG", one, _thumbnail(number)))
    thumbnails.val = [
        ("b", one, _thumbnail(200)),
        ("c", two, _thumbnail(202)),
        ("a", one, _thumbnail(201)),
    ]
    downsampled.write(root / "DownSampled", Plan(2, 4, 0), thumbnails)
    return root / "DownSampled"


def test_the_last_batch_has_the_rows_that_are_left(tmp_path: Path) -> None:
    root = _written(tmp_path, 23)
    for side in (8, 64):
        sizes, blues = [], []
        for batch in range(1, 11):
            [path] = root.glob(f"Imagenet{side}_train*_npz/train_data_batch_{batch}.npz")
            with np.load(path) as arrays:
                sizes.append(len(arrays["data"]))
                blues += arrays["data"][:, -1].tolist()
        assert sizes == [2] * 9 + [5]
        assert sorted(blues) == list(range(23))


def test_rows_are_planes_of_averages(tmp_path: Path) -> None:
    with np.load(_written(tmp_path, 10) / "Imagenet8_val_npz" / "val_data.npz") as arrays:
        planes = arrays["data"].reshape(-1, 3, 8, 8)
        # In the order of class directories, then of names: n00000001/c, n00000002/a, n00000002/b.
        assert arrays["labels"].tolist() == [2, 1, 1]
    assert planes[:, 2, 0, 0].tolist() == [202, 201, 200]
    assert planes[0, 0, 5].tolist() == [14 + 32 * x for x in range(8)]  # the mean of 8 steps of 4
    assert planes[0, 1, :, 3].tolist() == [14 + 32 * y for y in range(8)]


def test_equal_arrays_make_equal_files(tmp_path: Path) -> None:
    one, two = (_written(tmp_path / name, 10) for name in ("one", "two"))
    for path in one.rglob("*.npz"):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes(), path.name
        assert path.stat().st_mtime == members.JUNE_2012
