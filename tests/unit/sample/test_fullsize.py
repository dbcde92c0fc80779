"""The full-size tree, tried at a hundredth and less."""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from scipy import io as scipy_io

from imagenetfs import errors
from imagenetfs.sample import fullsize, make_full_size, shape, synsets
from imagenetfs.sample.randomness import generator
from tests.helpers.small_shape import SMALL


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("full") / "imagenet"
    fullsize.write_shape(directory, SMALL, 0, lambda _step, _done: None)
    return directory


# --- a small tree -------------------------------------------------------------------------------


@pytest.mark.slow
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


@pytest.mark.slow
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


# --- winter21_whole -------------------------------------------------------------------------------


@pytest.mark.slow
def test_winter21_whole_alone(tmp_path: Path) -> None:
    make_full_size(tmp_path / "tree", version="winter21_whole", classes=12)
    tars = sorted((tmp_path / "tree/winter21_whole/tars").iterdir())
    assert os.listdir(tmp_path / "tree") == ["winter21_whole"]
    assert len(tars) == 12
    found = 0
    for path in tars:
        with tarfile.open(path) as archive:
            names = archive.getnames()
        assert len(set(names)) == len(names) > 0
        assert {name.split("_")[0] for name in names} == {path.stem}
        found += len(names)
        assert path.stat().st_blocks * 512 <= (len(names) + 2) * 4096
    assert found == round(13_153_500 * 12 / 19_167)


@pytest.mark.parametrize("classes", [1, 7, 19_167])
def test_images_of_winter21_whole(classes: int) -> None:
    counts = shape.winter_counts(classes, generator(3, "x"))
    assert len(counts) == classes and min(counts) >= 1
    assert sum(counts) == round(13_153_500 * classes / 19_167)
