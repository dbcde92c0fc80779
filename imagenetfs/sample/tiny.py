"""tiny-imagenet-200 of the miniature: loose 64 x 64 JPEGs, boxes, annotations and word lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagenetfs.sample import members, pictures, synsets
from imagenetfs.sample.pictures import Box, Painter
from imagenetfs.sample.plan import Class, Plan
from imagenetfs.sample.randomness import generator, shuffled

SIDE = 64  # pixels


def write(root: Path, plan: Plan, painter: Painter) -> None:
    """Write the tree below ``root``."""
    root.mkdir()
    rng = generator(plan.seed, "tiny")
    for each in plan.tiny:
        _write_train(root / "train" / each.wnid, each, plan, painter)
    _write_val(root / "val", plan, painter, rng)
    for place in range(len(plan.tiny) * plan.tiny_val_a_class):
        each = plan.tiny[int(rng.integers(len(plan.tiny)))]
        data, _ = _image(painter, each, rng)
        members.write_file(root / "test" / "images" / f"test_{place}.JPEG", data)
    wnids = shuffled(sorted(each.wnid for each in plan.tiny), rng)
    members.write_file(root / "wnids.txt", "".join(f"{wnid}\n" for wnid in wnids).encode())
    # All of WordNet's nouns in the real file: many more rows than classes, ancestors too.
    words = "".join(f"{row.wnid}\t{row.words}\n" for row in synsets.table().values())
    members.write_file(root / "words.txt", words.encode())


def _write_train(directory: Path, each: Class, plan: Plan, painter: Painter) -> None:
    rng = generator(plan.seed, "tiny", each.wnid)
    boxes = []
    for place in range(plan.tiny_a_class):
        name = f"{each.wnid}_{place}.JPEG"
        data, box = _image(painter, each, rng)
        members.write_file(directory / "images" / name, data)
        boxes.append(_line(name, *box))
    members.write_file(directory / f"{each.wnid}_boxes.txt", "".join(boxes).encode())


def _write_val(directory: Path, plan: Plan, painter: Painter, rng: np.random.Generator) -> None:
    shown = shuffled([each for each in plan.tiny for _ in range(plan.tiny_val_a_class)], rng)
    lines = []
    for place, each in enumerate(shown):
        name = f"val_{place}.JPEG"
        data, box = _image(painter, each, rng)
        members.write_file(directory / "images" / name, data)
        lines.append(_line(name, each.wnid, *box))
    members.write_file(directory / "val_annotations.txt", "".join(lines).encode())


def _image(painter: Painter, each: Class, rng: np.random.Generator) -> tuple[bytes, Box]:
    picture = painter.paint(pictures.look_of(each.number), (SIDE, SIDE), rng)
    return pictures.jpeg(picture.image, rng), picture.box


def _line(*fields: object) -> str:
    return "\t".join(str(each) for each in fields) + "\n"
