"""ImageFolder over directories and splits: torchvision's own behaviour, and announced batches."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import imagenetfs
from tests.helpers.late_imports import late_imports
from tests.helpers.loaders import torchvision_datasets

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from imagenetfs.torch import ImageFolder

_late = late_imports("torch", ImageFolder="imagenetfs.torch:ImageFolder")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """As torchvision's tests have it: classes with images and other files, one within another."""
    rng = np.random.default_rng(0)
    for name, images in {"b": ["1.png", "0.JPEG"], "a": ["x.jpg"], "c": ["sub/y.bmp"]}.items():
        for image in images:
            path = tmp_path / "data" / name / image
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).save(path)
        (tmp_path / "data" / name / "notes.txt").write_text("no image")
    (tmp_path / "data" / "beside.png").write_bytes(b"")
    return tmp_path / "data"


@pytest.fixture
def theirs() -> Iterator[Any]:
    with torchvision_datasets() as datasets:
        yield datasets.ImageFolder


def lookalike(image: Any) -> bytes:
    data: bytes = image.tobytes()
    return data


def double(target: int) -> int:
    return 2 * target


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_torchvisions(directory: Path, theirs: Any, slash: str) -> None:
    root = f"{directory}{slash}"
    ours, his = ImageFolder(root), theirs(root)
    for name in ("classes", "class_to_idx", "samples", "imgs", "targets", "extensions", "root"):
        assert getattr(ours, name) == getattr(his, name), name
    assert len(ours) == len(his) == 4
    for (image, label), (other, same) in zip((ours[n] for n in range(4)), his, strict=True):
        assert (image.tobytes(), image.mode, label) == (other.tobytes(), "RGB", same)
    assert "Number of datapoints: 4" in repr(ours) and root in repr(ours)


def test_its_own_files_and_transforms(directory: Path, theirs: Any) -> None:
    def is_text(path: str) -> bool:
        return path.endswith(".txt")

    options: dict[str, Any] = {
        "loader": os.path.basename,
        "is_valid_file": is_text,
        "target_transform": double,
    }
    ours, his = (
        ImageFolder(directory, str.upper, **options),
        theirs(str(directory), str.upper, **options),
    )
    assert ours.samples == his.samples
    assert [ours[n] for n in range(3)] == list(his) == [("NOTES.TXT", n) for n in (0, 2, 4)]
    assert ours.extensions is None


def test_errors_are_torchvisions(directory: Path, tmp_path: Path, theirs: Any) -> None:
    (tmp_path / "none").mkdir()
    (directory / "d").mkdir()
    for root in (directory, tmp_path / "none", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError) as his:
            theirs(str(root))
        with pytest.raises(FileNotFoundError) as ours:
            ImageFolder(root)
        assert str(ours.value) == str(his.value)
    allowed = theirs(str(directory), allow_empty=True)
    assert ImageFolder(directory, allow_empty=True).class_to_idx == allowed.class_to_idx


def test_links_are_followed(directory: Path, theirs: Any) -> None:
    (directory / "d").symlink_to("a")
    (directory / "a" / "more").symlink_to("../c/sub")
    assert ImageFolder(directory).samples == theirs(str(directory)).samples


def test_samples_may_be_replaced(directory: Path) -> None:
    dataset = ImageFolder(directory, lookalike)
    dataset.samples = dataset.samples[1:3]
    assert len(dataset) == 2
    assert dataset[1] == (lookalike(Image.open(dataset.samples[1][0]).convert("RGB")), 1)


def test_a_batch_of_a_directory_is_announced(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = os.posix_fadvise
    dataset = ImageFolder(directory, lookalike)
    each = [dataset[n] for n in range(4)]

    def noted(fd: int, offset: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED and not loaded
        asked.append(os.fstat(fd).st_ino)
        real(fd, offset, length, advice)

    loaded: list[str] = []
    loader = dataset.loader

    def load(path: str) -> Any:
        loaded.append(path)
        return loader(path)

    dataset.loader = load
    monkeypatch.setattr(os, "posix_fadvise", noted)
    assert dataset.__getitems__([3, 1, 0]) == [each[n] for n in (3, 1, 0)]
    assert asked == [os.stat(dataset.samples[n][0]).st_ino for n in (3, 1, 0)]
    assert loaded == [dataset.samples[n][0] for n in (3, 1, 0)]


def test_a_file_that_has_gone_fails_where_it_is_read(directory: Path) -> None:
    dataset = ImageFolder(directory)
    os.unlink(dataset.samples[2][0])
    with pytest.raises(FileNotFoundError):
        dataset.__getitems__([0, 2])


# --- splits ---------------------------------------------------------------------------------------


@pytest.fixture
def tree(sample: Path) -> Iterator[imagenetfs.Tree]:
    with imagenetfs.open(sample, index_dir="none") as opened:
        yield opened


def test_a_whole_tree_is_no_folder(tree: imagenetfs.Tree) -> None:
    with pytest.raises(TypeError, match=r"takes a split of the tree, such as tree\['ILSVRC2012/tr"):
        ImageFolder(tree)  # type: ignore[arg-type]  # the mistake that is answered


def test_a_split_without_a_mount(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/val"]
    dataset = ImageFolder(split, lookalike, double)
    assert (dataset.root, dataset.classes) == ("ILSVRC2012/val", split.classes)
    assert dataset.targets == split.labels.tolist()
    assert [path for path, _ in dataset.samples] == [split.path(n) for n in range(len(split))]
    image = Image.open(io.BytesIO(split.read(7))).convert("RGB")
    assert dataset[7] == (image.tobytes(), 2 * split.labels[7])
    assert dataset.__getitems__([9, -1, 7]) == [dataset[9], dataset[len(split) - 1], dataset[7]]


def test_a_loader_of_a_split_gets_a_named_file(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/val"]
    dataset = ImageFolder(split, loader=lambda file: (file.name, file.read()))
    assert dataset[3][0] == (split.path(3), split.read(3))


def test_some_files_of_a_split(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/val"]
    dataset = ImageFolder(
        split,
        loader=lambda file: file.read(),
        is_valid_file=lambda path: path.endswith("1.JPEG"),
        allow_empty=True,
    )
    wanted = [n for n in range(len(split)) if split.path(n).endswith("1.JPEG")]
    assert 0 < len(dataset) == len(wanted) < len(split)
    items = dataset.__getitems__(range(len(dataset)))
    assert items == [(split.read(n), split.labels[n]) for n in wanted]
    dataset.samples = [dataset.samples[-1]]
    assert dataset[0] == items[-1]


def test_it_pickles(tree: imagenetfs.Tree, directory: Path) -> None:
    dataset = ImageFolder(tree["ILSVRC2012/val"], lookalike)
    other = pickle.loads(pickle.dumps(dataset))
    assert other[5] == dataset[5] and other.samples == dataset.samples
    assert other.split is not None
    other.split.tree.close()
    plain = ImageFolder(directory, lookalike)
    assert pickle.loads(pickle.dumps(plain))[2] == plain[2]
