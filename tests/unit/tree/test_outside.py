"""Images in no class that is shown are counted; what belongs to others is left alone."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from imagenetfs.tree.ledger import Ledger, account
from imagenetfs.tree.left_out import Reason
from tests.helpers.archives import tar_of
from tests.helpers.layouts import (
    by_directory,
    class_tars,
    flat,
    packed,
    shown,
    train_images,
    val_images,
    write,
)
from tests.helpers.trees import tree_of

TRAIN = train_images()
D = "ILSVRC2012/"
JPEG = b"\xff\xd8\xff of none"

pytestmark = pytest.mark.expects_log("no class directory|does not add up|is broken")


def ledger_of(source: Path, version: bytes, split: bytes = b"train") -> Ledger:
    """The whole ledger of a split."""
    tree = tree_of(source)
    found = next(each for each in tree.catalogue.versions if each.name == version)
    shown = found.split(split)
    assert shown is not None
    return account(found, shown)


def outside(ledger: Ledger) -> int:
    return ledger.left_out.counts.get(Reason.NO_CLASS, 0)


STRAY = {
    "beside the classes": {"x.JPEG": JPEG},
    "in a directory": {"stray/x.JPEG": JPEG},
    "without an ending": {"stray/x": JPEG},
    "in a tar": {"extra.tar": packed({"x.JPEG": JPEG, "notes.txt": b"n"})},
    "in a directory in a tar": {"extra.tar": packed({"some/x.JPEG": JPEG})},
}
NONE = {
    "a list": {"README.txt": b"x"},
    "droppings": {".ipynb_checkpoints/n01440764/x.JPEG": JPEG, "._n01440764.tar": b"x"},
    "droppings in a tar": {"extra.tar": packed({"._x.JPEG": JPEG})},
}


@pytest.mark.slow
@pytest.mark.parametrize("stray", [*STRAY, *NONE])
@pytest.mark.parametrize("form", ["tar of tars", "tar of directories", "directory"])
def test_images_in_no_class(tmp_path: Path, form: str, stray: str) -> None:
    more = STRAY.get(stray) or NONE[stray]
    if form == "directory":
        write(tmp_path, by_directory(TRAIN, f"{D}train/"))
        write(tmp_path / D / "train", more)
    else:
        own = class_tars(TRAIN) if form == "tar of tars" else by_directory(TRAIN)
        write(tmp_path, {f"{D}ILSVRC2012_img_train.tar": packed(own | more)})
    ledger = ledger_of(tmp_path, b"ILSVRC2012")
    assert outside(ledger) == (stray in STRAY)
    assert ledger.images == len(flat(TRAIN))
    assert ledger.adds_up == (stray in NONE)


def test_other_splits_are_not_outside(tmp_path: Path) -> None:
    """Classes right in a version's directory stand beside val's archive and other things."""
    source = write(tmp_path, by_directory(TRAIN, D))
    write(source, {f"{D}ILSVRC2012_img_val.tar": packed(flat(val_images()))})
    write(source, {f"{D}other/x.JPEG": JPEG})
    assert outside(ledger_of(source, b"ILSVRC2012")) == 0


@pytest.mark.parametrize("where", ["", "tars/", "more/"])
def test_directories_of_a_version_alone(tmp_path: Path, where: str) -> None:
    source = write(tmp_path, class_tars(TRAIN, "winter21_whole/tars/"))
    write(source, {f"winter21_whole/{where}x.JPEG": JPEG})
    assert outside(ledger_of(source, b"winter21_whole")) == 1


def test_a_class_that_is_shown_from_elsewhere(tmp_path: Path) -> None:
    """Of a class in two directories of a tar one is shown, and the other one's images counted."""
    wnid = next(iter(TRAIN))
    twice = by_directory(TRAIN, "train/") | {f"again/{wnid}/x.JPEG": JPEG}
    source = write(tmp_path, {f"{D}ILSVRC2012_img_train.tar": packed(twice)})
    assert outside(ledger_of(source, b"ILSVRC2012")) == 1


def test_a_class_tar_that_stands_twice_in_a_tar(tmp_path: Path) -> None:
    """The later one is shown, as extraction would have it; the other one is counted."""
    tars = list(class_tars(TRAIN).items())
    (tmp_path / D).mkdir()
    (tmp_path / D / "ILSVRC2012_img_train.tar").write_bytes(tar_of([tars[0], *tars]))
    ledger = ledger_of(tmp_path, b"ILSVRC2012")
    assert ledger.left_out.counts == {Reason.SAME_NAME: 1}


def test_a_broken_part_without_a_class_is_told(tmp_path: Path) -> None:
    whole = packed(by_directory({wnid: TRAIN[wnid] for wnid in list(TRAIN)[1:]}))
    source = write(tmp_path, {f"{D}train/a.tar": packed(by_directory(TRAIN))})
    write(source, {f"{D}train/b.tar": whole[:700]})
    ledger = ledger_of(source, b"ILSVRC2012")
    assert ledger.images == len(flat(TRAIN))
    [problem] = ledger.problems
    assert "train/b.tar is broken" in problem


@pytest.mark.parametrize("where", ["ILSVRC2012/train/", "winter21_whole/", "mine/"])
def test_a_class_tar_beside_its_directory_is_no_loss(tmp_path: Path, where: str) -> None:
    source = write(tmp_path, by_directory(TRAIN, where))
    write(source, class_tars(TRAIN, where))
    ledger = ledger_of(source, where.partition("/")[0].encode())
    assert outside(ledger) == 0
    assert ledger.adds_up
    assert ledger.images == len(flat(TRAIN))


def test_a_tar_that_is_deflated_within_a_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ILSVRC2012" / "train.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in by_directory(TRAIN).items():
            archive.writestr(name, data)
        archive.writestr("extra.tar", packed({"x.JPEG": JPEG}), zipfile.ZIP_DEFLATED)
    (told,) = ledger_of(tmp_path, b"ILSVRC2012").problems
    assert "extra.tar is deflated within the zip" in told
    assert told.endswith("extract it.")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar.zst", "7z", "tar.xz"])
@pytest.mark.parametrize("form", ["tar", "directory", "winter21"])
def test_classes_that_are_compressed_are_counted(tmp_path: Path, form: str, ending: str) -> None:
    """Their names tell that classes are missing, whether or not a list does."""
    *whole, last = TRAIN
    tars = class_tars({wnid: TRAIN[wnid] for wnid in whole})
    packed_class = {f"{last}.{ending}": b"compressed"}
    if form == "tar":
        source = write(tmp_path, {f"{D}ILSVRC2012_img_train.tar": packed(tars | packed_class)})
    else:
        above = f"{D}train/" if form == "directory" else "winter21_whole/tars/"
        source = write(
            tmp_path, {above + name: data for name, data in (tars | packed_class).items()}
        )
    ledger = ledger_of(source, b"winter21_whole" if form == "winter21" else b"ILSVRC2012")
    assert ledger.left_out.counts == {Reason.PACKED: 1}
    assert ledger.left_out.first[Reason.PACKED] == [f"{last}.{ending}"]
    assert not ledger.adds_up
    assert "1 file not read, for being archives" in str(ledger.sentence("SRC"))


@pytest.mark.parametrize("name", ["n09999999", "n09999999.tar", "n01440764_99.JPEG"])
def test_links_to_nothing_between_classes_are_counted(tmp_path: Path, name: str) -> None:
    source = write(tmp_path, by_directory(TRAIN, f"{D}train/"))
    (source / D / "train" / name).symlink_to("/nowhere/at/all")
    ledger = ledger_of(source, b"ILSVRC2012")
    assert ledger.left_out.counts == {Reason.LINK: 1}
    assert ledger.images == len(flat(TRAIN))


def test_other_links_to_nothing_are_no_loss(tmp_path: Path) -> None:
    source = write(tmp_path, by_directory(TRAIN, f"{D}train/"))
    (source / D / "train" / "notes.txt").symlink_to("/nowhere/at/all")
    assert ledger_of(source, b"ILSVRC2012").adds_up


@pytest.mark.parametrize("form", ["tar in a tar", "tar in a directory", "zip in a directory"])
def test_archives_in_a_class_are_counted(tmp_path: Path, form: str) -> None:
    """They may hold all of its images: a level more than is read."""
    deeper = {f"{wnid}.tar": packed(images) for wnid, images in TRAIN.items()}
    if form == "tar in a tar":
        tars = {name: packed({name: data}) for name, data in deeper.items()}
        source = write(tmp_path, {f"{D}ILSVRC2012_img_train.tar": packed(tars)})
    else:
        name = "images.zip" if form.startswith("zip") else "images.tar"
        source = write(tmp_path, {f"{D}train/{wnid}/{name}": b"" for wnid in TRAIN})
    ledger = ledger_of(source, b"ILSVRC2012")
    assert ledger.left_out.counts == {Reason.PACKED: 4}
    assert len(ledger.empty) == 4


def test_tars_of_flat_images_in_a_directory_are_read(tmp_path: Path) -> None:
    """Parts of a download, and shards of other programs, whose images' names tell the classes."""
    shards = {
        f"{D}train/shard-{number:03d}.tar": packed(images | {f"{wnid}.cls": b"0"})
        for number, (wnid, images) in enumerate(TRAIN.items())
    }
    tree = tree_of(write(tmp_path, shards))
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    ledger = ledger_of(tmp_path, b"ILSVRC2012")
    assert ledger.adds_up
    assert set(ledger.left_out.counts) == {Reason.NOT_IMAGE}
