"""Photos of the classes as files: JPEGs of varied size and quality, and the odd ones among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imagenetfs.sample import pictures
from imagenetfs.sample.plan import Class, Plan

# What ILSVRC2012 itself has: one PNG by the name of a JPEG, and 22 CMYK JPEGs.
KNOWN_PNG = {"n02105855": 2933}
KNOWN_CMYK = {
    "n01739381": 1309,
    "n02077923": 14822,
    "n02447366": 23489,
    "n02492035": 15739,
    "n02747177": 10752,
    "n03018349": 4028,
    "n03062245": 4620,
    "n03347037": 9675,
    "n03467068": 12171,
    "n03529860": 11437,
    "n03544143": 17228,
    "n03633091": 5218,
    "n03710637": 5125,
    "n03961711": 5286,
    "n04033995": 2932,
    "n04258138": 17003,
    "n04264628": 27969,
    "n04336792": 7448,
    "n04371774": 5854,
    "n04596742": 4225,
    "n07583066": 647,
    "n13037406": 4650,
}
_GREY_SHARE = 0.02

THUMBNAIL = 64  # pixels a side: the largest of the down-sampled versions


@dataclass(frozen=True, slots=True)
class Photo:
    """An encoded picture, and itself at THUMBNAIL x THUMBNAIL x 3 (uint8)."""

    data: bytes
    thumbnail: np.ndarray[Any, np.dtype[np.uint8]]


def take(
    painter: pictures.Painter, each: Class, rng: np.random.Generator, kind: str = "jpeg"
) -> Photo:
    """A new photo of this class; ``kind`` is jpeg (a few of them grey), cmyk or png."""
    size = pictures.photo_size(rng)
    image = painter.paint(pictures.look_of(each.number), size, rng).image
    if kind == "png":
        data = pictures.png(image)
    elif kind == "cmyk":
        data = pictures.jpeg(image, rng, mode="CMYK")
    elif rng.random() < _GREY_SHARE:
        image = painter.grey(image)
        data = pictures.jpeg(image, rng, mode="L")
    else:
        data = pictures.jpeg(image, rng)
    return Photo(data, painter.thumbnail(image, THUMBNAIL))


def odd_numbers(plan: Plan) -> dict[str, dict[int, str]]:
    """wnid -> image number -> kind, for the train images that are no ordinary JPEG.

    Those of the real data where their classes are there; else others, so that each kind is
    always in a sample.
    """
    odd: dict[str, dict[int, str]] = {}
    for known, kind in ((KNOWN_PNG, "png"), (KNOWN_CMYK, "cmyk")):
        present = [each.wnid for each in plan.chosen if each.wnid in known]
        for wnid in present:
            odd.setdefault(wnid, {})[known[wnid]] = kind
        if not present:
            place = 1 if kind == "png" else 2
            stand_in = plan.chosen[place % len(plan.chosen)].wnid
            odd.setdefault(stand_in, {})[min(known.values()) + place] = kind
    return odd
