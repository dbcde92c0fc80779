"""Listings, attributes, label files, unlisted names, and that nothing can be written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount, Mounted

LABEL_FILES = {
    "wnids.txt",
    "words.txt",
    "labels.txt",
    "LOC_synset_mapping.txt",
    "imagenet_class_index.json",
    "meta.bin",
    "meta",
}


def class_tar(sample: Path, wnid: str) -> tarfile.TarFile:
    outer = tarfile.open(sample / "ILSVRC2012" / "ILSVRC2012_img_train.tar")
    return tarfile.open(fileobj=outer.extractfile(f"{wnid}.tar"))


def test_version_lists_splits_and_label_files(sample_mount: Mounted) -> None:
    assert set(os.listdir(sample_mount.root)) == {"train", "val", "test"} | LABEL_FILES


def test_listing_is_sorted_and_complete(sample: Path, sample_mount: Mounted) -> None:
    train = sample_mount.root / "train"
    wnids = os.listdir(train)
    assert wnids == sorted(wnids)
    for wnid in wnids:
        names = os.listdir(train / wnid)
        assert names == sorted(class_tar(sample, wnid).getnames())


def test_attributes_are_the_archives(sample: Path, sample_mount: Mounted) -> None:
    for directory in sorted((sample_mount.root / "train").iterdir()):
        for member in class_tar(sample, directory.name):
            status = (directory / member.name).stat()
            assert status.st_size == member.size
            assert status.st_mtime == member.mtime
            assert stat.S_ISREG(status.st_mode)
            assert not status.st_mode & 0o222
            assert status.st_mode & 0o444 == 0o444
            assert status.st_nlink == 1
            assert status.st_uid == os.getuid()


def test_directories(sample_mount: Mounted) -> None:
    train = sample_mount.root / "train"
    status = train.stat()
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert status.st_nlink == 2 + len(os.listdir(train))
    assert (train / os.listdir(train)[0]).stat().st_nlink == 2


def test_statfs(sample: Path, sample_mount: Mounted) -> None:
    """As docs/site.md has it: full, as other read-only media are."""
    answer = os.statvfs(sample_mount.mountpoint)
    tars = (sample / "ILSVRC2012").glob("ILSVRC2012_img_*.tar")
    total = sum(p.stat().st_size for p in tars if "patch" not in p.name)
    assert answer.f_blocks * answer.f_frsize >= total
    assert answer.f_bavail == 0
    assert answer.f_flag & os.ST_RDONLY


def test_inode_numbers_are_the_same_at_every_mount(
    sample: Path, sample_mount: Mounted, mount: Mount
) -> None:
    again = mount(sample)

    def numbers(root: Path) -> list[tuple[str, int]]:
        found = []
        for directory, names, files in os.walk(root):
            for name in names + files:
                path = Path(directory) / name
                found.append((str(path.relative_to(root)), path.stat().st_ino))
        return sorted(found)

    assert numbers(again.root) == numbers(sample_mount.root)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda root: (root / "new").write_bytes(b"x"),
        lambda root: (root / "new").mkdir(),
        lambda root: (root / "wnids.txt").unlink(),
        lambda root: (root / "wnids.txt").rename(root / "other"),
        lambda root: (root / "train").rmdir(),
        lambda root: (root / "wnids.txt").chmod(0o777),
        lambda root: os.link(root / "wnids.txt", root / "hard"),
        lambda root: (root / "soft").symlink_to("x"),
        lambda root: os.truncate(root / "wnids.txt", 0),
        lambda root: os.utime(root / "wnids.txt"),
        lambda root: os.setxattr(root / "wnids.txt", "user.x", b"y"),
        lambda root: (root / "wnids.txt").open("r+b").close(),
        lambda root: os.mkfifo(root / "fifo"),
    ],
)
def test_nothing_can_be_written(sample_mount: Mounted, attempt: Callable[[Path], object]) -> None:
    with pytest.raises(OSError) as caught:
        attempt(sample_mount.root)
    assert caught.value.errno == errno.EROFS


def test_label_files(sample_mount: Mounted) -> None:
    root = sample_mount.root
    wnids = (root / "wnids.txt").read_text().split()
    assert wnids == sorted(os.listdir(root / "train"))
    words = dict(line.split("\t") for line in (root / "words.txt").read_text().splitlines())
    assert sorted(words) == wnids
    index = json.loads((root / "imagenet_class_index.json").read_text())
    assert [index[str(k)][0] for k in range(len(wnids))] == wnids
    for number, wnid in enumerate(wnids):
        assert index[str(number)][1] == words[wnid].split(",")[0].replace(" ", "_")
    mapping = (root / "LOC_synset_mapping.txt").read_text().splitlines()
    assert mapping == [f"{wnid} {words[wnid]}" for wnid in wnids]
    labels = (root / "labels.txt").read_text().splitlines()
    assert labels == [f"{wnid},{words[wnid].split(',')[0]}" for wnid in wnids]


@pytest.mark.parametrize("split", ["train", "val"])
def test_path_lists(sample_mount: Mounted, split: str) -> None:
    root = sample_mount.root
    wnids = (root / "wnids.txt").read_text().split()
    text = (root / "meta" / f"{split}.txt").read_text()
    assert (root / "meta" / f"{split}.txt").stat().st_size == len(text)
    expected = [
        f"{wnid}/{name} {label}\n"
        for label, wnid in enumerate(wnids)
        for name in sorted(os.listdir(root / split / wnid))
    ]
    assert text == "".join(expected)


def test_meta_bin(sample: Path, sample_mount: Mounted) -> None:
    with zipfile.ZipFile(sample_mount.root / "meta.bin") as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        assert archive.read(names["version"]) == b"3\n"
        words, order = pickle.loads(archive.read(names["data.pkl"]))
    val = sample_mount.root / "val"
    expected = {name: d.name for d in val.iterdir() for name in os.listdir(d)}
    assert order == [expected[name] for name in sorted(expected)]
    assert sorted(words) == (sample_mount.root / "wnids.txt").read_text().split()
    assert all(isinstance(names, tuple) for names in words.values())


def test_unlisted_names_answer(sample: Path, sample_mount: Mounted) -> None:
    root = sample_mount.root
    for split, name in (("val", "ILSVRC2012_val_00000001.JPEG"), ("test", None)):
        names = [p for d in (root / split).iterdir() for p in d.iterdir()]
        chosen = next(p for p in names if name is None or p.name == name)
        flat = root / split / chosen.name
        assert flat.stat().st_ino == chosen.stat().st_ino
        assert flat.read_bytes() == chosen.read_bytes()
        assert chosen.name not in os.listdir(root / split)
    assert "validation" not in os.listdir(root)
    wnid = os.listdir(root / "val")[0]
    name = os.listdir(root / "validation" / wnid)[0]
    assert (root / "validation" / wnid / name).samefile(root / "val" / wnid / name)
    # Every directory path has an inode of its own, or working directories would jump.
    assert (root / "validation").stat().st_ino != (root / "val").stat().st_ino
    kit = root / "ILSVRC2012_devkit_t12"
    assert kit.name not in os.listdir(root)
    truth = Path("data") / "ILSVRC2012_validation_ground_truth.txt"
    origin = sample / "ILSVRC2012" / kit.name / truth
    assert (kit / truth).read_bytes() == origin.read_bytes()


def test_own_directory_is_hidden(sample_mount: Mounted) -> None:
    own = sample_mount.mountpoint / ".imagenetfs"
    assert own.name not in os.listdir(sample_mount.mountpoint)
    assert set(os.listdir(own)) == {"status.json", "version", "log"}
    status = sample_mount.status()
    assert status["mountpoint"] == str(sample_mount.mountpoint)
    assert status["workers"]
    assert (own / "log").read_text() == sample_mount.log.read_text()


def test_source_is_the_tree_as_it_stands(sample: Path, sample_mount: Mounted) -> None:
    shown = sample_mount.mountpoint / "source"
    command = ["diff", "-r", "--no-dereference", str(sample), str(shown)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[:2000]


def test_counters(sample_mount: Mounted) -> None:
    before = sample_mount.status()["counters"]
    directory = sample_mount.root / "train"
    path = next((directory / os.listdir(directory)[-1]).iterdir())
    with path.open("rb") as file:  # another test may have read it
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    size = len(path.read_bytes())
    after = sample_mount.status()["counters"]
    assert after["images_read"] == before["images_read"] + 1
    assert after["requests"]["read"] == before["requests"]["read"] + 2  # and status.json
    assert after["bytes_served"] >= before["bytes_served"] + size
    assert after["errors"] == before["errors"]
