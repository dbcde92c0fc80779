"""The full-size tree, tried at a hundredth and less; its arithmetic at the real size."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from scipy import io as scipy_io

from imagenetfs import errors
from imagenetfs.sample import fullsize, headers, make_full_size, shape, synsets
from imagenetfs.sample.randomness import generator

SMALL = shape.Shape(
    classes=12,
    images=500,
    least=20,
    most=45,
    train_bytes=5_600 * headers.RECORD,
    val_images=120,
    val_bytes=1_600 * headers.RECORD,
    winter_classes=40,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("full") / "imagenet"
    fullsize.write_shape(directory, SMALL, 0, lambda _step, _done: None)
    return directory


# --- the shape at its real size -----------------------------------------------------------------


def test_real_counts() -> None:
    counts = shape.class_counts(shape.FULL, generator(0, "counts"))
    assert len(counts) == 1_000
    assert sum(counts) == 1_281_167
    assert (min(counts), max(counts)) == (732, 1_300)


def test_real_sizes_add_up() -> None:
    rng = generator(0, "sizes")
    counts = shape.class_counts(shape.FULL, rng)
    sizes = shape.train_sizes(shape.FULL, counts, rng)
    place = 0
    for tar in sizes:
        starts, length = headers.layout(tar)
        assert starts[0] == 0
        assert (tar > 0).all()
        place += headers.BLOCK + length
    assert headers.rounded(place + headers.END, headers.RECORD) == 147_897_477_120
    every = np.concatenate(sizes)
    assert 100_000 < every.mean() < 125_000
    assert every.max() < 20_000_000
    [val] = shape.image_sizes([shape.FULL.val_images], shape.FULL.val_bytes, rng)
    assert headers.layout(val)[1] == 6_744_924_160


def test_real_winter_wnids() -> None:
    wnids = shape.winter_wnids(shape.FULL, generator(0, "winter"))
    assert len(set(wnids)) == len(wnids) == 19_167
    assert (wnids[0], wnids[-1]) == ("n00004475", "n15102894")
    assert set(synsets.imagenet_order()) < set(wnids)
    assert all(len(wnid) == 9 and wnid[1:].isdigit() for wnid in wnids)


@pytest.mark.parametrize("seed", range(5))
def test_counts_of_other_shapes(seed: int) -> None:
    dice = random.Random(seed)
    least, most = dice.randint(1, 50), dice.randint(60, 100)
    classes = dice.randint(2, 30)
    images = (classes - 1) * most + least - dice.randint(0, (classes - 1) * 5)
    wanted = replace(SMALL, classes=classes, images=images, least=least, most=most)
    counts = shape.class_counts(wanted, generator(seed, "other"))
    assert sum(counts) == images
    assert (min(counts), max(counts)) == (least, most)


# --- headers, against the standard library ------------------------------------------------------


@pytest.mark.parametrize(
    ("magic", "form"), [(headers.USTAR, tarfile.USTAR_FORMAT), (headers.GNU, tarfile.GNU_FORMAT)]
)
def test_headers_are_those_of_tarfile(magic: headers.Bytes, form: Literal[0, 1]) -> None:
    sizes, times = np.array([0, 1, 512, 110_123, 2**33 - 1]), np.array([0, 7, 2**31, 5, 8**11 - 1])
    names = [f"n01440764_{number}.JPEG" for number in range(4)] + ["x" * 100]
    made = headers.headers(names, sizes, times, magic=magic)
    for row, name, size, mtime in zip(made, names, sizes, times, strict=True):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.uname, info.gname = int(size), int(mtime), "root", "root"
        expected = bytearray(info.tobuf(form))
        # Device numbers of a regular file: tarfile writes zeros into a ustar header, GNU tar none.
        expected[329:345] = bytes(16)
        expected[148:156] = bytes(row[148:156])
        assert bytes(row) == bytes(expected)
        assert tarfile.TarInfo.frombuf(bytes(row), "ascii", "strict").size == size


# --- a small tree -------------------------------------------------------------------------------


def test_train_of_a_small_shape(small: Path) -> None:
    path = small / "ILSVRC2012/ILSVRC2012_img_train.tar"
    assert path.stat().st_size == SMALL.train_bytes
    counts, magics = [], set()
    with tarfile.open(path) as outer:
        names = outer.getnames()
        for info in outer:
            file = outer.extractfile(info)
            assert file is not None
            data = file.read()
            magics.add(data[257:265])
            with tarfile.open(fileobj=io.BytesIO(data)) as inner:
                images = inner.getmembers()
            wnid = info.name.removesuffix(".tar")
            assert all(image.isreg() and image.size > 0 for image in images)
            assert len({image.name for image in images}) == len(images)
            assert [image.name for image in images] != sorted(image.name for image in images)
            for image in images:
                stem, number = image.name.removesuffix(".JPEG").split("_")
                assert stem == wnid
                assert 1 <= int(number) <= 999_999
            counts.append(len(images))
    assert set(names) == {f"{wnid}.tar" for wnid in synsets.imagenet_order()[:12]}
    assert names != sorted(names)
    assert len(magics) == 2
    assert sum(counts) == SMALL.images
    assert (min(counts), max(counts)) == (SMALL.least, SMALL.most)


def test_holes(small: Path) -> None:
    state = (small / "ILSVRC2012/ILSVRC2012_img_train.tar").stat()
    assert state.st_blocks * 512 <= (SMALL.images + SMALL.classes + 2) * 4096
    taken = sum(path.stat().st_blocks * 512 for path in small.rglob("*") if path.is_file())
    assert taken < SMALL.headers * 4096 + 2**20


def test_val_of_a_small_shape(small: Path) -> None:
    path = small / "ILSVRC2012/ILSVRC2012_img_val.tar"
    assert path.stat().st_size == SMALL.val_bytes
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert names != sorted(names)
    assert sorted(names) == [f"ILSVRC2012_val_{place:08d}.JPEG" for place in range(1, 121)]
    data = small / "ILSVRC2012/ILSVRC2012_devkit_t12/data"
    truth = (data / "ILSVRC2012_validation_ground_truth.txt").read_text().split("\n")
    assert Counter(int(line) for line in truth) == dict.fromkeys(range(1, 13), 10)
    rows = scipy_io.loadmat(data / "meta.mat", squeeze_me=True)["synsets"]
    assert sum(int(row["num_train_images"]) for row in rows) == SMALL.images


def test_winter21_of_a_small_shape(small: Path) -> None:
    tars = sorted((small / "winter21_whole/tars").iterdir())
    assert len(tars) == SMALL.winter_classes
    for path in tars:
        with tarfile.open(path) as archive:
            images = archive.getmembers()
        assert 2 <= len(images) <= 4
        assert len({image.name for image in images}) == len(images)
        assert all(image.name.startswith(f"{path.stem}_") for image in images)


def test_same_seed_gives_the_same_archives(small: Path, tmp_path: Path) -> None:
    fullsize.write_shape(tmp_path / "again", SMALL, 0, lambda _step, _done: None)
    for path in small.rglob("*"):
        again = tmp_path / "again" / path.relative_to(small)
        assert again.stat().st_mtime_ns == path.stat().st_mtime_ns
        if path.is_file():
            assert again.read_bytes() == path.read_bytes()


def test_too_little_space_is_told_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    fields = list(real)
    fields[4] = 5_000_000_000 // real.f_frsize  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(fields))
    with pytest.raises(errors.NoSpaceError, match=r"only 5\.0 GB are free"):
        make_full_size(tmp_path / "full")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_holes_is_told_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat

    def dense(descriptor: int) -> os.stat_result:
        state = real(descriptor)
        if state.st_size != SMALL.train_bytes:
            return state
        return os.stat_result(tuple(state), {"st_blocks": state.st_size // 512})

    monkeypatch.setattr(os, "fstat", dense)
    with pytest.raises(errors.NoSpaceError, match="keeps no holes"):
        fullsize.write_shape(tmp_path / "full", SMALL, 0, lambda _step, _done: None)
    assert list(tmp_path.iterdir()) == []
