"""Photos: each kind is what its name says, and the odd ones stand where the real ones do."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagenetfs.sample import (
    make_sample,
)
from imagenetfs.sample.photos import THUMBNAIL, odd_numbers, take
from imagenetfs.sample.pictures import Painter
from imagenetfs.sample.plan import Class, Plan
from imagenetfs.sample.randomness import generator


@pytest.fixture
def ilsvrc(sample: Path) -> Path:
    return sample / "ILSVRC2012"


@pytest.mark.slow
def test_odd_images(ilsvrc: Path) -> None:
    kinds: Counter[tuple[str | None, str]] = Counter()
    sizes = set()
    for path in (ilsvrc / "train").rglob("*.JPEG"):
        with Image.open(path) as image:
            image.load()
            kinds[image.format, image.mode] += 1
            sizes.add(image.size)
            assert 100 <= min(image.size) <= max(image.size) <= 500
    assert kinds["PNG", "RGB"] == 1
    assert kinds["JPEG", "CMYK"] == 1
    assert kinds["JPEG", "L"] > 3
    assert len(sizes) > 500


@pytest.mark.slow
def test_known_odd_images_where_their_classes_are(tmp_path: Path) -> None:
    make_sample(tmp_path / "s", classes=15, images=4)
    train = tmp_path / "s" / "ILSVRC2012" / "train"
    with Image.open(train / "n02105855" / "n02105855_2933.JPEG") as image:
        assert image.format == "PNG"
    with Image.open(train / "n03710637" / "n03710637_5125.JPEG") as image:
        assert (image.format, image.mode) == ("JPEG", "CMYK")


@pytest.mark.parametrize(
    ("kind", "expected"), [("png", ("PNG", "RGB")), ("cmyk", ("JPEG", "CMYK")), ("jpeg", None)]
)
def test_kinds(kind: str, expected: tuple[str, str] | None) -> None:
    photo = take(Painter(), Class("n02119789", 1), generator(0, kind), kind)
    with Image.open(io.BytesIO(photo.data)) as image:
        assert (image.format, image.mode) == (expected or ("JPEG", image.mode))
        assert image.mode in ("RGB", "L", "CMYK")
    assert photo.thumbnail.shape == (THUMBNAIL, THUMBNAIL, 3)
    assert photo.thumbnail.dtype == np.uint8


def test_the_same_draw_gives_the_same_photo() -> None:
    one, two = (take(Painter(), Class("n02119789", 1), generator(3, "x")) for _ in range(2))
    assert one.data == two.data
    assert one.thumbnail.tobytes() == two.thumbnail.tobytes()


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_odd_images_stand_in_other_classes_where_theirs_are_not(classes: int) -> None:
    plan = Plan(classes, 4, 0)
    odd = odd_numbers(plan)
    assert odd.keys() <= {each.wnid for each in plan.chosen}
    kinds = [kind for numbers in odd.values() for kind in numbers.values()]
    assert sorted(kinds) == ["cmyk", "png"]


def test_odd_images_of_the_real_data() -> None:
    odd = odd_numbers(Plan(1000, 4, 0))
    assert odd["n02105855"] == {2933: "png"}
    assert odd["n03710637"] == {5125: "cmyk"}
    assert Counter(kind for numbers in odd.values() for kind in numbers.values()) == {
        "png": 1,
        "cmyk": 22,
    }
