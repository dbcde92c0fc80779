"""Fixed-size PNG: the size that is promised, and pixels that Pillow reads back exactly."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imagenetfs.formats import png


@pytest.mark.parametrize(("side", "size"), [(8, 268), (16, 852), (32, 3172), (64, 12420)])
def test_size_depends_on_the_side_alone(side: int, size: int) -> None:
    assert png.png_size(side) == size
    for value in (0, 255):
        assert len(png.encode(bytes([value]) * (3 * side * side), side)) == size


@pytest.mark.parametrize("side", [1, 2, 8, 16, 32, 64, png.MAX_SIDE])
def test_pillow_reads_back_what_was_put_in(side: int) -> None:
    row = np.random.default_rng(side).integers(0, 256, 3 * side * side, dtype=np.uint8)
    image = Image.open(io.BytesIO(png.encode(row.tobytes(), side)))
    image.verify()
    image = Image.open(io.BytesIO(png.encode(row, side)))
    assert (image.mode, image.size) == ("RGB", (side, side))
    assert np.array_equal(np.asarray(image), row.reshape(3, side, side).transpose(1, 2, 0))


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        png.encode(b"\0" * 191, 8)
    with pytest.raises(ValueError, match="stored block"):
        png.encode(b"", png.MAX_SIDE + 1)
