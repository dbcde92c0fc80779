"""What ImageNet is documented to hold, and what the kit says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.sample.devkit import write_devkit
from imagenetfs.source.source import Source
from imagenetfs.tree import published_counts
from imagenetfs.tree.published_counts import images_of_classes

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def test_the_documented_totals() -> None:
    assert published_counts.TOTALS["winter21_whole", "train"] == (19_167, 13_153_500)
    assert [published_counts.TOTALS["ILSVRC2012", s][1] for s in ("train", "val", "test")] == [
        *(1_281_167, 50_000, 100_000)
    ]


def test_versions() -> None:
    assert {
        *("ILSVRC2012", "ILSVRC2012_t3", "winter21_whole", "fall11_whole"),
        "tiny-imagenet-200",
        *("Imagenet8", "Imagenet16", "Imagenet32", "Imagenet64"),
    } == published_counts.VERSIONS


def test_sums_are_md5() -> None:
    for name, digest in published_counts.SUMS.items():
        assert name.startswith(b"ILSVRC2012_")
        assert len(bytes.fromhex(digest)) == 16
    assert len(set(published_counts.SUMS.values())) == len(published_counts.SUMS)


def _kit(root: Path, counts: dict[str, int], truth: list[int] | None) -> None:
    write_devkit(root / "ILSVRC2012" / "ILSVRC2012_devkit_t12", counts, truth)


def test_images_of_classes(tmp_path: Path) -> None:
    _kit(tmp_path, {"n02119789": 3, "n02100735": 5}, [2, 1, 2, 9])
    assert images_of_classes(Source(tmp_path), b"ILSVRC2012") == {
        "train": {b"n02119789": 3, b"n02100735": 5},
        "val": {b"n02119789": 1, b"n02100735": 2},  # 9 is no class: it counts for none
    }


@pytest.mark.parametrize("damage", ["no kit", "no truth", "no meta", "damaged"])
def test_a_kit_that_cannot_be_read(tmp_path: Path, damage: str) -> None:
    (tmp_path / "ILSVRC2012").mkdir()
    if damage != "no kit":
        _kit(tmp_path, {"n02119789": 3}, None if damage == "no truth" else [1])
    meta = tmp_path / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    if damage == "no meta":
        meta.unlink()
    if damage == "damaged":
        meta.write_bytes(meta.read_bytes()[:200])
    assert images_of_classes(Source(tmp_path), b"ILSVRC2012") == {}
