"""tiny-imagenet-200 of the miniature."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from imagenetfs.sample import (
    synsets,
    tiny,
)
from imagenetfs.sample.pictures import Painter
from imagenetfs.sample.plan import Plan


def test_tiny(sample: Path) -> None:
    root = sample / "tiny-imagenet-200"
    wnids = (root / "wnids.txt").read_text().split()
    assert wnids != sorted(wnids)
    assert set(wnids) == {path.name for path in (root / "train").iterdir()} < set(synsets.FIRST_TEN)
    words = dict(line.split("\t") for line in (root / "words.txt").read_text().splitlines())
    assert len(words) > 1000
    assert words["n02012849"] == words["n03126707"] == "crane"
    winter = {path.stem for path in (sample / "winter21_whole/tars").iterdir()}
    assert winter <= words.keys()
    for wnid in wnids:
        boxes = (root / "train" / wnid / f"{wnid}_boxes.txt").read_text().splitlines()
        images = {path.name for path in (root / "train" / wnid / "images").iterdir()}
        assert images == {f"{wnid}_{place}.JPEG" for place in range(len(images))}
        assert images == {line.split("\t")[0] for line in boxes}
    lines = (root / "val" / "val_annotations.txt").read_text().splitlines()
    shown = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    assert shown.keys() == {path.name for path in (root / "val" / "images").iterdir()}
    assert set(shown.values()) == set(wnids)
    for line in lines:
        x0, y0, x1, y1 = (int(part) for part in line.split("\t")[2:])
        assert 0 <= x0 < x1 < 64
        assert 0 <= y0 < y1 < 64
    with Image.open(root / "test" / "images" / "test_0.JPEG") as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))


def test_counts_of_a_small_plan(tmp_path: Path) -> None:
    plan = Plan(2, 4, 5)
    tiny.write(tmp_path / "t", plan, Painter())
    [each] = plan.tiny
    assert (tmp_path / "t" / "wnids.txt").read_text() == f"{each.wnid}\n"
    assert (
        len(list((tmp_path / "t" / "train" / each.wnid / "images").iterdir())) == plan.tiny_a_class
    )
    assert len(list((tmp_path / "t" / "val" / "images").iterdir())) == plan.tiny_val_a_class
    assert len(list((tmp_path / "t" / "test" / "images").iterdir())) == plan.tiny_val_a_class
    box = (
        (tmp_path / "t" / "train" / each.wnid / f"{each.wnid}_boxes.txt").read_text().split("\n")[0]
    )
    assert len(box.split("\t")) == 5
