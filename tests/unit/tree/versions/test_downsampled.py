"""Imagenet8 to 64: rows of npz files by their labels, batch by batch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagenetfs.errors import ArchiveError, NoEntryError
from imagenetfs.index.archives import OUTER
from imagenetfs.tree.ledger import account
from imagenetfs.tree.versions.downsampled import _natural
from tests.helpers.devkit import LEAVES, meta_mat
from tests.helpers.sources import write
from tests.helpers.trees import at, names, read, tree_of


def batch(root: Path, side: int, directory: str, name: str, labels: list[int]) -> Path:
    """An npz of rows with these labels; a row's pixels all have its label."""
    path = root / "DownSampled" / directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.repeat(np.array(labels, np.uint8)[:, None], 3 * side * side, axis=1)
    np.savez(path, data=data, labels=np.array(labels))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    data = tmp_path / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    write(data / "meta.mat", meta_mat())
    write(data / "ILSVRC2012_validation_ground_truth.txt", b"1")
    for number, labels in ((1, [1, 2]), (2, [2]), (10, [2, 1])):
        batch(tmp_path, 8, "Imagenet8_train_npz", f"train_data_batch_{number}.npz", labels)
    batch(tmp_path, 8, "Imagenet8_val_npz", "val_data.npz", [3])
    batch(tmp_path, 16, "imagenet16_train_part2", "train_data_batch_6.npz", [1])
    batch(tmp_path, 16, "imagenet16_train_part1", "train_data_batch_5.npz", [1])
    (tmp_path / "DownSampled" / "Imagenet128_val_npz").mkdir()
    return tmp_path


def test_sizes_that_are_there(source: Path) -> None:
    small, middle = tree_of(source).catalogue.versions
    assert (small.name, [split.name for split in small.splits]) == (
        b"Imagenet8",
        [b"train", b"val"],
    )
    assert small.splits[1].aliases == (b"validation",)
    assert (middle.name, middle.splits[0].origin) == (
        b"Imagenet16",
        "DownSampled/imagenet16_train_part1 and DownSampled/imagenet16_train_part2",
    )


@pytest.mark.expects_log("does not add up, as far as it has")
def test_rows_stand_in_the_order_of_their_batches(source: Path) -> None:
    tree = tree_of(source)
    wnid = LEAVES[1].decode()
    found = tree.listing(at(tree, f"Imagenet8/train/{wnid}"))
    rows = [name.decode() for name, _, _ in found.entries(0)]
    assert len(rows) == len(found) == 3
    assert [row for start in (1, 2) for row, *_ in [next(iter(found.entries(start)))]] == [
        name.encode() for name in rows[1:]
    ]
    assert found.find(rows[2].encode()) == next(iter(found.entries(2)))[1]
    other = tree.listing(at(tree, f"Imagenet8/train/{LEAVES[0].decode()}"))
    assert found.find(next(iter(other.entries(0)))[0]) is None, "a row of another class"
    assert names(tree, f"Imagenet8/train/{LEAVES[3].decode()}") == []


def test_files_are_png(source: Path) -> None:
    tree = tree_of(source)
    [name] = names(tree, f"Imagenet8/val/{LEAVES[2].decode()}")
    data = read(tree, f"Imagenet8/validation/{LEAVES[2].decode()}/{name}")
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size) == ("PNG", (8, 8))
        assert picture.getpixel((7, 7)) == (3, 3, 3)


def test_without_a_kit_nobody_knows_the_classes(source: Path) -> None:
    for path in (source / "ILSVRC2012").rglob("*.*"):
        path.unlink()
    tree = tree_of(source)
    assert names(tree, "Imagenet8/train") == ["unlabeled"]
    assert len(tree.listing(at(tree, "Imagenet8/train/unlabeled"))) == 5
    assert any("which class a label of DownSampled" in w for w in tree.catalogue.warnings)


@pytest.mark.expects_log("have labels that the devkit does not name, and")
def test_labels_that_the_kit_does_not_name(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    batch(source, 8, "Imagenet8_val_npz", "val_data.npz", [3, 77, 78])
    tree = tree_of(source)
    split = tree.catalogue.versions[0].splits[1]
    [problem] = split.backend.problems()
    assert problem.startswith("2 rows of ")
    assert problem.endswith("have labels that the devkit does not name, and are not shown.")
    assert problem in caplog.text


@pytest.mark.expects_log("is not shown: this is no sound npz file:", "does not add up")
def test_a_broken_batch_is_told_and_the_others_are_shown(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(source / "DownSampled/Imagenet8_train_npz/train_data_batch_2.npz", b"no zip")
    tree = tree_of(source)
    wnid = LEAVES[1].decode()
    rows = [name for name, _, _ in tree.listing(at(tree, f"Imagenet8/train/{wnid}")).entries(0)]
    assert len(rows) == 2
    split = tree.catalogue.versions[0].splits[0]
    [problem] = split.backend.problems()
    assert "train_data_batch_2.npz is not shown: " in problem
    assert problem in tree.catalogue.late_warnings.all(), "status has it"
    with pytest.raises(ArchiveError, match=r"batch_2\.npz is not shown: this is no sound npz"):
        at(tree, f"Imagenet8/train/{wnid}/train_data_batch_2_000000.png")
    for no_row in ("index.html", ".hidden", "x.png"):
        with pytest.raises(NoEntryError):
            at(tree, f"Imagenet8/train/{wnid}/{no_row}")
    with pytest.raises(NoEntryError):
        at(tree, f"Imagenet8/train/{LEAVES[0].decode()}/{rows[0].decode()}")
    backend = split.backend
    assert backend.class_of_name(rows[-1]) == list(backend.classes).index(LEAVES[1])


@pytest.mark.slow
@pytest.mark.expects_log("is not shown: ", "does not add up")
@pytest.mark.parametrize("has_kit", [True, False])
@pytest.mark.parametrize("left", [0, 1, 300, -30])
def test_a_split_whose_only_file_is_cut_off_is_no_empty_one(
    source: Path, left: int, has_kit: bool
) -> None:
    """Cut before its first listing: an error for who looks, and told where the user looks."""
    path = source / "DownSampled/Imagenet8_val_npz/val_data.npz"
    path.write_bytes(path.read_bytes()[:left])
    if not has_kit:
        for file in (source / "ILSVRC2012").rglob("*.*"):
            file.unlink()
    tree = tree_of(source)
    wnid = LEAVES[2].decode() if has_kit else "unlabeled"
    for _ in range(2):
        with pytest.raises(ArchiveError, match=r"val_data\.npz is not shown: "):
            names(tree, f"Imagenet8/val/{wnid}")
    with pytest.raises(ArchiveError):
        at(tree, f"Imagenet8/val/{wnid}/val_data_000000.png")
    version = tree.catalogue.versions[0]
    ledger = account(version, version.splits[1])
    assert not ledger.adds_up
    assert any("val_data.npz is not shown: " in problem for problem in ledger.problems)
    told = tree.catalogue.late_warnings.all()
    assert sum("val_data.npz is not shown: " in sentence for sentence in told) == 1
    other = LEAVES[1].decode() if has_kit else wnid
    assert len(tree.listing(at(tree, f"Imagenet8/train/{other}")))


def test_the_class_of_a_row(source: Path) -> None:
    tree = tree_of(source)
    split = tree.catalogue.versions[0].splits[0]
    backend = split.backend
    first = backend.archives[0]
    classes = [backend.class_of(first, OUTER, row) for row in range(2)]
    assert [backend.classes[number] for number in classes if number is not None] == LEAVES[:2]
    assert backend.class_of(99, OUTER, 0) is None
    [(name, _, _), *_] = backend.listing(list(backend.classes).index(LEAVES[0])).entries(0)
    assert backend.classes[backend.class_of_name(name) or 0] == LEAVES[0]
    assert backend.class_of_name(b"nothing.png") is None


def test_numbers_in_names_are_numbers() -> None:
    paths = [b"d/b_10.npz", b"d/b_2.npz", b"d/b_1.npz", b"c/b_11.npz"]
    assert sorted(paths, key=_natural) == [b"c/b_11.npz", b"d/b_1.npz", b"d/b_2.npz", b"d/b_10.npz"]
