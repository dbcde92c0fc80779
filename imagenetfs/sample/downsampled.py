"""DownSampled of the miniature: the same photos as in ILSVRC2012, at 8, 16, 32 and 64 pixels.

A row of ``data`` is the R plane, then G, then B; ``labels`` are ILSVRC2012_IDs. Every size has
its own order of train rows, ten batches (the last one has the rows that are left over), and its
own way of being written: np.savez (stored) or np.savez_compressed (deflated). Both give the zip
members a fixed date, so that equal arrays make equal files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagenetfs.sample import members
from imagenetfs.sample.ilsvrc2012 import Thumbnails
from imagenetfs.sample.photos import THUMBNAIL
from imagenetfs.sample.plan import Plan
from imagenetfs.sample.randomness import generator

Array = np.ndarray[Any, np.dtype[Any]]

BATCHES = 10


@dataclass(frozen=True, slots=True)
class Form:
    """How one size is written: dtype of the labels, and whether train and val are deflated."""

    labels: str
    train_deflated: bool
    val_deflated: bool


FORMS = {
    8: Form("int64", train_deflated=False, val_deflated=True),
    16: Form("uint16", train_deflated=False, val_deflated=False),
    32: Form("int64", train_deflated=True, val_deflated=False),
    64: Form("int32", train_deflated=False, val_deflated=False),
}


def write(root: Path, plan: Plan, thumbnails: Thumbnails) -> None:
    """Write all nine directories below ``root``."""
    root.mkdir()
    # Val rows stand in the order of class directories and of names within them.
    val = sorted(thumbnails.val, key=lambda each: (each[1].wnid, each[0]))
    for side, form in FORMS.items():
        order = generator(plan.seed, "downsampled", side).permutation(len(thumbnails.train))
        train = [thumbnails.train[row] for row in order]
        data = _rows(np.stack([each[2] for each in train]), side)
        labels = np.array([each[1].number for each in train], form.labels)
        _write_train(root, side, data, labels)
        _save(
            root / f"Imagenet{side}_val_npz" / "val_data.npz",
            form.val_deflated,
            data=_rows(np.stack([each[2] for each in val]), side),
            labels=np.array([each[1].number for each in val], form.labels),
        )


def _rows(pictures: Array, side: int) -> Array:
    """(N, 64, 64, 3) uint8 averaged to (N, 3 * side * side) uint8, plane by plane."""
    count, factor = len(pictures), THUMBNAIL // side
    blocks = pictures.reshape(count, side, factor, side, factor, 3)
    sums = blocks.sum(axis=(2, 4), dtype=np.uint32)
    small: Array = (sums + factor * factor // 2) // (factor * factor)
    rows: Array = small.astype(np.uint8).transpose(0, 3, 1, 2).reshape(count, -1)
    return rows


def _write_train(root: Path, side: int, data: Array, labels: Array) -> None:
    mean = data.mean(axis=0)
    size = len(data) // BATCHES
    for batch in range(1, BATCHES + 1):
        part = "" if side < THUMBNAIL else "_part1" if batch <= 5 else "_part2"
        rows = slice(size * (batch - 1), size * batch if batch < BATCHES else None)
        _save(
            root / f"Imagenet{side}_train{part}_npz" / f"train_data_batch_{batch}.npz",
            FORMS[side].train_deflated,
            data=data[rows],
            labels=labels[rows],
            mean=mean,
        )


def _save(path: Path, deflated: bool, **arrays: Array) -> None:
    path.parent.mkdir(exist_ok=True)
    save: Callable[..., None] = np.savez_compressed if deflated else np.savez
    save(path, **arrays)
    members.stamp(path, members.JUNE_2012)
