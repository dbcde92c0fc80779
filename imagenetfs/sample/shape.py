"""The shape of the real data: how many members, how large, so that the sums come out exactly.

Counts and total sizes are those of the real archives; how they are spread over classes and images
is drawn: log-normal sizes, and class sizes of which most are the largest, as in the real train set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagenetfs.sample import synsets
from imagenetfs.sample.headers import BLOCK, END, RECORD, Integers, layout, rounded

_SIGMA = 0.6  # of the logarithm of an image's size
_SMALLEST = 1_500  # bytes
WINTER_IMAGES = 13_153_500
WINTER_MEAN = 84_000  # bytes an image: about 1.1 TB in all of them
_WINTER_SPREAD = 0.8  # of the logarithm of a class's images
_WINTER_MOST = 4.0  # times the median, about


@dataclass(frozen=True, slots=True)
class Shape:
    """Members and bytes of every archive of a full-size tree."""

    classes: int
    images: int
    least: int  # images in the smallest class
    most: int  # images in the largest class
    train_bytes: int  # of img_train.tar
    val_images: int  # the same number in every class
    val_bytes: int  # of img_val.tar
    winter_classes: int

    @property
    def headers(self) -> int:
        """About how many blocks of the file system a tree takes: one a header."""
        return self.images + self.classes + self.val_images + 3 * self.winter_classes


FULL = Shape(
    classes=1_000,
    images=1_281_167,
    least=732,
    most=1_300,
    train_bytes=147_897_477_120,
    val_images=50_000,
    val_bytes=6_744_924_160,
    winter_classes=19_167,
)


def class_counts(shape: Shape, rng: np.random.Generator) -> list[int]:
    """Images a class: from ``least`` to ``most``, both taken, most classes at ``most``."""
    missing = shape.classes * shape.most - shape.images
    span = shape.most - shape.least
    short = min(shape.classes - 1, max(1, 2 * missing // span))
    lacks = rng.integers(1, span + 1, short)
    lacks[0] = span
    surplus = int(lacks.sum()) - missing
    while surplus:
        step = 1 if surplus > 0 else -1
        movable = np.flatnonzero((lacks[1:] - step >= 1) & (lacks[1:] - step <= span)) + 1
        moved = movable[: abs(surplus)]
        lacks[moved] -= step
        surplus -= step * len(moved)
    counts = np.full(shape.classes, shape.most)
    counts[rng.permutation(shape.classes)[:short]] -= lacks
    return [int(count) for count in counts]


def image_sizes(counts: list[int], tars_bytes: int, rng: np.random.Generator) -> list[Integers]:
    """Sizes in bytes of ``counts[i]`` images in tar i, such that all these tars, each padded to
    whole records, have ``tars_bytes`` bytes together (a multiple of RECORD)."""
    drawn = rng.lognormal(0.0, _SIGMA, sum(counts))
    overhead = len(drawn) * (BLOCK + BLOCK // 2) + len(counts) * (END + RECORD // 2)
    scale = (tars_bytes - overhead) / drawn.sum()
    sizes = np.maximum(_SMALLEST, drawn * scale).astype(np.int64)
    tars = np.split(sizes, np.cumsum(counts)[:-1])
    missing = (tars_bytes - sum(layout(each)[1] for each in tars)) // RECORD
    # Whole records more or less in a tar's largest image move the tar's end by as much.
    all_tars, some_tars = divmod(missing, len(tars))
    for place, each in enumerate(tars):
        each[each.argmax()] += RECORD * (all_tars + (place < some_tars))
    return tars


def train_sizes(shape: Shape, counts: list[int], rng: np.random.Generator) -> list[Integers]:
    """Sizes in bytes of every train image, by class tar in the order of the outer tar."""
    outer = shape.train_bytes - rounded(shape.classes * BLOCK + END, RECORD)
    return image_sizes(counts, outer, rng)


def winter_sizes(shape: Shape, rng: np.random.Generator) -> list[Integers]:
    """Sizes in bytes of two to four images for each class of winter21_whole."""
    counts = rng.integers(2, 5, shape.winter_classes)
    sizes = winter_image_sizes(int(counts.sum()), rng)
    return np.split(sizes, np.cumsum(counts)[:-1])


def winter_image_sizes(images: int, rng: np.random.Generator) -> Integers:
    """Sizes in bytes of so many images of winter21_whole."""
    drawn = rng.lognormal(np.log(WINTER_MEAN) - _SIGMA**2 / 2, _SIGMA, images)
    return np.maximum(_SMALLEST, drawn).astype(np.int64)


def winter_counts(classes: int, rng: np.random.Generator) -> list[int]:
    """Images a class of so many of winter21_whole's: some have a handful, some thousands, and the
    mean is the release's.
    """
    images = max(classes, round(WINTER_IMAGES * classes / FULL.winter_classes))
    drawn = np.minimum(rng.lognormal(0.0, _WINTER_SPREAD, classes), _WINTER_MOST)
    counts = np.maximum(1, (drawn * images / drawn.sum()).astype(np.int64))
    missing = images - int(counts.sum())
    each, some = divmod(missing, classes) if missing > 0 else (0, 0)
    counts += each
    counts[:some] += 1
    while (surplus := int(counts.sum()) - images) > 0:
        counts[np.flatnonzero(counts > 1)[:surplus]] -= 1
    return [int(count) for count in counts]


def winter_wnids(shape: Shape, rng: np.random.Generator) -> list[str]:
    """Sorted wnids for winter21_whole: every real one that is known here, and others that are
    made up between the first and the last of the release."""
    known = set(synsets.imagenet_order()[: shape.classes])
    known |= {"n00004475", "n00007846", "n15102894"}
    while len(known) < shape.winter_classes:
        known.add(f"n{rng.integers(4_476, 15_102_894):08d}")
    return sorted(known)
