"""The catalogue and the tree above it, on a handful of classes, without FUSE."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.errors import (
    NoEntryError,
    SourceUnknownError,
)
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.tree.catalogue import archives_of
from tests.helpers.archives import image, tar_of
from tests.helpers.devkit import LEAVES
from tests.helpers.listings import check_listing
from tests.helpers.trees import VAL, at, ilsvrc2012, names, read, tree_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return ilsvrc2012(tmp_path / "imagenet")


def test_the_layout(source: Path) -> None:
    tree = tree_of(source)
    assert tree.catalogue.warnings == []
    assert [name.decode() for name in check_listing(tree.listing(1))] == [
        "ILSVRC2012",
        "ILSVRC2012_t3",
        "archives",
    ]
    assert names(tree, "source") == ["ILSVRC2012"]
    assert names(tree, "ILSVRC2012") == [
        *("LOC_synset_mapping.txt", "imagenet_class_index.json", "labels.txt", "meta", "meta.bin"),
        *("test", "train", "val", "wnids.txt", "words.txt"),
    ]
    assert names(tree, "ILSVRC2012/train") == ["n00000001", "n00000002", "n00000003"]
    assert names(tree, "ILSVRC2012/val") == sorted(leaf.decode() for leaf in LEAVES)
    assert names(tree, "ILSVRC2012/test") == ["unlabeled"]
    assert names(tree, "ILSVRC2012_t3/train") == ["n00000001", "n00000002"]
    assert names(tree, "ILSVRC2012/meta") == ["train.txt", "val.txt"]
    assert names(tree, ".imagenetfs") == ["log", "status.json", "version"]
    assert read(tree, ".imagenetfs/version") == b"1.2.3\n"


def test_val_is_labelled_by_the_devkit(source: Path) -> None:
    tree = tree_of(source)
    for number in range(1, VAL + 1):
        wnid = LEAVES[number % 4].decode()
        assert read(tree, f"ILSVRC2012/val/{wnid}/ILSVRC2012_val_{number:08d}.JPEG") == image(
            number
        )
    assert sum(len(names(tree, f"ILSVRC2012/val/{leaf.decode()}")) for leaf in LEAVES) == VAL


def test_test_has_the_patch_laid_over(source: Path) -> None:
    tree = tree_of(source)
    found = names(tree, "ILSVRC2012/test/unlabeled")
    assert found == [f"ILSVRC2012_test_{n:08d}.JPEG" for n in range(1, 5)]
    assert read(tree, f"ILSVRC2012/test/unlabeled/{found[1]}") == b"patched"
    assert read(tree, f"ILSVRC2012/test/unlabeled/{found[2]}") == image(3)


# --- what is not as it should be ------------------------------------------------------------------


def test_no_known_version(tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    with pytest.raises(SourceUnknownError, match="no version of ImageNet"):
        tree_of(tmp_path)


def _kit(source: Path) -> Path:
    return source / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"


def test_no_devkit(source: Path) -> None:
    for path in _kit(source).iterdir():
        path.unlink()
    tree = tree_of(source)
    assert any("labels of val are unknown" in warning for warning in tree.catalogue.warnings)
    assert names(tree, "ILSVRC2012/val") == ["unlabeled"]
    assert len(names(tree, "ILSVRC2012/val/unlabeled")) == VAL
    with pytest.raises(NoEntryError):
        at(tree, "ILSVRC2012/meta.bin")


def test_a_damaged_meta_mat(source: Path) -> None:
    path = _kit(source) / "meta.mat"
    path.write_bytes(path.read_bytes()[:300])
    tree = tree_of(source)
    assert any("the devkit cannot be used" in warning for warning in tree.catalogue.warnings)
    assert len(names(tree, "ILSVRC2012/val/unlabeled")) == VAL


def test_a_meta_mat_of_another_shape(source: Path) -> None:
    from tests.helpers.devkit import mat_file

    (_kit(source) / "meta.mat").write_bytes(mat_file(synsets=[1, 2, 3]))
    assert names(tree_of(source), "ILSVRC2012/val") == ["unlabeled"]


@pytest.mark.expects_log(
    "does not add up, as far as it has", "have no label and stand in no class; they"
)
def test_a_ground_truth_that_is_too_short(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    """How many images there are is not known before val is touched; so it is said then."""
    (_kit(source) / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3")
    tree = tree_of(source)
    for wnid in names(tree, "ILSVRC2012/val"):
        names(tree, f"ILSVRC2012/val/{wnid}")
    assert f"{VAL - 3} images" in caplog.text
    val = tree.lookup(tree.lookup(1, b"ILSVRC2012"), b"val")
    assert tree.lookup(val, b"ILSVRC2012_val_%08d.JPEG" % VAL)


@pytest.mark.expects_log("does not add up, as far as it has")
def test_images_without_a_label_are_not_lost(source: Path) -> None:
    truth = "\n".join(["9999"] * VAL)
    (_kit(source) / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    tree = tree_of(source)
    shown = [
        image
        for wnid in names(tree, "ILSVRC2012/val")
        for image in names(tree, f"ILSVRC2012/val/{wnid}")
    ]
    assert len(shown) == VAL


@pytest.mark.expects_log(
    "is broken: no tar header here: its checksum does",
    "no tar header here: its checksum does not hold;",
)
def test_a_broken_class_tar_is_served_as_far_as_it_goes(source: Path) -> None:
    path = source / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    data = bytearray(path.read_bytes())
    second = data.index(b"n00000002_2.JPEG")
    data[second + 100] ^= 1
    path.write_bytes(data)
    tree = tree_of(source)
    whole = ["n00000002_0.JPEG", "n00000002_1.JPEG", "n00000002_3.JPEG"]
    assert names(tree, "ILSVRC2012/train/n00000002") == whole
    assert len(names(tree, "ILSVRC2012/train/n00000003")) == 4
    assert any("n00000002.tar is broken: " in told for told in tree.catalogue.late_warnings.all())


@pytest.mark.slow
@pytest.mark.expects_log(
    "no tar header here: its checksum does not hold", "zeros, as at an archive's end, and"
)
@pytest.mark.parametrize("damage", ["hole", "bad header", "two put together"])
def test_a_train_tar_that_is_damaged_in_the_middle_is_told_at_mount(
    source: Path, damage: str
) -> None:
    path = source / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    data = bytearray(path.read_bytes())
    second, third = data.index(b"n00000002.tar"), data.index(b"n00000003.tar")
    if damage == "hole":
        data[second:third] = bytes(third - second)
    elif damage == "bad header":
        data[second + 100] ^= 1
    else:
        data[third:third] = bytes(10_240)
    path.write_bytes(data)
    tree = tree_of(source)
    lost = set() if damage == "two put together" else {"n00000002"}
    assert set(names(tree, "ILSVRC2012/train")) == {"n00000001", "n00000002", "n00000003"} - lost
    [told] = [line for line in tree.catalogue.warnings if "img_train.tar is broken" in line]
    assert f"{len(data) - third:,} bytes behind them" in told or damage != "hole"
    assert "What is whole of it is served" in told


@pytest.mark.expects_log(
    "have no label and stand in no class; they",
    "is broken: zeros, as at an archive's end, and",
    "zeros, as at an archive's end, and",
)
def test_a_val_tar_that_is_damaged_in_the_middle_is_told_when_it_is_listed(source: Path) -> None:
    path = source / "ILSVRC2012" / "ILSVRC2012_img_val.tar"
    more = tar_of({f"ILSVRC2012_val_{n:08d}.JPEG": image(n) for n in (VAL + 1, VAL + 2)})
    path.write_bytes(path.read_bytes() + more)
    tree = tree_of(source)
    split = next(s for v in tree.catalogue.versions for s in v.splits if s.name == b"val")
    assert len(split.backend.problems()) >= 1
    assert any("val.tar is broken: zeros" in told for told in tree.catalogue.late_warnings.all())


@pytest.mark.parametrize("blocked", ["a file in its way", "no directory may be made"])
def test_index_files_that_cannot_be_used(source: Path, tmp_path: Path, blocked: str) -> None:
    directory = tmp_path / "index"
    if blocked == "a file in its way":
        directory.write_bytes(b"")
    tree = tree_of(source, IndexSearchPath(directory, source))
    assert len(names(tree, "ILSVRC2012/train/n00000001")) == 4


def test_groups(source: Path) -> None:
    catalogue = tree_of(source).catalogue
    splits = [split for version in catalogue.versions for split in version.splits]
    archives = archives_of(splits)
    assert len(archives) == len(set(archives)) == 5
    groups = catalogue.groups(archives)
    assert sorted(number for numbers in groups.values() for number in numbers) == sorted(archives)
    assert len(groups) == 5
    sizes = [
        (source / catalogue.archives[number].path.decode()).stat().st_size for number in archives
    ]
    assert catalogue.size == sum(sizes)
