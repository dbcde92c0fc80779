"""What a mount says of images that it does not show, that are missing, or that nobody needs."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.bench import Bench, until
from tests.helpers.imagenet_tars import TRAIN, train_images
from tests.helpers.mounts import Mount, Mounted, below

pytestmark = [pytest.mark.timeout(180), pytest.mark.spread]

Members = list[tuple[str, bytes]]


def repacked(source: Path, change: Callable[[str, Members], Members | None]) -> Path:
    """Pack the train tar anew: ``change(wnid, members)`` of each class tar; None leaves it out."""
    archive = source / "ILSVRC2012" / TRAIN
    classes: dict[str, Members] = {}
    for path, data in train_images(archive).items():
        wnid, _, name = path.partition("/")
        classes.setdefault(wnid, []).append((name, data))
    with tarfile.open(archive, "w") as outer:
        for wnid, members in classes.items():
            changed = change(wnid, members)
            if changed is not None:
                _add(outer, f"{wnid}.tar", _tar(changed))
    for name in ("train", "train_T3"):
        shutil.rmtree(source / "ILSVRC2012" / name)
    return archive


def _tar(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as inner:
        for name, data in members:
            _add(inner, name, data)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def told(one: Mounted, *words: str) -> list[str]:
    """The problems in status.json that have all these words."""
    return [p for p in one.status()["problems"] if all(word in p for word in words)]


def test_the_sample_adds_up(sample: Path, at: Bench) -> None:
    done = at.call("run", str(sample), "--", "sh", "-c", "ls -R {mnt}/ILSVRC2012 >/dev/null")
    assert (done.returncode, done.stderr) == (0, "")


def test_apple_doubles_are_no_images_and_stay_in_archives(sample_copy: Path, mount: Mount) -> None:
    images = train_images(sample_copy / "ILSVRC2012" / TRAIN)

    def doubled(wnid: str, members: Members) -> Members:
        double = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "
        return [each for name, data in members for each in ((f"._{name}", double), (name, data))]

    archive = repacked(sample_copy, doubled)
    one = mount(sample_copy)
    assert below(one.root / "train") == images
    listed = (one.root / "meta" / "train.txt").read_text().splitlines()
    assert sorted(line.rpartition(" ")[0] for line in listed) == sorted(images)
    wnid = min(images).partition("/")[0]
    inside = one.mountpoint / "archives" / "ILSVRC2012" / archive.name / f"{wnid}.tar"
    assert sum(name.startswith("._") for name in os.listdir(inside)) == len(
        os.listdir(one.root / "train" / wnid)
    )
    assert told(one) == []


@pytest.mark.expects_log(
    "Give files of one name names of their own,", "files below the class, with the name of an"
)
def test_thumbnails_are_counted_and_told(sample_copy: Path, mount: Mount) -> None:
    images = train_images(sample_copy / "ILSVRC2012" / TRAIN)

    def with_thumbnails(wnid: str, members: Members) -> Members:
        return [*members, *((f"t/{name}", b"small") for name, _ in members)]

    repacked(sample_copy, with_thumbnails)
    one = mount(sample_copy)
    assert below(one.root / "train") == images
    assert until(lambda: told(one, f"{len(images):,} files below the class", "(first: t/"))
    assert len(told(one, "ILSVRC2012/train does not add up")) == 1
    assert "does not add up" in one.log.read_text()


def test_droppings_in_directories(sample_copy: Path, mount: Mount) -> None:
    train = sample_copy / "ILSVRC2012" / "train"
    images = below(train)
    wnid = min(os.listdir(train))
    for place in (train, train / wnid):
        (place / ".ipynb_checkpoints").mkdir()
        (place / ".ipynb_checkpoints" / "a-checkpoint.JPEG").write_bytes(b"\xff\xd8\xff")
        (place / ".DS_Store").write_bytes(b"x")
    (train / wnid / "Thumbs.db").write_bytes(b"x")
    one = mount(sample_copy, prefer="directories")
    assert below(one.root / "train") == images
    shown = os.listdir(one.mountpoint / "source" / "ILSVRC2012" / "train" / wnid)
    assert {".DS_Store", "Thumbs.db", ".ipynb_checkpoints"} <= set(shown)


@pytest.mark.expects_log(r"` says what is damaged: have that fetched again\.")
def test_a_class_that_is_missing_is_told_at_mount(sample_copy: Path, mount: Mount) -> None:
    wnids: list[str] = []
    repacked(sample_copy, lambda wnid, members: wnids.append(wnid) if not wnids else members)
    one = mount(sample_copy)
    [warning] = one.warnings
    assert f"9 of 10 classes ({wnids[0]} not there)" in warning
    assert told(one) == [warning]
    assert warning in one.log.read_text()


@pytest.mark.expects_log(
    r"` says what is damaged: have that fetched again\.", "does not add up, as far as it has"
)
def test_a_class_without_images_is_told_when_it_is_indexed(sample_copy: Path, mount: Mount) -> None:
    wnids: list[str] = []

    def emptied(wnid: str, members: Members) -> Members:
        wnids.append(wnid)
        return members if len(wnids) > 1 else []

    repacked(sample_copy, emptied)
    one = mount(sample_copy)
    assert one.warnings == []
    os.listdir(one.root / "train" / wnids[0])
    assert told(one, wnids[0])
    assert until(lambda: told(one, f"1 class without an image ({wnids[0]})", "ImageFolder"))


@pytest.mark.expects_log(r"` says what is damaged: have that fetched again\.")
def test_run_tells_at_its_start_and_its_end(sample_copy: Path, at: Bench) -> None:
    wnids: list[str] = []
    repacked(sample_copy, lambda wnid, members: wnids.append(wnid) if not wnids else members)
    done = at.call("run", str(sample_copy), "--", "sh", "-c", "echo between >&2")
    start, between, end = done.stderr.splitlines()
    assert between == "between"
    assert "warning: ILSVRC2012/train does not add up" in start
    assert end == start.replace("warning: ", "")
    done = at.call("status")
    assert done.returncode == 0


def test_require_refuses_to_mount(sample_copy: Path, at: Bench, tmp_path: Path) -> None:
    (sample_copy / "ILSVRC2012" / "ILSVRC2012_img_val.tar").unlink()
    shutil.rmtree(sample_copy / "ILSVRC2012" / "validation")
    place = at.mountpoint()
    both = ("--require", "ILSVRC2012/train,ILSVRC2012/val")
    done = at.call("mount", str(sample_copy), str(place), *both)
    assert done.returncode == 15
    assert "ILSVRC2012/val is required (--require)" in done.stderr
    done = at.call("run", str(sample_copy), *both, "--", "touch", str(tmp_path / "began"))
    assert done.returncode == 15
    assert not (tmp_path / "began").exists()
    done = at.call("mount", "-o", "require=ILSVRC2012/val", str(sample_copy), str(place))
    assert done.returncode == 15
    done = at.call("run", str(sample_copy), "--", "true", IMAGENETFS_REQUIRE="ILSVRC2012/val")
    assert done.returncode == 15
    assert at.leftovers() == []


def test_require_complete(sample_copy: Path, at: Bench) -> None:
    wanted = ("--require", "ILSVRC2012/train:complete")
    done = at.call("run", str(sample_copy), *wanted, "--", "true")
    assert done.returncode == 0
    wnids: list[str] = []

    def shortened(wnid: str, members: Members) -> Members:
        wnids.append(wnid)
        return members if len(wnids) > 1 else members[1:]

    repacked(sample_copy, shortened)
    done = at.call("run", str(sample_copy), *wanted, "--", "true")
    assert done.returncode == 15
    assert f"({wnids[0]} has " in done.stderr
