"""Trees like those of docs/layouts.md, and not quite: other names, a level off, a download that was
not finished, other forms of the same images. All is shown, or told with what to do.
"""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagenetfs.errors import SourceUnknownError
from imagenetfs.tree.ledger import Ledger, account
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import close
from tests.helpers.layouts import (
    CLASSES,
    Shown,
    by_directory,
    class_tars,
    devkit_files,
    documented,
    flat,
    jpeg,
    packed,
    shown,
    train_images,
    val_images,
    versions,
    without,
    write,
)
from tests.helpers.trees import tree_of
from tests.helpers.zip_layouts import TEST, kaggle, tiny
from tests.helpers.zips import zip_of

TRAIN, VAL = train_images(), val_images()
D = "ILSVRC2012/"
TRAIN_TAR, VAL_TAR = f"{D}ILSVRC2012_img_train.tar", f"{D}ILSVRC2012_img_val.tar"
BOTH = {"ILSVRC2012/train": TRAIN, "ILSVRC2012/val": VAL}
HALF = {wnid.decode(): TRAIN[wnid.decode()] for wnid in CLASSES[:2]}
REST = {wnid: images for wnid, images in TRAIN.items() if wnid not in HALF}
FIRST = CLASSES[0].decode()


@contextmanager
def tree_over(source: Path) -> Iterator[Tree]:
    tree = tree_of(source)
    try:
        yield tree
    finally:
        close(tree.catalogue.index)


def every(tree: Tree) -> dict[str, Shown]:
    """All that is shown, by ``version/split``."""
    titles = [f"{v}/{split}" for v, splits in versions(tree).items() for split in splits]
    return {title: shown(tree, title) for title in titles}


def ledger_of(tree: Tree, title: str) -> Ledger:
    name, _, split = title.encode().partition(b"/")
    [version] = [v for v in tree.catalogue.versions if v.name == name]
    found = version.split(split)
    assert found is not None
    return account(version, found)


def of_val(files: dict[str, bytes], above: str = "") -> dict[str, bytes]:
    return {f"{above}{name}": data for name, data in files.items()}


# --- names of archives and directories -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("ILSVRC2012_img_val", "val", "validation", "ILSVRC2012_img_val.tar.bak", "val.tar.old"),
        *("ILSVRC2012_img_val.tar_", "val.tar~", "val (1)", "ILSVRC2012_img_val.tar.2"),
    ],
)
def test_a_tar_of_val_under_a_name_that_does_not_end_so(tmp_path: Path, name: str) -> None:
    source = documented(tmp_path)
    (source / VAL_TAR).rename(source / D / name)
    with tree_over(source) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == [f"{D}{name} is taken for val, by what it holds."]


def test_other_files_of_such_names_are_no_archives(tmp_path: Path) -> None:
    files = {f"{D}val.old": b"notes", f"{D}train.bak": b"", f"{D}ILSVRC2012_img_val.tar.md5": b"x"}
    with tree_over(write(documented(tmp_path), files)) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ILSVRC2012_img_val.tar.part", "val.tar.crdownload", "Unconfirmed 77.crdownload"]
)
def test_a_download_that_was_not_finished(tmp_path: Path, name: str) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    with tree_over(write(source, {D + name: packed(flat(VAL))[:2000]})) as tree:
        assert every(tree) == {"ILSVRC2012/train": TRAIN}
        [warning] = tree.catalogue.warnings
        assert warning.startswith(f"{D}{name} is a download that was not finished")


def test_a_tar_that_aria2_has_not_finished(tmp_path: Path) -> None:
    """It has its full length from the first byte on."""
    with tree_over(write(documented(tmp_path), {f"{VAL_TAR}.aria2": b"state"})) as tree:
        [warning] = tree.catalogue.warnings
        assert f"aria2c has not finished {VAL_TAR}" in warning


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".TAR.GZ", ".Tgz", ".tar.GZ"])
def test_compressed_tars_in_capitals(tmp_path: Path, ending: str) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    name = f"ILSVRC2012_img_val{ending}"
    write(source, {D + name: gzip.compress(packed(flat(VAL)))})
    with tree_over(source) as tree:
        [warning] = tree.catalogue.warnings
        assert f"{D}{name} is compressed with gzip" in warning
    command = warning.partition("unpack it once (")[2].removesuffix(").")
    subprocess.run(command, shell=True, check=True)
    with tree_over(source) as tree:
        assert every(tree) == BOTH


@pytest.mark.slow
def test_parts_in_capitals(tmp_path: Path) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    whole = packed(flat(VAL))
    write(source, {f"{D}VAL.TAR.AA": whole[:5000], f"{D}VAL.TAR.AB": whole[5000:]})
    with tree_over(source) as tree:
        [warning] = tree.catalogue.warnings
    subprocess.run(warning.partition("once (")[2].removesuffix(")."), shell=True, check=True)
    with tree_over(source) as tree:
        assert every(tree) == BOTH


def test_boxes_are_no_classes(tmp_path: Path) -> None:
    boxes = {
        f"{D}{name}/{FIRST}/{FIRST}_1.xml": b"<a/>" for name in ("boxes", "bbox", "Annotation")
    }
    with tree_over(write(documented(tmp_path), boxes)) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("called", ["n{}_tench", "n{}-tench", "n{} tench", "N{}"])
@pytest.mark.parametrize("where", [f"{D}train", "mine/train", "winter21_whole"])
def test_class_directories_of_nearly_the_name(tmp_path: Path, called: str, where: str) -> None:
    """Told with the command; not where one of that name is there already."""
    images = {called.format(wnid[1:]): some for wnid, some in TRAIN.items()}
    images = {name: {f"{n[10:]}": d for n, d in some.items()} for name, some in images.items()}
    source = write(tmp_path, by_directory(images, f"{where}/"))
    with pytest.raises(SourceUnknownError) as caught:
        tree_of(source)
    said = str(caught.value)
    assert f"{where} has 4 directories called nearly as a class (first: " in said
    command = said.partition("Rename once (")[2].partition("; done)")[0] + "; done"
    subprocess.run(["bash", "-c", command], check=True)
    with tree_over(source) as tree:
        [(_, found)] = every(tree).items()
        assert sorted(found) == sorted(TRAIN)


def test_a_copy_of_a_class_directory_is_told(tmp_path: Path) -> None:
    copy = {f"{D}train/{FIRST} - Copy/a.JPEG": jpeg("a")}
    with tree_over(write(tmp_path, by_directory(TRAIN, f"{D}train/") | copy)) as tree:
        assert every(tree) == {"ILSVRC2012/train": TRAIN}
        assert "train has 1 directory called nearly as a class" in tree.catalogue.warnings[0]
        assert ledger_of(tree, "ILSVRC2012/train").left_out.as_json()["no_class"]["files"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("all_of_them", [False, True])
def test_class_tars_without_an_ending(tmp_path: Path, all_of_them: bool) -> None:
    some = TRAIN if all_of_them else HALF
    bare = {name[:-4]: data for name, data in class_tars(some, f"{D}train/").items()}
    rest = {} if all_of_them else class_tars(REST, f"{D}train/")
    source = write(documented(tmp_path), {**bare, **rest})
    with tree_over(without(source, TRAIN_TAR)) as tree:
        [warning] = [w for w in tree.catalogue.warnings if "without an ending" in w]
        if not all_of_them:
            ledger = ledger_of(tree, "ILSVRC2012/train")
            assert ledger.left_out.as_json()["packed"]["files"] == len(HALF)
    assert f"{D}train has {len(some)} files called as classes" in warning
    command = warning.partition("in their names (")[2].removesuffix(").")
    subprocess.run(["bash", "-c", command + "; true"], check=True)
    with tree_over(source) as tree:
        assert every(tree) == BOTH


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INet", "image-net", "my imagenet", "2012"])
def test_a_directory_of_any_name_with_a_devkit(tmp_path: Path, name: str) -> None:
    files = by_directory(TRAIN, f"{name}/train/") | of_val(flat(VAL), f"{name}/val/")
    source = write(tmp_path, files | devkit_files(f"{name}/ILSVRC2012_devkit_t12/"))
    with tree_over(source) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == []


@pytest.mark.parametrize("names", [("trainset", "valset"), ("train_set", "val-set")])
def test_sets_for_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    files = by_directory(TRAIN, f"{D}{names[0]}/") | of_val(flat(VAL), f"{D}{names[1]}/")
    source = write(tmp_path, files | devkit_files(f"{D}ILSVRC2012_devkit_t12/"))
    with tree_over(source) as tree:
        assert every(tree) == BOTH


def test_the_name_to_give_to_a_directory_of_another_name(tmp_path: Path) -> None:
    """The command makes it the split that is missing."""
    files = by_directory(TRAIN, f"{D}everything/") | of_val(flat(VAL), f"{D}val/")
    source = write(tmp_path, files | devkit_files(f"{D}ILSVRC2012_devkit_t12/"))
    with tree_over(source) as tree:
        [warning] = tree.catalogue.warnings
    command = warning.partition("name it so (")[2].partition("), or")[0]
    subprocess.run(command, shell=True, check=True)
    with tree_over(source) as tree:
        assert every(tree) == BOTH


# --- levels --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", ["directory", "tar", "zip"])
@pytest.mark.parametrize("level", ["train/", "ILSVRC2012_img_train/train/"])
def test_half_of_the_classes_a_level_deeper(tmp_path: Path, form: str, level: str) -> None:
    files = by_directory(HALF) | by_directory(REST, level)
    if form == "directory":
        files = by_directory(HALF) | by_directory(REST, "train/")
        files = {f"{D}train/{path}": data for path, data in files.items()}
    elif form == "tar":
        files = {TRAIN_TAR: packed(files)}
    else:
        files = {f"{D}train.zip": zip_of(files)}
    with tree_over(write(without(documented(tmp_path), TRAIN_TAR), files)) as tree:
        assert every(tree) == BOTH
        assert ledger_of(tree, "ILSVRC2012/train").adds_up


@pytest.mark.slow
@pytest.mark.parametrize("beside", [".DS_Store", "README.txt", "._x"])
@pytest.mark.parametrize("train", ["directory", "tar", "zip"])
def test_kaggle_s_tree_with_files_beside_its_splits(
    tmp_path: Path, beside: str, train: str
) -> None:
    """val and test stand three levels deep, and are no less there for that."""
    files = kaggle()
    above = "ILSVRC/Data/CLS-LOC/"
    if train != "directory":
        own = {
            path[len(above) :]: d for path, d in files.items() if path.startswith(f"{above}train/")
        }
        files = {
            path: data for path, data in files.items() if not path.startswith(f"{above}train/")
        }
        files[f"{above}train.{train}"] = packed(own) if train == "tar" else zip_of(own)
    with tree_over(write(tmp_path, files | {above + beside: b"x"})) as tree:
        assert every(tree) == {**BOTH, "ILSVRC2012/test": TEST}


@pytest.mark.parametrize("form", ["tars", "directories"])
def test_hugging_faces_parts_unpacked(tmp_path: Path, form: str) -> None:
    """Named with the command that puts them together."""

    def named(images: Shown) -> Shown:
        return {w: {f"{n[:-5]}_{w}.JPEG": d for n, d in some.items()} for w, some in images.items()}

    images = sorted(flat(named(TRAIN)).items())
    parts = {f"train_images_{k}": dict(images[k::2]) for k in range(2)}
    parts["val_images"] = flat(named(VAL))
    if form == "tars":
        files = {f"data/{name}.tar": packed(some) for name, some in parts.items()}
    else:
        files = {
            f"data/{name}/{image}": d for name, some in parts.items() for image, d in some.items()
        }
    with pytest.raises(SourceUnknownError) as caught:
        tree_of(write(tmp_path, files))
    command = str(caught.value).partition("split together (")[2].partition(").")[0]
    subprocess.run(command, shell=True, check=True)
    with tree_over(tmp_path / "data") as tree:
        assert every(tree) == {title: named(images) for title, images in BOTH.items()}


def test_images_in_no_split_are_told(tmp_path: Path) -> None:
    files = {"a.JPEG": jpeg("a"), f"{D}b.JPEG": jpeg("b"), f"{D}c.png": jpeg("c"), ".d.JPEG": b""}
    files |= {"photos/e.JPEG": jpeg("e"), "photos/notes.txt": b"x", ".thumbs/f.JPEG": jpeg("f")}
    with tree_over(write(documented(tmp_path), files)) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == [
            "the source has 1 image in no split (first: a.JPEG): they are not shown.",
            "ILSVRC2012 has 2 images in no split (first: b.JPEG): they are not shown.",
            "photos has 1 image in no split (first: e.JPEG): they are not shown.",
        ]


def test_images_beside_class_tars_in_a_tar_are_told_at_once(tmp_path: Path) -> None:
    files = class_tars(TRAIN, "train/") | of_val(flat(VAL), "val/")
    with tree_over(write(tmp_path, {TRAIN_TAR: packed(files)})) as tree:
        assert every(tree) == {"ILSVRC2012/train": TRAIN}
        [warning] = tree.catalogue.warnings
        assert "has 8 images in no class directory (first: val/" in warning


@pytest.mark.slow
@pytest.mark.parametrize("above", [".snapshot/hourly.0/", ".Trash-1000/files/", "@eaDir/"])
def test_versions_in_droppings_are_none(tmp_path: Path, above: str) -> None:
    """Snapshots of a file server, and what was thrown away."""
    files = by_directory(HALF, f"{above}ILSVRC2012/train/") | by_directory(HALF, f"{above}mine/")
    with tree_over(write(documented(tmp_path), files)) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == []


def test_classes_that_only_the_directory_beside_the_tar_has(tmp_path: Path) -> None:
    """Where there is a devkit, its counts say it, and the directory is not looked into."""
    source = write(documented(tmp_path), by_directory(TRAIN, f"{D}train/"))
    write(source, {TRAIN_TAR: packed(class_tars(HALF))})
    with tree_over(source) as tree:
        assert tree.catalogue.warnings == []
        assert "2 of 4 classes" in tree.catalogue.shortfalls[0]
    without(source, f"{D}ILSVRC2012_devkit_t12", VAL_TAR)
    with tree_over(source) as tree:
        [warning] = tree.catalogue.warnings
        assert warning.startswith(f"{D}train has 2 classes (first: {sorted(REST)[0]}) that ")
        assert "--prefer directories" in warning


@pytest.mark.parametrize("place", [f"{D}train", "winter21_whole", "mine"])
def test_images_that_only_a_class_directory_beside_its_tar_has(tmp_path: Path, place: str) -> None:
    same, name = next(iter(TRAIN[FIRST].items())), f"{FIRST}_77.JPEG"
    files = {f"{place}/{FIRST}/{same[0]}": same[1], f"{place}/{FIRST}/{name}": jpeg(name)}
    source = write(tmp_path, class_tars(TRAIN, f"{place}/") | files)
    with tree_over(source) as tree:
        [(title, images)] = every(tree).items()
        assert images == TRAIN
        ledger = ledger_of(tree, title)
        assert ledger.left_out.as_json() == {"no_class": {"files": 1, "first": [name]}}


@pytest.mark.slow
@pytest.mark.parametrize("above", ["imagenet/", "ImageNet_1k/", "CLS-LOC/"])
def test_a_tar_of_both_splits(tmp_path: Path, above: str) -> None:
    """val is flat in it, the devkit is beside it."""
    files = by_directory(TRAIN, f"{above}train/") | of_val(flat(VAL), f"{above}val/")
    source = write(tmp_path, devkit_files("ILSVRC2012_devkit_t12/"))
    with tree_over(write(source, {"all.tar": packed(files)})) as tree:
        assert every(tree) == BOTH


def test_the_tar_of_val_in_a_zip_is_not_told_to_be_unused(tmp_path: Path) -> None:
    source = without(documented(tmp_path), VAL_TAR)
    inside = {"ILSVRC2012_img_val.tar": packed(flat(VAL))}
    write(source, {f"{D}ILSVRC2012_img_val.zip": zip_of(inside, "stored")})
    with tree_over(source) as tree:
        assert every(tree) == BOTH
        assert tree.catalogue.warnings == []


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_tiny_imagenet_whose_train_is_packed(tmp_path: Path, form: str) -> None:
    files, expected = tiny()
    top = "tiny-imagenet-200/"
    train = {path[len(top) :]: d for path, d in files.items() if path.startswith(f"{top}train/")}
    rest = {path: data for path, data in files.items() if not path.startswith(f"{top}train/")}
    data = packed(train) if form == "tar" else zip_of(train)
    with tree_over(write(tmp_path, rest | {f"{top}train.{form}": data})) as tree:
        assert every(tree) == {f"{top}{split}": images for split, images in expected.items()}


def test_tiny_imagenet_whose_val_is_packed_is_told(tmp_path: Path) -> None:
    files, _ = tiny()
    top = "tiny-imagenet-200/"
    val = {path[len(top) :]: d for path, d in files.items() if path.startswith(f"{top}val/")}
    rest = {path: data for path, data in files.items() if not path.startswith(f"{top}val/")}
    with tree_over(write(tmp_path, rest | {f"{top}val.tar": packed(val)})) as tree:
        [warning] = tree.catalogue.warnings
        assert warning == f"{top}val.tar is not used: unpack it once, where it stands."


@pytest.mark.expects_log("does not add up, as far as it has")
def test_tiny_imagenet_s_directories_that_disagree_with_its_annotations(tmp_path: Path) -> None:
    files, expected = tiny()
    order = list(expected["val"])
    moved = {
        f"tiny-imagenet-200/val/{order[(at + 1) % len(order)]}/{name}": data
        for at, images in enumerate(expected["val"].values())
        for name, data in images.items()
    }
    rest = {path: data for path, data in files.items() if "/val/images/" not in path}
    with tree_over(write(tmp_path, rest | moved)) as tree:
        every(tree)
        ledger = ledger_of(tree, "tiny-imagenet-200/val")
        assert len(ledger.labelled_otherwise) == 8
        assert "than val_annotations.txt has" in (ledger.sentence("SRC") or "")


@pytest.mark.slow
@pytest.mark.parametrize("above", ["", "val/"])
@pytest.mark.parametrize("sorted_first", [False, True])
def test_a_tar_of_a_val_that_was_sorted_in_part(
    tmp_path: Path, above: str, sorted_first: bool
) -> None:
    """Some images in class directories, the others beside these: all by their labels."""
    paths = sorted(by_directory(VAL).items())
    moved = {above + path: data for path, data in paths[:4]}
    left = {above + path.rpartition("/")[2]: data for path, data in paths[4:]}
    source = documented(tmp_path)
    write(source, {VAL_TAR: packed(moved | left if sorted_first else left | moved)})
    with tree_over(source) as tree:
        assert every(tree) == BOTH
        assert sorted_first <= len(tree.catalogue.warnings) <= 1


# --- what is no image, and what is one ------------------------------------------------------------

DROPPINGS = [
    *("~snapshot/a.JPEG", "@sharebin/a.JPEG", "#recycle/a.JPEG", "$RECYCLE.BIN/S-1-5/a.JPEG"),
    *("FOUND.000/a.JPEG", "Network Trash Folder/a.JPEG", "Temporary Items/a.JPEG", "Picasa.ini"),
    *(".Trash-1000/files/a.JPEG", "@eaDir/a.JPEG/SYNOPHOTO_THUMB_XL.jpg", ".snapshot/a.JPEG"),
    *(".@__thumb/s800a.JPEG", "lost+found/a.JPEG", ".AppleDouble/a.JPEG", "Icon\r"),
]
NO_IMAGES = ["a.JPEG.filepart", "b.JPEG.crdownload", "c.jpg.!ut", "Untitled.ipynb"]


@pytest.mark.parametrize("form", ["directory", "tar", "zip"])
def test_droppings_of_file_servers_and_desktops(tmp_path: Path, form: str) -> None:
    """Beside the classes, and in one; none is an image, and none is told."""
    odd = {
        f"{above}{name}": jpeg(name)
        for name in DROPPINGS + NO_IMAGES
        for above in ("", f"{FIRST}/")
    }
    files = {f"mine/train/{path}": data for path, data in (by_directory(TRAIN) | odd).items()}
    if form != "directory":
        files = {f"mine.{form}": packed(files) if form == "tar" else zip_of(files)}
    with tree_over(write(tmp_path, files)) as tree:
        assert every(tree) == {"mine/train": TRAIN}
        assert [*tree.catalogue.warnings, *tree.catalogue.late_warnings.all()] == []
        ledger = ledger_of(tree, "mine/train")
        assert set(ledger.left_out.as_json()) <= {"dropping", "not_an_image"}
        assert ledger.adds_up


@pytest.mark.expects_log("does not add up, as far as it has")
def test_images_that_are_compressed_each(tmp_path: Path) -> None:
    names = {name: data for name, data in TRAIN[FIRST].items()}
    gone = next(iter(names))
    names[f"{gone}.gz"] = gzip.compress(names.pop(gone))
    with tree_over(write(tmp_path, by_directory({**TRAIN, FIRST: names}, f"{D}train/"))) as tree:
        assert gone not in shown(tree, "ILSVRC2012/train")[FIRST]
        ledger = ledger_of(tree, "ILSVRC2012/train")
        assert ledger.left_out.as_json() == {"packed": {"files": 1, "first": [f"{gone}.gz"]}}
        assert not ledger.adds_up


@pytest.mark.parametrize("named", [True, False])
def test_newer_forms_of_images(tmp_path: Path, named: bool) -> None:
    """By name, and by their first bytes."""
    heads = {
        "avif": b"\0\0\0\x1cftypavif",
        "heic": b"\0\0\0\x18ftypheic",
        "jxl": b"\0\0\0\x0cJXL \r\n\x87\n",
        "jXl": b"\xff\x0a\xfa\x1f",
    }
    images = {
        f"{at}{'.' + name if named else ''}": data for at, (name, data) in enumerate(heads.items())
    }
    with tree_over(write(tmp_path, by_directory({FIRST: images}, "mine/train/"))) as tree:
        assert every(tree) == {"mine/train": {FIRST: images}}


def test_a_split_without_any_image_does_not_add_up(tmp_path: Path) -> None:
    files = {f"{D}val/validation-{k:05d}-of-00128": b"\0\1\2" for k in range(3)}
    with tree_over(write(without(documented(tmp_path), VAL_TAR), files)) as tree:
        ledger = ledger_of(tree, "ILSVRC2012/val")
        assert not ledger.adds_up
    source = without(tmp_path, f"{D}ILSVRC2012_devkit_t12")
    with tree_over(source) as tree:
        ledger = ledger_of(tree, "ILSVRC2012/val")
        assert "no image at all" in (ledger.sentence("SRC") or "")


# --- other forms of the same data sets -----------------------------------------------------------

FORMS = {
    "Parquet": {"data/train-00000-of-00294.parquet": b"PAR1", "data/b.parquet": b"PAR1"},
    "Arrow": {f"{D}train/data-00000-of-00255.arrow": b"ARROW1"},
    "TFRecords": {f"train/train-{k:05d}-of-01024": b"\0" for k in range(2)},
    "LMDB": {"ilsvrc12_train_lmdb/data.mdb": b"\0", "ilsvrc12_train_lmdb/lock.mdb": b"\0"},
    "RecordIO": {"train.rec": b"\0", "train.idx": b"\0"},
    "FFCV": {"train_500_0.50_90.beton": b"\0"},
    "HDF5": {"imagenet.hdf5": b"\x89HDF\r\n"},
    "pickles": {f"DownSampled/Imagenet32_train/train_data_batch_{k}": b"\x80" for k in range(1, 3)},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beside", [False, True])
def test_forms_that_are_not_read_are_named(tmp_path: Path, form: str, beside: bool) -> None:
    files = FORMS[form]
    if not beside:
        with pytest.raises(SourceUnknownError) as caught:
            tree_of(write(tmp_path, files))
        said = str(caught.value)
    else:
        files = {path.replace(D, "other/"): data for path, data in files.items()}
        with tree_over(write(documented(tmp_path), files)) as tree:
            assert {title: every(tree)[title] for title in BOTH} == BOTH
            said = " ".join(tree.catalogue.warnings)
    first = "train.rec" if form == "RecordIO" else min(files)
    assert f"{first} and 1 more: images in this form" in said or f"{first}: images in this" in said
    assert form in said
    assert "are not read" in said


def test_the_zips_of_down_sampled(tmp_path: Path) -> None:
    with pytest.raises(SourceUnknownError) as caught:
        tree_of(write(tmp_path, {"Imagenet8_val_npz.zip": zip_of({"val_data.npz": b"PK"})}))
    command = str(caught.value).partition("of its name (")[2].partition(").")[0]
    assert command == (f"cd {tmp_path} && unzip -d Imagenet8_val_npz Imagenet8_val_npz.zip")
    assert os.path.isdir(tmp_path)
