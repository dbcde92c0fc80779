"""The shape of the real data: its arithmetic at the real size, and at others."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from imagenetfs.sample import (
    headers,
    shape,
    synsets,
)
from imagenetfs.sample.randomness import generator
from tests.helpers.small_shape import SMALL


def test_real_counts() -> None:
    counts = shape.class_counts(shape.FULL, generator(0, "counts"))
    assert len(counts) == 1_000
    assert sum(counts) == 1_281_167
    assert (min(counts), max(counts)) == (732, 1_300)


def test_real_sizes_add_up() -> None:
    rng = generator(0, "sizes")
    counts = shape.class_counts(shape.FULL, rng)
    sizes = shape.train_sizes(shape.FULL, counts, rng)
    place = 0
    for tar in sizes:
        starts, length = headers.layout(tar)
        assert starts[0] == 0
        assert (tar > 0).all()
        place += headers.BLOCK + length
    assert headers.rounded(place + headers.END, headers.RECORD) == 147_897_477_120
    every = np.concatenate(sizes)
    assert 100_000 < every.mean() < 125_000
    assert every.max() < 20_000_000
    [val] = shape.image_sizes([shape.FULL.val_images], shape.FULL.val_bytes, rng)
    assert headers.layout(val)[1] == 6_744_924_160


def test_real_winter_wnids() -> None:
    wnids = shape.winter_wnids(shape.FULL, generator(0, "winter"))
    assert len(set(wnids)) == len(wnids) == 19_167
    assert (wnids[0], wnids[-1]) == ("n00004475", "n15102894")
    assert set(synsets.imagenet_order()) < set(wnids)
    assert all(len(wnid) == 9 and wnid[1:].isdigit() for wnid in wnids)


@pytest.mark.parametrize("seed", range(5))
def test_counts_of_other_shapes(seed: int) -> None:
    dice = random.Random(seed)
    least, most = dice.randint(1, 50), dice.randint(60, 100)
    classes = dice.randint(2, 30)
    images = (classes - 1) * most + least - dice.randint(0, (classes - 1) * 5)
    wanted = replace(SMALL, classes=classes, images=images, least=least, most=most)
    counts = shape.class_counts(wanted, generator(seed, "other"))
    assert sum(counts) == images
    assert (min(counts), max(counts)) == (least, most)


def test_headers_of_a_tree() -> None:
    assert SMALL.headers == 500 + 12 + 120 + 3 * 40


def test_sizes_of_small_tars_add_up() -> None:
    rng = generator(0, "small")
    counts = shape.class_counts(SMALL, rng)
    sizes = shape.train_sizes(SMALL, counts, rng)
    assert [len(tar) for tar in sizes] == counts
    inner = sum(headers.layout(tar)[1] + headers.BLOCK for tar in sizes)
    assert headers.rounded(inner + headers.END, headers.RECORD) == SMALL.train_bytes


def test_winter_sizes() -> None:
    tars = shape.winter_sizes(SMALL, generator(0, "winter"))
    assert len(tars) == 40
    assert {len(tar) for tar in tars} <= {2, 3, 4}
    assert min(int(tar.min()) for tar in tars) >= 1_500


def test_winter_wnids_of_a_small_shape() -> None:
    wnids = shape.winter_wnids(SMALL, generator(0, "winter"))
    assert wnids == sorted(set(wnids))
    assert len(wnids) == 40
    assert {"n00004475", "n00007846", "n15102894"} <= set(wnids)
