"""The catalogue and the tree above it, on a handful of classes, without FUSE."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.errors import (
    ImagenetfsError,
    IsDirectoryError,
    NoEntryError,
    NotDirectoryError,
    NotLinkError,
    SourceUnknownError,
)
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.read.reader import Reader
from imagenetfs.source.source import BYTES, REQUESTS, Source
from imagenetfs.tree.catalogue import archives_of, build_catalogue
from imagenetfs.tree.node import FixedFile
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import close_with, image, tar_of, train_tar
from tests.helpers.devkit import LEAVES, meta_mat
from tests.helpers.listings import check_listing

VAL = 12


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "imagenet"
    data = root / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "meta.mat").write_bytes(meta_mat())
    truth = "\n".join(str(n % 4 + 1) for n in range(1, VAL + 1))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    tars = {
        "train": train_tar(3, 4),
        "train_t3": train_tar(2, 2),
        "val": tar_of({f"ILSVRC2012_val_{n:08d}.JPEG": image(n) for n in range(VAL, 0, -1)}),
        "test_v10102019": tar_of(
            {"test/": b"", **{f"test/ILSVRC2012_test_{n:08d}.JPEG": image(n) for n in range(1, 5)}}
        ),
        "test_patch_images_v10102019": tar_of(
            {"patch_images/ILSVRC2012_test_00000002.JPEG": b"patched"}
        ),
    }
    for name, content in tars.items():
        (root / "ILSVRC2012" / f"ILSVRC2012_img_{name}.tar").write_bytes(content)
    return root


def tree_of(source: Path, places: IndexSearchPath | None = None) -> Tree:
    catalogue = build_catalogue(Source(source), places=places or IndexSearchPath(None, source))
    tree = Tree(catalogue, "1.2.3")
    close_with(tree, catalogue.index)
    return tree


def at(tree: Tree, path: str) -> int:
    number = 1
    for name in path.split("/"):
        number = tree.lookup(number, name.encode())
    return number


def names(tree: Tree, path: str) -> list[str]:
    return [name.decode() for name in check_listing(tree.listing(at(tree, path)))]


def read(tree: Tree, path: str) -> bytes:
    number = at(tree, path)
    node = tree.file(number)
    size = tree.attributes(number).size
    if isinstance(node, FixedFile):
        return node.contents.read(0, size)
    catalogue = tree.catalogue
    return Reader(catalogue.index, catalogue.source).read(number, 0, size)


def test_the_layout(source: Path) -> None:
    tree = tree_of(source)
    assert tree.catalogue.warnings == []
    assert [name.decode() for name in check_listing(tree.listing(1))] == [
        "ILSVRC2012",
        "ILSVRC2012_t3",
        "archives",
        "source",
    ]
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


def test_names_that_are_not_listed(source: Path) -> None:
    tree = tree_of(source)
    one = "ILSVRC2012_val_00000001.JPEG"
    inode = at(tree, f"ILSVRC2012/val/{LEAVES[1].decode()}/{one}")
    assert at(tree, f"ILSVRC2012/val/{one}") == inode
    assert at(tree, f"ILSVRC2012/validation/{one}") == inode
    assert at(tree, f"ILSVRC2012/validation/{LEAVES[1].decode()}/{one}") == inode
    assert at(tree, "ILSVRC2012/validation") != at(tree, "ILSVRC2012/val")
    assert names(tree, "ILSVRC2012/ILSVRC2012_devkit_t12/data") == [
        "ILSVRC2012_validation_ground_truth.txt",
        "meta.mat",
    ]


def test_inodes_are_the_same_at_every_mount(source: Path) -> None:
    def walk(tree: Tree, number: int, found: dict[str, int], path: str) -> dict[str, int]:
        for name, child, attributes in list(tree.listing(number).entries(0)):
            below = f"{path}/{name.decode()}"
            found[below] = child
            assert 0 < child < 1 << 63
            if stat.S_ISDIR(attributes.mode):
                walk(tree, child, found, below)
        return found

    one, other = walk(tree_of(source), 1, {}, ""), walk(tree_of(source), 1, {}, "")
    assert one == other
    directories = [child for path, child in one.items() if "." not in path.rpartition("/")[2]]
    assert len(directories) == len(set(directories))


def test_a_listing_opens_no_class_tar(source: Path) -> None:
    tree = tree_of(source)
    index = tree.catalogue.index
    train = tree.catalogue.numbers[b"ILSVRC2012/ILSVRC2012_img_train.tar"]
    list(tree.listing(at(tree, "ILSVRC2012/train")).entries(0))
    assert [index.known(train, inner) for inner in range(3)] == [False] * 3
    at(tree, "ILSVRC2012/train/n00000002/n00000002_0.JPEG")
    assert [index.known(train, inner) for inner in range(3)] == [False, True, False]


def _reads(tree: Tree, act: Callable[[], object]) -> list[int]:
    meter: list[int] = [0, 0, 0]
    tree.catalogue.source.count_on(meter)
    with contextlib.suppress(NoEntryError):
        act()
    return [meter[REQUESTS], meter[BYTES]]


@pytest.mark.parametrize(
    "path",
    [
        *("ILSVRC2012", "ILSVRC2012/train", "ILSVRC2012/val", "ILSVRC2012/test", "ILSVRC2012/meta"),
        *("ILSVRC2012/train/n00000001", "ILSVRC2012/train/nothing", "nothing", "source"),
        *("ILSVRC2012/nothing", "ILSVRC2012/labels.txt", "ILSVRC2012/meta.bin", ".imagenetfs"),
        "ILSVRC2012/ILSVRC2012_devkit_t12",
        f"ILSVRC2012/val/{LEAVES[0].decode()}",
        *("ILSVRC2012/val/nothing", "ILSVRC2012/test/.git"),
    ],
)
def test_lookups_above_class_level_read_nothing(source: Path, path: str) -> None:
    tree = tree_of(source)
    assert _reads(tree, lambda: tree.attributes(at(tree, path))) == [0, 0]


def test_listings_above_class_level_read_nothing(source: Path) -> None:
    tree = tree_of(source)

    def act() -> None:
        for number in (1, *(at(tree, f"ILSVRC2012{below}") for below in ("", "/train", "/meta"))):
            list(tree.listing(number).entries(0))

    assert _reads(tree, act) == [0, 0]


def test_attributes(source: Path) -> None:
    tree = tree_of(source)
    one = tree.attributes(1)
    assert (one.mode, one.nlink) == (stat.S_IFDIR | 0o555, 2 + 4)
    assert tree.attributes(at(tree, "ILSVRC2012/train")).nlink == 2 + 3
    assert tree.attributes(at(tree, "ILSVRC2012")).nlink == 2 + 4
    directory = tree.attributes(at(tree, "ILSVRC2012/train/n00000001"))
    assert (directory.nlink, directory.mtime_ns) == (2, 7 * 10**9)
    member = tree.attributes(at(tree, "ILSVRC2012/train/n00000001/n00000001_2.JPEG"))
    assert member == (stat.S_IFREG | 0o444, 602, 7 * 10**9, 1)


def test_what_an_inode_is_not(source: Path) -> None:
    tree = tree_of(source)
    member, directory = at(tree, "ILSVRC2012/train/n00000001/n00000001_0.JPEG"), at(tree, "source")
    with pytest.raises(NotDirectoryError):
        tree.listing(member)
    with pytest.raises(NotDirectoryError):
        tree.lookup(at(tree, "ILSVRC2012/wnids.txt"), b"x")
    for number in (
        1,
        directory,
        at(tree, "ILSVRC2012/train"),
        at(tree, "ILSVRC2012/train/n00000001"),
    ):
        with pytest.raises(IsDirectoryError):
            tree.file(number)
        with pytest.raises(NotLinkError):
            tree.link_target(number)
    with pytest.raises(NotLinkError):
        tree.link_target(member)
    for number in (0, 999, 2 << 60 | 77 << 40, 2 << 60 | 99, 1 << 60 | 500 << 40, 6 << 60):
        with pytest.raises(ImagenetfsError):
            tree.attributes(number)


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


def test_a_ground_truth_that_is_too_short(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    """How many images there are is not known before val is touched; so it is said then."""
    (_kit(source) / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3")
    tree = tree_of(source)
    for wnid in names(tree, "ILSVRC2012/val"):
        names(tree, f"ILSVRC2012/val/{wnid}")
    assert f"{VAL - 3} images" in caplog.text
    val = tree.lookup(tree.lookup(1, b"ILSVRC2012"), b"val")
    assert tree.lookup(val, b"ILSVRC2012_val_%08d.JPEG" % VAL)


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


def test_a_broken_class_tar_is_served_as_far_as_it_goes(source: Path) -> None:
    path = source / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    data = bytearray(path.read_bytes())
    second = data.index(b"n00000002_2.JPEG")
    data[second + 100] ^= 1
    path.write_bytes(data)
    tree = tree_of(source)
    assert names(tree, "ILSVRC2012/train/n00000002") == ["n00000002_0.JPEG", "n00000002_1.JPEG"]
    assert len(names(tree, "ILSVRC2012/train/n00000003")) == 4


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
