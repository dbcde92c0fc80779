"""user.imagenetfs.*: where an image comes from, and what is on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import imagenetfs
from tests.helpers.mounts import Mounted

PREFIX = "user.imagenetfs."


def attributes(path: Path) -> dict[str, bytes]:
    return {name.removeprefix(PREFIX): os.getxattr(path, name) for name in os.listxattr(path)}


@pytest.mark.parametrize(
    "split",
    [
        "ILSVRC2012/train",
        "ILSVRC2012/val",
        "ILSVRC2012_t3/train",
        "winter21_whole/train",
        "tiny-imagenet-200/train",
        "tiny-imagenet-200/val",
        "Imagenet8/train",
        "Imagenet64/val",
    ],
)
def test_images_and_classes(sample: Path, sample_mount: Mounted, split: str) -> None:
    root = sample_mount.mountpoint / split
    version = root.parent
    wnids = (version / "wnids.txt").read_text().split()
    words = dict(line.split("\t") for line in (version / "words.txt").read_text().splitlines())
    for directory in sorted(root.iterdir()):
        names, found = os.listdir(directory), attributes(directory)
        assert found == {
            "wnid": directory.name.encode(),
            "words": words[directory.name].encode(),
            "label": b"%d" % wnids.index(directory.name),
            "count": b"%d" % len(names),
        }
        for name in names[:3]:
            of_image = attributes(directory / name)
            assert all(of_image[key] == found[key] for key in ("wnid", "words", "label"))
            if "Imagenet" in version.name and "tiny" not in version.name:
                continue
            with (sample / os.fsdecode(of_image["source"])).open("rb") as file:
                file.seek(int(of_image["offset"]))
                data = (directory / name).read_bytes()
                assert file.read(len(data)) == data


def test_rows_stand_at_their_offset_where_they_are_stored(
    sample: Path, sample_mount: Mounted
) -> None:
    for path in (sample_mount.mountpoint / "Imagenet16" / "val").glob("*/*"):
        found = attributes(path)
        source = sample / os.fsdecode(found["source"])
        with np.load(source, allow_pickle=False) as arrays:
            row = arrays["data"][int(path.stem.rpartition("_")[2])].tobytes()
        with source.open("rb") as file:
            file.seek(int(found["offset"]))
            assert file.read(len(row)) == row


def test_deflated_rows_have_no_offset(sample_mount: Mounted) -> None:
    path = next((sample_mount.mountpoint / "Imagenet32" / "train").glob("*/*"))
    assert set(attributes(path)) == {"source", "wnid", "words", "label"}


def test_unlabeled_images_have_no_label(sample_mount: Mounted) -> None:
    unlabeled = sample_mount.root / "test" / "unlabeled"
    assert attributes(unlabeled) == {"count": b"%d" % len(os.listdir(unlabeled))}
    assert set(attributes(next(unlabeled.iterdir()))) == {"source", "offset"}


def test_other_names_and_other_files_have_none(sample_mount: Mounted) -> None:
    path = next((sample_mount.root / "val").glob("*/*"))
    for name in ("user.other", PREFIX + "other", "security.selinux"):
        with pytest.raises(OSError) as caught:
            os.getxattr(path, name)
        assert caught.value.errno == errno.ENODATA
    for name in ("", "ILSVRC2012", "ILSVRC2012/train", "ILSVRC2012/wnids.txt", "archives"):
        assert os.listxattr(sample_mount.mountpoint / name) == []


def test_how_a_class_is_stored(sample: Path, sample_mount: Mounted) -> None:
    """As the library says it without a mount: the sample's tars are in no order of names."""
    with imagenetfs.open(sample, index_dir="none") as tree:
        split = tree["ILSVRC2012/train"]
        told, start = [], 0
        for name in split.classes:
            directory = sample_mount.mountpoint / split.name / name
            order = np.frombuffer(os.getxattr(directory, PREFIX + "order"), dtype="<u2")
            told += (start + order.astype(int)).tolist()
            start += len(order)
        assert told == split.stored_order().tolist() != sorted(told)
