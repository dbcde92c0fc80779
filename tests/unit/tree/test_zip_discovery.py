"""Zips of the layouts that people have: what is shown of each, to the last byte, and what is said
of it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from imagenetfs.errors import SourceUnknownError
from imagenetfs.tree.source_paths import SourcePaths
from imagenetfs.tree.tree import Tree
from tests.helpers.layouts import (
    CLASSES,
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
from tests.helpers.trees import at, tree_of
from tests.helpers.zip_layouts import KAGGLE, TEST, kaggle, tiny
from tests.helpers.zips import Member, Packing, raw_zip, zip_of

TRAIN, VAL = train_images(), val_images()
PACKINGS: list[Packing] = ["stored", "deflated", "mixed"]


def said(tree: Tree) -> list[str]:
    return [*tree.catalogue.warnings, *tree.catalogue.late_warnings.all()]


def left_out(tree: Tree, version: str, split: str) -> dict[str, object]:
    [found] = [one for one in tree.catalogue.versions if one.name == version.encode()]
    chosen = found.split(split.encode())
    assert chosen is not None
    return dict(chosen.backend.left_out().as_json())


# --- Kaggle's and tiny-imagenet-200, as they are downloaded ---------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", [KAGGLE, "archive.zip", "kaggle.ZIP", "x.zip.1", "x (1).zip"])
def test_kaggle_s_zip(tmp_path: Path, packing: Packing, name: str) -> None:
    tree = tree_of(write(tmp_path, {name: zip_of(kaggle(), packing)}))
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL
    assert shown(tree, "ILSVRC2012/test") == TEST
    [version] = tree.catalogue.versions
    assert version.words == {wnid: f"the words of {wnid.decode()}" for wnid in CLASSES}
    assert said(tree) == []
    assert left_out(tree, "ILSVRC2012", "train") == {}


def test_as_the_same_tree_unpacked(tmp_path: Path) -> None:
    """Every version, split, class, image and label file."""
    files = kaggle()
    one = tree_of(write(tmp_path / "a", {KAGGLE: zip_of(files)}))
    other = tree_of(write(tmp_path / "b", files))
    assert versions(one) == versions(other)
    for split in ("train", "val", "test"):
        assert shown(one, f"ILSVRC2012/{split}") == shown(other, f"ILSVRC2012/{split}")
    names = [
        [name for name, _, _ in t.listing(at(t, "ILSVRC2012")).entries(0)] for t in (one, other)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize("above", ["", "imagenet/", "ILSVRC2012/"])
def test_kaggle_s_tree_below_another_directory_of_the_zip(tmp_path: Path, above: str) -> None:
    tree = tree_of(write(tmp_path, {"some.zip": zip_of(kaggle(above))}))
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL


@pytest.mark.slow
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ["tiny-imagenet-200.zip", "a.zip", "down/loads/tiny.zip"])
def test_tiny_imagenet(tmp_path: Path, packing: Packing, name: str) -> None:
    files, splits = tiny()
    tree = tree_of(write(tmp_path, {name: zip_of(files, packing)}))
    assert versions(tree) == {"tiny-imagenet-200": ["train", "val", "test"]}
    for split, images in splits.items():
        assert shown(tree, f"tiny-imagenet-200/{split}") == images
    assert said(tree) == []
    boxes = [f"{wnid.decode()}_boxes.txt" for wnid in sorted(CLASSES)]
    counted = {"not_an_image": {"files": len(CLASSES), "first": boxes[:3]}}
    assert left_out(tree, "tiny-imagenet-200", "train") == counted


def test_tiny_imagenet_of_a_zip_without_its_directory(tmp_path: Path) -> None:
    files, splits = tiny("")
    tree = tree_of(write(tmp_path, {"tiny-imagenet-200.zip": zip_of(files)}))
    for split, images in splits.items():
        assert shown(tree, f"tiny-imagenet-200/{split}") == images


def test_both_side_by_side(tmp_path: Path) -> None:
    files = {KAGGLE: zip_of(kaggle()), "tiny-imagenet-200.zip": zip_of(tiny()[0])}
    tree = tree_of(write(tmp_path, files))
    assert versions(tree) == {
        "ILSVRC2012": ["train", "val", "test"],
        "tiny-imagenet-200": ["train", "val", "test"],
    }
    assert shown(tree, "ILSVRC2012/train") == TRAIN


# --- other sets -----------------------------------------------------------------------------------

SETS = {
    "imagenette2.zip": ("imagenette2/", "imagenette2"),
    "one.zip": ("imagenette2-160/", "imagenette2-160"),
    "imagewoof.zip": ("", "imagewoof"),
    "site/imagenette.zip": ("imagenette/", "imagenette"),
}


@pytest.mark.parametrize("name", SETS)
def test_other_sets(tmp_path: Path, name: str) -> None:
    above, version = SETS[name]
    files = {**by_directory(TRAIN, f"{above}train/"), **by_directory(TRAIN, f"{above}val/")}
    tree = tree_of(write(tmp_path, {name: zip_of(files)}))
    assert list(versions(tree).values()) == [["train", "val"]]
    [found] = versions(tree)
    assert shown(tree, f"{found}/train") == shown(tree, f"{found}/val") == TRAIN
    assert version in found or "site" in name


def test_a_set_with_its_classes_right_in_the_zip(tmp_path: Path) -> None:
    tree = tree_of(write(tmp_path, {"imagenet-a.zip": zip_of(by_directory(TRAIN))}))
    assert versions(tree) == {"imagenet-a": ["val"]}
    assert shown(tree, "imagenet-a/val") == TRAIN


# --- zips in the place of the published tars ------------------------------------------------------

D = "ILSVRC2012/"


@pytest.mark.slow
@pytest.mark.parametrize(
    "files",
    [
        {f"{D}train.zip": zip_of(by_directory(TRAIN, "train/"))},
        {f"{D}train.zip": zip_of(by_directory(TRAIN))},
        {f"{D}ILSVRC2012_img_train.zip": zip_of(by_directory(TRAIN))},
        {f"{D}train.zip": zip_of(class_tars(TRAIN, "train/"), "stored")},
        {f"{D}train.zip": zip_of(class_tars(TRAIN), "stored")},
        {f"{D}train/{wnid}.zip": zip_of(images) for wnid, images in TRAIN.items()},
    ],
)
def test_train_as_a_zip(tmp_path: Path, files: dict[str, bytes]) -> None:
    source = write(without(documented(tmp_path), f"{D}ILSVRC2012_img_train.tar"), files)
    tree = tree_of(source)
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL
    assert said(tree) == []


@pytest.mark.slow
@pytest.mark.parametrize("above", ["", "val/"])
def test_val_and_the_devkit_as_zips(tmp_path: Path, above: str) -> None:
    source = without(
        documented(tmp_path), f"{D}ILSVRC2012_img_val.tar", f"{D}ILSVRC2012_devkit_t12"
    )
    images = {f"{above}{name}": data for name, data in flat(VAL).items()}
    kit = zip_of(devkit_files("ILSVRC2012_devkit_t12/"))
    write(source, {f"{D}val.zip": zip_of(images), f"{D}ILSVRC2012_devkit_t12.zip": kit})
    tree = tree_of(source)
    assert shown(tree, "ILSVRC2012/val") == VAL
    assert said(tree) == []


WHOLE = ["winter21_whole", "fall11_whole"]


@pytest.mark.slow
@pytest.mark.parametrize("version", WHOLE)
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(class_tars(TRAIN), id="class tars"),
        pytest.param(class_tars(TRAIN, "tars/"), id="class tars in tars/"),
        pytest.param(by_directory(TRAIN), id="directories"),
        pytest.param(by_directory(TRAIN, "a/b/"), id="directories some levels deep"),
    ],
)
@pytest.mark.parametrize("has_its_own", [False, True])
def test_the_whole_imagenet_as_a_zip(
    tmp_path: Path, version: str, files: dict[str, bytes], has_its_own: bool
) -> None:
    above = f"{version}/" if has_its_own else ""
    data = zip_of({above + path: data for path, data in files.items()}, "stored")
    tree = tree_of(write(tmp_path, {f"{version}.zip": data}))
    assert versions(tree) == {version: ["train"]}
    assert shown(tree, f"{version}/train") == TRAIN
    assert said(tree) == []


def test_t3_as_a_zip(tmp_path: Path) -> None:
    data = zip_of(class_tars(TRAIN), "stored")
    tree = tree_of(write(tmp_path, {"ILSVRC2012/ILSVRC2012_img_train_t3.zip": data}))
    assert shown(tree, "ILSVRC2012_t3/train") == TRAIN


@pytest.mark.slow
@pytest.mark.parametrize("above", ["a/", "a/b/", "imagenet_train/"])
@pytest.mark.parametrize("name", ["train.zip", "ILSVRC2012_img_train.zip", "Training.zip"])
def test_unknown_levels_within_a_split_s_zip(tmp_path: Path, name: str, above: str) -> None:
    data = zip_of(by_directory(TRAIN, above), "mixed")
    tree = tree_of(write(tmp_path, {f"ILSVRC2012/{name}": data}))
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert said(tree) == []


def test_unknown_levels_within_a_flat_split_s_zip(tmp_path: Path) -> None:
    files = {
        "ILSVRC2012/val.zip": zip_of({f"a/{n}": d for n, d in flat(VAL).items()}, "stored"),
        **devkit_files("ILSVRC2012/ILSVRC2012_devkit_t12/"),
    }
    tree = tree_of(write(tmp_path, files))
    assert shown(tree, "ILSVRC2012/val") == VAL


def published(source: Path, above: str, packing: Packing) -> dict[str, bytes]:
    """A zip of the published tars, which leave the source for it."""
    tars = ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"]
    inside = {above + name: (source / "ILSVRC2012" / name).read_bytes() for name in tars}
    without(source, *(f"ILSVRC2012/{name}" for name in tars))
    return {"all.zip": zip_of(inside, packing)}


@pytest.mark.slow
@pytest.mark.parametrize("above", ["", "ILSVRC2012/", "imagenet/"])
def test_a_zip_of_the_published_tars(tmp_path: Path, above: str) -> None:
    """A devkit stands beside it, unpacked."""
    source = documented(tmp_path)
    tree = tree_of(write(source, published(source, above, "stored")))
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL
    assert said(tree) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("above", "packing"),
    [("", "deflated"), ("ILSVRC2012/", "deflated"), ("some/where/", "stored")],
)
def test_a_zip_of_the_published_tars_that_is_not_served(
    tmp_path: Path, above: str, packing: Packing
) -> None:
    """The command that is named mends it."""
    source = documented(tmp_path)
    write(source, published(source, above, packing))
    with pytest.raises(SourceUnknownError) as caught:
        tree_of(source)
    told = str(caught.value)
    tars = f"{above}ILSVRC2012_img_train.tar and {above}ILSVRC2012_img_val.tar"
    assert f"all.zip holds {tars}, and no split is read from there" in told
    assert told.endswith(f"(cd {source} && unzip all.zip).")


def test_class_tars_that_are_deflated_in_a_zip(tmp_path: Path) -> None:
    write(tmp_path, {"ILSVRC2012/train.zip": zip_of(class_tars(TRAIN), "deflated")})
    with pytest.raises(SourceUnknownError, match="4 archives of classes that are deflated") as told:
        tree_of(tmp_path)
    assert f"(cd {tmp_path}/ILSVRC2012 && unzip train.zip)" in str(told.value)


@pytest.mark.expects_log("not all members are shown", "1 file in an archive that cannot be read")
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused_each_and_counted(tmp_path: Path, method: int) -> None:
    (tmp_path / "ILSVRC2012").mkdir()
    first, *others = flat(TRAIN)
    with zipfile.ZipFile(tmp_path / "ILSVRC2012" / "train.zip", "w") as archive:
        for path, data in by_directory(TRAIN, "train/").items():
            archive.writestr(path, data, method if path.endswith(first) else zipfile.ZIP_STORED)
    tree = tree_of(tmp_path)
    assert list(flat(shown(tree, "ILSVRC2012/train"))) == others
    assert left_out(tree, "ILSVRC2012", "train") == {
        "refused": {"files": 1, "first": [f"train/n01440764/{first}"]}
    }
    assert any("another method than deflate" in sentence for sentence in said(tree))


@pytest.mark.expects_log("left out, for it is compressed by another method")
def test_nothing_but_other_methods(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012").mkdir()
    with zipfile.ZipFile(tmp_path / "ILSVRC2012" / "train.zip", "w", zipfile.ZIP_BZIP2) as archive:
        for path, data in by_directory(TRAIN, "train/").items():
            archive.writestr(path, data)
    with pytest.raises(SourceUnknownError, match="12 left out, for it is compressed by another"):
        tree_of(tmp_path)


# --- a tar that holds a version's directory is taken as a zip is ----------------------------------


@pytest.mark.parametrize("above", ["", "./"])
@pytest.mark.parametrize("name", ["imagenet_object_localization_patched2019.tar", "x.TAR"])
def test_kaggle_s_tree_in_a_tar(tmp_path: Path, name: str, above: str) -> None:
    tree = tree_of(write(tmp_path, {name: packed(kaggle(above))}))
    assert versions(tree) == {"ILSVRC2012": ["train", "val", "test"]}
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert shown(tree, "ILSVRC2012/val") == VAL
    assert shown(tree, "ILSVRC2012/test") == TEST
    assert said(tree) == []


def test_tiny_imagenet_in_a_tar(tmp_path: Path) -> None:
    files, right = tiny()
    tree = tree_of(write(tmp_path, {"tiny.tar": packed(files)}))
    for split, images in right.items():
        assert shown(tree, f"tiny-imagenet-200/{split}") == images
    assert said(tree) == []


def test_annotations_have_no_classes(tmp_path: Path) -> None:
    files = {f"Annotations/{path[:-5]}.xml": b"<a/>" for path in by_directory(TRAIN)}
    tree = tree_of(
        write(tmp_path, {"mine.zip": zip_of(files | by_directory(TRAIN, "x/"), "mixed")})
    )
    assert {split for splits in versions(tree).values() for split in splits} == {"train"}


def test_the_published_tar_comes_before_a_zip_of_the_same(tmp_path: Path) -> None:
    other = {wnid: dict.fromkeys(images, jpeg("other")) for wnid, images in TRAIN.items()}
    source = write(documented(tmp_path), {f"{D}train.zip": zip_of(by_directory(other))})
    assert shown(tree_of(source), "ILSVRC2012/train") == TRAIN
    assert shown(tree_of(source, prefer="directories"), "ILSVRC2012/train") == other


def test_a_tar_of_kaggle_s_zip_s_name(tmp_path: Path) -> None:
    """Known by its content: a plain tar that is called as a zip."""
    tree = tree_of(write(tmp_path, {"imagenette2.zip": packed(by_directory(TRAIN, "train/"))}))
    assert shown(tree, "imagenette2.zip/train") == TRAIN


# --- what is left out -----------------------------------------------------------------------------


def test_droppings_are_neither_images_nor_classes(tmp_path: Path) -> None:
    """A zip that a Mac has made."""
    files = dict(tiny()[0])
    for path in list(files):
        directory, _, name = path.rpartition("/")
        files[f"__MACOSX/{directory}/._{name}"] = b"\0\5\x16\7\0\2\0\0Mac OS X"
    files["tiny-imagenet-200/train/.DS_Store"] = b"x"
    files["tiny-imagenet-200/train/n01440764/images/.DS_Store"] = b"x"
    tree = tree_of(write(tmp_path, {"tiny-imagenet-200.zip": zip_of(files)}))
    for split, images in tiny()[1].items():
        assert shown(tree, f"tiny-imagenet-200/{split}") == images
    counted = left_out(tree, "tiny-imagenet-200", "train")
    assert counted["dropping"] == {
        "files": 1,
        "first": ["images/.DS_Store"],
    }
    assert said(tree) == []
    assert at(tree, "archives/tiny-imagenet-200.zip/__MACOSX/tiny-imagenet-200/._wnids.txt")


@pytest.mark.expects_log("does not add up")
def test_names_that_are_there_twice_are_counted_in_their_split(tmp_path: Path) -> None:
    name = f"ILSVRC/Data/CLS-LOC/train/n01440764/{next(iter(TRAIN['n01440764']))}"
    members = [Member(path.encode(), data) for path, data in kaggle().items()]
    twice = Member(name.encode(), jpeg("the later one"))
    tree = tree_of(write(tmp_path, {KAGGLE: raw_zip([*members, twice])}))
    found = shown(tree, "ILSVRC2012/train")
    assert found["n01440764"][name.rpartition("/")[2]] == jpeg("the later one")
    assert left_out(tree, "ILSVRC2012", "train") == {"same_name": {"files": 1, "first": [name]}}
    shown(tree, "ILSVRC2012/val")
    assert left_out(tree, "ILSVRC2012", "val") == {}


@pytest.mark.expects_log("does not add up")
@pytest.mark.expects_log("not all members are shown")
def test_members_that_cannot_be_read_are_counted_in_their_split_and_told(tmp_path: Path) -> None:
    members = [Member(path.encode(), data) for path, data in kaggle().items()]
    bad = [one for one in members if one.name.startswith(b"ILSVRC/Data/CLS-LOC/train/n01440764/")]
    bad[0].flags |= 1
    bad[1].method, bad[1].told_size = 99, len(bad[1].data)
    names = [one.name.rpartition(b"/")[2].decode() for one in bad]
    tree = tree_of(write(tmp_path, {KAGGLE: raw_zip(members)}))
    expected = {wnid: dict(images) for wnid, images in TRAIN.items()}
    for name in names[:2]:
        del expected["n01440764"][name]
    assert shown(tree, "ILSVRC2012/train") == expected
    assert shown(tree, "ILSVRC2012/val") == VAL
    counted = left_out(tree, "ILSVRC2012", "train")
    assert counted == {"refused": {"files": 2, "first": [one.name.decode() for one in bad[:2]]}}
    assert left_out(tree, "ILSVRC2012", "val") == {}
    [warning] = tree.catalogue.warnings
    assert warning.startswith(f"{KAGGLE}: not all members are shown: 1 left out, for it is encryp")
    assert "1 left out, for it is compressed by another method than deflate" in warning


HOSTILE = {
    "leads out": (Member(b"../../etc/n01440764/x.JPEG", b"x"), "its name has '..' in it"),
    "a bomb": (Member(b"x.JPEG", b"x", method=8, told_size=1 << 31), "larger than what it is defl"),
    "overlaps": (Member(b"x.JPEG", b"x", told_size=90, told_packed=90), "reaches into the next"),
    "far away": (Member(b"x.JPEG", b"x", told_offset=1 << 30), "outside of the archive"),
}


@pytest.mark.expects_log("not all members are shown")
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_members_are_told_and_all_others_are_shown(tmp_path: Path, what: str) -> None:
    member, reason = HOSTILE[what]
    files, splits = tiny()
    members = [Member(path.encode(), data) for path, data in files.items()]
    source = write(
        tmp_path, {"t/tiny-imagenet-200.zip": raw_zip([*members[:9], member, *members[9:]])}
    )
    tree = tree_of(source)
    for split, images in splits.items():
        assert shown(tree, f"tiny-imagenet-200/{split}") == images
    told = [line for line in said(tree) if reason in line]
    assert len(told) == 1, said(tree)


def test_an_absolute_name_stays_within(tmp_path: Path) -> None:
    files, splits = tiny("/tiny-imagenet-200/")
    members = [Member(path.encode(), data) for path, data in files.items()]
    tree = tree_of(write(tmp_path, {"a.zip": raw_zip(members)}))
    assert shown(tree, "tiny-imagenet-200/train") == splits["train"]


def test_names_of_windows(tmp_path: Path) -> None:
    files, splits = tiny()
    members = [
        Member(path.replace("/", "\\").encode(), data, made=0, attributes=0x20)
        for path, data in files.items()
    ]
    tree = tree_of(write(tmp_path, {"a.zip": raw_zip(members)}))
    for split, images in splits.items():
        assert shown(tree, f"tiny-imagenet-200/{split}") == images


# --- broken ones ----------------------------------------------------------------------------------


@pytest.mark.expects_log("is broken: it has no end record")
@pytest.mark.parametrize("keep", [0, 1, 500, -1, -30])
def test_a_zip_that_is_cut_off_is_told(tmp_path: Path, keep: int) -> None:
    data = zip_of(tiny()[0])
    source = write(tmp_path, {"tiny-imagenet-200.zip": data[:keep]})
    with pytest.raises(Exception, match=r"tiny-imagenet-200.zip is broken: it has no end record"):
        tree_of(source)


@pytest.mark.expects_log("is broken: it has no end record")
def test_a_download_that_is_no_zip(tmp_path: Path) -> None:
    source = write(tmp_path, {"tiny-imagenet-200.zip": b"<html>please log in</html>" * 100})
    with pytest.raises(Exception, match=r"broken: it has no end record: it is cut off, or no zip"):
        tree_of(source)


@pytest.mark.expects_log("is broken: it has no end record")
def test_a_broken_zip_beside_others(tmp_path: Path) -> None:
    source = write(tmp_path, {KAGGLE: zip_of(kaggle()), "tiny-imagenet-200.zip": b"PK\3\4" * 99})
    tree = tree_of(source)
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert [line for line in tree.catalogue.lost if "tiny-imagenet-200.zip is broken" in line]


def test_a_zip_in_parts(tmp_path: Path) -> None:
    data = zip_of(tiny()[0])
    parts = {f"tiny-imagenet-200.zip.00{n}": data[n * 900 : (n + 1) * 900] for n in range(3)}
    with pytest.raises(SourceUnknownError, match=r"is there in 3 parts.*cat .*\.000 .*\.001"):
        tree_of(write(tmp_path, parts))


def test_what_stands_there_unpacked_comes_first(tmp_path: Path) -> None:
    files, splits = tiny()
    other = {path: jpeg("in the zip") for path in files}
    tree = tree_of(write(tmp_path, {**files, "tiny-imagenet-200.zip": zip_of(other)}))
    assert shown(tree, "tiny-imagenet-200/train") == splits["train"]
    [warning] = said(tree)
    assert warning.startswith("tiny-imagenet-200 of tiny-imagenet-200.zip is not used")


# --- costs and paths ------------------------------------------------------------------------------


def test_without_a_zip_nothing_is_opened_for_zips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagenetfs.tree.zip_discovery.UnpackedSource", None)
    tree = tree_of(documented(tmp_path))
    assert shown(tree, "ILSVRC2012/train") == TRAIN


@pytest.mark.slow
def test_what_is_read_from_a_zip_is_known_as_the_zip_s(tmp_path: Path) -> None:
    """Images and label files: whoever may not read the zip may not have them."""
    tree = tree_of(write(tmp_path, {KAGGLE: zip_of(kaggle())}))
    paths = SourcePaths(tree)
    name = next(iter(VAL["n01440764"]))
    image = at(tree, f"ILSVRC2012/val/n01440764/{name}")
    assert list(paths.paths(image)) == [KAGGLE.encode()]
    assert KAGGLE.encode() in set(paths.shown())
    [val] = [s for s in tree.catalogue.versions[0].splits if s.name == b"val"]
    assert val.labels_from == (KAGGLE.encode(),)
    assert set(tree.catalogue.versions[0].words_from) == {KAGGLE.encode()}
