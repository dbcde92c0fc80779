"""Archives that are cut, garbage or missing, and a missing devkit: what still
serves, and what is said.
"""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount, Mounted

pytestmark = pytest.mark.spread


TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"


def only_archives(source: Path) -> Path:
    """Take the extracted directories away."""
    root = source / "ILSVRC2012"
    for name in ("train", "validation", "test", "train_T3"):
        shutil.rmtree(root / name)
    return root


def cut(path: Path, share: float) -> int:
    size = int(path.stat().st_size * share)
    os.truncate(path, size)
    return size


def members(path: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return archive.getmembers()


@pytest.mark.expects_log(
    "` says what is damaged: have that fetched again",
    "bytes, cut off by the end",
    "bytes, cut off by the end; whole before that",
    "does not add up, as far as it has",
)
def test_cut_val_serves_its_whole_members(sample_copy: Path, mount: Mount) -> None:
    root = only_archives(sample_copy)
    every = members(root / VAL)
    size = cut(root / VAL, 0.5)
    whole = {m.name for m in every if m.offset_data + m.size <= size}
    broken = next(m for m in every if m.offset_data + m.size > size)
    one = mount(sample_copy)
    assert any(VAL in warning and "broken" in warning for warning in one.warnings)
    shown = {name for d in (one.root / "val").iterdir() for name in os.listdir(d)}
    assert shown == whole
    log = one.log.read_text()
    assert VAL in log
    assert f"{broken.offset:,}" in log
    for directory in (one.root / "val").iterdir():
        for path in directory.iterdir():
            assert path.read_bytes()


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
def test_cut_val_gives_way_to_the_directory(sample_copy: Path, mount: Mount) -> None:
    root = sample_copy / "ILSVRC2012"
    names = {m.name for m in members(root / VAL)}
    cut(root / VAL, 0.5)
    one = mount(sample_copy)
    assert any("takes its place" in warning for warning in one.warnings)
    shown = {name for d in (one.root / "val").iterdir() for name in os.listdir(d)}
    assert shown == names


@pytest.mark.expects_log(
    r"` says what is damaged: have that fetched again\.",
    "bytes, cut off by the end; whole before that",
)
def test_cut_train_serves_its_whole_classes(sample_copy: Path, mount: Mount) -> None:
    root = only_archives(sample_copy)
    every = members(root / TRAIN)
    size = cut(root / TRAIN, 0.6)
    whole = sorted(m.name.removesuffix(".tar") for m in every if m.offset_data + m.size <= size)
    one = mount(sample_copy)
    assert os.listdir(one.root / "train") == whole
    assert any(TRAIN in warning for warning in one.warnings)


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
def test_cut_train_gives_way_to_the_directory(sample_copy: Path, mount: Mount) -> None:
    root = sample_copy / "ILSVRC2012"
    cut(root / TRAIN, 0.6)
    one = mount(sample_copy)
    assert os.listdir(one.root / "train") == sorted(os.listdir(root / "train"))
    assert any("takes its place" in warning for warning in one.warnings)


@pytest.mark.expects_log(
    "does not add up, as far as it has",
    "is broken: no tar header here: its checksum does",
    "no tar header here: its checksum does not hold",
)
def test_broken_class_tar(sample_copy: Path, mount: Mount) -> None:
    """A class tar that is damaged in its middle: its whole members serve, or its directory does."""
    root = sample_copy / "ILSVRC2012"
    victim = members(root / TRAIN)[0]
    wnid = victim.name.removesuffix(".tar")
    with tarfile.open(root / TRAIN) as outer:
        inner = tarfile.open(fileobj=outer.extractfile(victim))
        every = inner.getmembers()
    bad = every[len(every) // 2]
    with (root / TRAIN).open("r+b") as file:
        file.seek(victim.offset_data + bad.offset)
        file.write(b"garbage!" * 64)
    one = mount(sample_copy)
    assert os.listdir(one.root / "train" / wnid) == sorted(os.listdir(root / "train" / wnid))
    assert one.close() == 0
    only_archives(sample_copy)
    two = mount(sample_copy)
    # The walk goes on behind the damage: only the member whose header it was is lost.
    plain = {m.name for m in every if m is not bad}
    assert set(os.listdir(two.root / "train" / wnid)) == plain
    assert str(victim.offset_data + bad.offset) in two.log.read_text().replace(",", "")


def is_lost(one: Mounted, split: str, number: int = errno.EIO) -> None:
    """See that a split is there, and that whatever is asked of it fails."""
    assert split in os.listdir(one.root)
    for ask in (
        lambda: os.listdir(one.root / split),
        lambda: os.stat(one.root / split / "n01440764"),
        lambda: (one.root / split / "n01440764" / "n01440764_1.JPEG").read_bytes(),
    ):
        with pytest.raises(OSError, match=split) as caught:
            ask()
        assert caught.value.errno == number


@pytest.mark.expects_log(
    "no tar header here: its checksum does not hold;", "Nothing of it can be served"
)
def test_no_tar_at_all(sample_copy: Path, mount: Mount) -> None:
    root = only_archives(sample_copy)
    (root / TRAIN).write_bytes(b"this is no tar\n" * 1000)
    one = mount(sample_copy)
    is_lost(one, "train")
    assert "val" in os.listdir(one.root)
    assert any(TRAIN in warning for warning in one.warnings)


@pytest.mark.expects_log("bytes are no tar archive, it has", "Nothing of it can be served")
def test_empty_archive(sample_copy: Path, mount: Mount) -> None:
    root = only_archives(sample_copy)
    (root / TRAIN).write_bytes(b"")
    one = mount(sample_copy)
    is_lost(one, "train")
    assert os.listdir(one.root / "val")


def test_unreadable_archive(sample_copy: Path, mount: Mount) -> None:
    """One archive that cannot be read is a warning, not the end of the mount."""
    root = only_archives(sample_copy)
    (root / VAL).unlink()
    (root / VAL).symlink_to("nowhere.tar")
    one = mount(sample_copy)
    is_lost(one, "val")
    assert os.listdir(one.root / "train")


def test_without_devkit_and_directories(sample_copy: Path, mount: Mount) -> None:
    root = only_archives(sample_copy)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")
    one = mount(sample_copy)
    assert any("devkit" in warning for warning in one.warnings)
    assert one.status()["warnings"] == one.warnings
    assert os.listdir(one.root / "val") == ["unlabeled"]
    names = sorted(m.name for m in members(root / VAL))
    assert os.listdir(one.root / "val" / "unlabeled") == names
    assert os.listdir(one.root / "train")


def test_without_devkit_labels_from_directories(sample_copy: Path, mount: Mount) -> None:
    root = sample_copy / "ILSVRC2012"
    first = mount(sample_copy)
    by_class = {d.name: sorted(os.listdir(d)) for d in (first.root / "val").iterdir()}
    first.close()
    flat = root / "validation"
    for wnid, names in by_class.items():
        (flat / wnid).mkdir()
        for name in names:
            (flat / name).rename(flat / wnid / name)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")
    one = mount(sample_copy)
    shown = {d.name: os.listdir(d) for d in (one.root / "val").iterdir()}
    shown.pop("unlabeled", None)
    assert shown == by_class
    assert any("devkit" in warning for warning in one.warnings)
    wnid = sorted(by_class)[0]
    name = by_class[wnid][0]
    with tarfile.open(root / VAL) as archive:
        file = archive.extractfile(name)
        assert file is not None
        assert (one.root / "val" / wnid / name).read_bytes() == file.read()


@pytest.mark.parametrize("prefer", ["archives", "directories"])
def test_prefer(sample_copy: Path, mount: Mount, prefer: str) -> None:
    one = mount(sample_copy, prefer=prefer)
    origins = {name: s["origin"] for name, s in one.status()["versions"]["ILSVRC2012"].items()}
    assert all(origin.endswith(".tar") == (prefer == "archives") for origin in origins.values())


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_archive_cut_while_mounted(sample_copy: Path, mount: Mount) -> None:
    """Never a short or a zero byte: all of an archive that was cut is an
    error, the others are read.
    """
    root = only_archives(sample_copy)
    one = mount(sample_copy)
    every = members(root / VAL)
    paths = {p.name: p for d in (one.root / "val").iterdir() for p in d.iterdir()}
    cut(root / VAL, 0.5)
    for member in every:
        with pytest.raises(OSError) as caught:
            paths[member.name].read_bytes()
        assert caught.value.errno == errno.EIO
    assert one.log.read_text().count("is another file now") == 1
    classes = sorted((one.root / "train").iterdir())
    assert all(image.read_bytes() for image in classes[0].iterdir())


def test_mount_over_the_source(sample_copy: Path) -> None:
    from tests.helpers.mounts import mounted

    train = sorted(os.listdir(sample_copy / "ILSVRC2012" / "train"))
    one = mounted(sample_copy, sample_copy)
    try:
        assert os.listdir(one.root / "train") == train
        tar = one.mountpoint / "source" / "ILSVRC2012" / TRAIN
        assert tarfile.is_tarfile(tar)
    finally:
        one.close()
    assert (sample_copy / "ILSVRC2012" / TRAIN).exists()
