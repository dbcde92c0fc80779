"""The forms that a site may hold: spellings, archives or directories or
both, parts that are missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.mounts import Mount, Mounted, below, of_split

pytestmark = pytest.mark.spread

REST = ("winter21_whole", "tiny-imagenet-200", "DownSampled")


MakeSite = Callable[..., Path]


@pytest.fixture
def make_site(sample: Path, tmp_path: Path) -> MakeSite:
    """``make_site("winter21_whole")``: the whole sample, with copies of these to be changed."""

    def make(*changed: str) -> Path:
        site = tmp_path / "site"
        site.mkdir()
        for path in sample.iterdir():
            if path.name in changed:
                shutil.copytree(path, site / path.name, symlinks=True)
            else:
                (site / path.name).symlink_to(path)
        return site

    return make


def test_other_spellings(make_site: MakeSite, mount: Mount, sample_mount: Mounted) -> None:
    site = make_site("DownSampled", "tiny-imagenet-200")
    (site / "DownSampled").rename(site / "Downsampled")
    (site / "Downsampled" / "Imagenet8_val_npz").rename(site / "Downsampled" / "imagenet8_val_npz")
    (site / "winter21_whole").rename(site / "winter21")
    (site / "tiny-imagenet-200").rename(site / "Tiny-ImageNet-200")
    (site / "Tiny-ImageNet-200" / "val").rename(site / "Tiny-ImageNet-200" / "validation")
    one = mount(site)
    assert sorted(os.listdir(one.mountpoint)) == sorted(os.listdir(sample_mount.mountpoint))
    for split in ("Imagenet8/val", "winter21_whole/train", "tiny-imagenet-200/val"):
        assert of_split(one, split) == of_split(sample_mount, split)


@pytest.mark.parametrize("missing", [*REST, "ILSVRC2012"])
def test_a_missing_version_is_not_shown(
    sample: Path, tmp_path: Path, mount: Mount, missing: str
) -> None:
    source = tmp_path / "some"
    source.mkdir()
    for name in {"ILSVRC2012", *REST} - {missing}:
        (source / name).symlink_to(sample / name)
    one = mount(source)
    shown = set(os.listdir(one.mountpoint))
    assert not {name for name in shown if name.startswith(missing)}
    if missing != "ILSVRC2012":
        assert "ILSVRC2012" in shown
        assert one.warnings == []
    else:
        assert os.listdir(one.mountpoint / "Imagenet16" / "train") == ["unlabeled"]
        assert len(of_split(one, "Imagenet16/train")) == 800
        assert any("unlabeled" in warning for warning in one.warnings)


def test_winter21_from_directories_alone(
    make_site: MakeSite, sample: Path, mount: Mount, sample_mount: Mounted
) -> None:
    site = make_site("winter21_whole")
    shutil.rmtree(site / "winter21_whole" / "tars")
    one = mount(site)
    expected = below(sample / "winter21_whole")
    expected = {name: data for name, data in expected.items() if not name.startswith("tars/")}
    assert of_split(one, "winter21_whole/train") == expected
    only_there = "n15102894"
    assert only_there not in os.listdir(one.mountpoint / "winter21_whole" / "train")


def test_winter21_from_tars_beside_one_another(
    make_site: MakeSite, mount: Mount, sample_mount: Mounted
) -> None:
    site = make_site("winter21_whole")
    root = site / "winter21_whole"
    for tar in (root / "tars").iterdir():
        tar.rename(root / tar.name)
    (root / "tars").rmdir()
    one = mount(site)
    assert of_split(one, "winter21_whole/train") == of_split(sample_mount, "winter21_whole/train")


def test_winter21_in_one_tar(make_site: MakeSite, mount: Mount, sample_mount: Mounted) -> None:
    site = make_site("winter21_whole")
    tars = site / "winter21_whole" / "tars"
    subprocess.run(["tar", "-cf", site / "winter21_whole.tar", "-C", tars, "."], check=True)
    wnids = {tar.stem for tar in tars.iterdir()}
    shutil.rmtree(site / "winter21_whole")
    every = of_split(mount(site), "winter21_whole/train")
    expected = of_split(sample_mount, "winter21_whole/train").items()
    assert every == {name: data for name, data in expected if name.partition("/")[0] in wnids}


def test_directories_preferred(make_site: MakeSite, mount: Mount) -> None:
    site = make_site("winter21_whole")
    root = site / "winter21_whole"
    changed = next((root / "n02100735").iterdir())
    changed.write_bytes(b"from the directory")
    one = mount(site, prefer="directories")
    shown = of_split(one, "winter21_whole/train")
    assert shown[f"n02100735/{changed.name}"] == b"from the directory"
    assert any(name.startswith("n15102894/") for name in shown), "the tar where there is no other"


@pytest.mark.expects_log(
    "bytes, cut off by the end",
    "bytes, cut off by the end; whole before that",
    "takes its place; have it replaced",
)
def test_a_broken_class_tar_gives_way_to_its_directory(
    make_site: MakeSite, sample: Path, mount: Mount, sample_mount: Mounted
) -> None:
    site = make_site("winter21_whole")
    tars = site / "winter21_whole" / "tars"
    for wnid in ("n02100735", "n15102894"):
        whole = (tars / f"{wnid}.tar").read_bytes()
        (tars / f"{wnid}.tar").write_bytes(whole[: len(whole) // 2])
    one = mount(site)
    train = one.mountpoint / "winter21_whole" / "train"
    assert below(train / "n02100735") == below(sample / "winter21_whole" / "n02100735")
    whole_files = of_split(sample_mount, "winter21_whole/train/n15102894")
    served = below(train / "n15102894")
    assert 0 < len(served) < len(whole_files)
    assert served.items() <= whole_files.items()
    assert "n15102894.tar is broken" in one.log.read_text()


@pytest.mark.expects_log(
    "cannot be indexed: this is no sound npz file:", "is not shown: this is no sound npz file:"
)
def test_a_broken_npz_does_not_take_the_others_with_it(make_site: MakeSite, mount: Mount) -> None:
    site = make_site("DownSampled")
    directory = site / "DownSampled" / "Imagenet16_train_npz"
    (directory / "train_data_batch_3.npz").write_bytes(b"no npz")
    one = mount(site)
    names = [Path(name).name for name in of_split(one, "Imagenet16/train")]
    assert len(names) == 720
    assert not [name for name in names if "batch_3_" in name]
    assert "train_data_batch_3.npz is not shown" in one.log.read_text()


@pytest.mark.expects_log("have labels that the devkit does not name, and")
def test_rows_whose_label_is_no_class_are_left_out_and_told(
    make_site: MakeSite, mount: Mount
) -> None:
    site = make_site("DownSampled")
    npz = site / "DownSampled" / "Imagenet8_val_npz" / "val_data.npz"
    with np.load(npz, allow_pickle=False) as arrays:
        data, labels = arrays["data"], arrays["labels"].copy()
    labels[:3] = 1001
    np.savez(npz, data=data, labels=labels)
    one = mount(site)
    names = {Path(name).name for name in of_split(one, "Imagenet8/val")}
    assert names == {f"val_data_{row:06d}.png" for row in range(3, len(labels))}
    assert "3 rows of DownSampled/Imagenet8_val_npz/val_data.npz have labels" in one.log.read_text()


def test_tiny_without_annotations(make_site: MakeSite, mount: Mount) -> None:
    site = make_site("tiny-imagenet-200")
    (site / "tiny-imagenet-200" / "val" / "val_annotations.txt").unlink()
    one = mount(site)
    assert os.listdir(one.mountpoint / "tiny-imagenet-200" / "val") == ["unlabeled"]
    assert any("tiny-imagenet-200/val" in warning for warning in one.warnings)


def test_tiny_val_sorted_by_class(make_site: MakeSite, mount: Mount, sample_mount: Mounted) -> None:
    site = make_site("tiny-imagenet-200")
    val = site / "tiny-imagenet-200" / "val"
    for line in (val / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (val / wnid).mkdir(exist_ok=True)
        (val / "images" / name).rename(val / wnid / name)
    (val / "images").rmdir()
    (val / "val_annotations.txt").unlink()
    one = mount(site)
    expected = of_split(sample_mount, "tiny-imagenet-200/val")
    assert of_split(one, "tiny-imagenet-200/val") == expected


def test_unknown_things_stand_under_archives_alone(make_site: MakeSite, mount: Mount) -> None:
    site = make_site()
    (site / "imagenet-x").mkdir()
    (site / "imagenet-x" / "readme").write_text("?")
    subprocess.run(
        ["tar", "-cf", site / "more.tar", "-C", site / "imagenet-x", "readme"], check=True
    )
    one = mount(site)
    assert not {"imagenet-x", "more.tar"} & set(os.listdir(one.mountpoint))
    assert (one.mountpoint / "archives" / "more.tar" / "readme").read_text() == "?"
    assert (one.mountpoint / "archives" / "imagenet-x" / "readme").read_text() == "?"


@pytest.mark.expects_log("the directory has changed now; indexing")
def test_a_second_mount_lists_directories_from_the_index(
    make_site: MakeSite, tmp_path: Path, mount: Mount
) -> None:
    """What was listed is kept and believed; what changed since is listed again."""
    site = make_site("tiny-imagenet-200")
    index = tmp_path / "index"
    first = mount(site, index_dir=index)
    before = of_split(first, "tiny-imagenet-200/train")
    kept = wait_for(index, "tiny-imagenet-200-directories.idx")
    first.close()
    changed = site / "tiny-imagenet-200" / "train"
    added = sorted(changed.iterdir())[0] / "images" / "added.JPEG"
    added.write_bytes(b"added")
    second = mount(site, index_dir=index)
    after = of_split(second, "tiny-imagenet-200/train")
    assert after == before | {f"{added.parent.parent.name}/added.JPEG": b"added"}
    log = second.log.read_text()
    assert log.count("the directory has changed now") == 1, log
    assert kept.exists()


def wait_for(directory: Path, name: str) -> Path:
    """The index file that a mount's indexing process writes."""
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = list(directory.rglob(name))
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"{name} was never written")
