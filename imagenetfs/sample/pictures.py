"""Pictures that can be learned: every class has its own shape and colours.

A class's look depends on its ILSVRC2012_ID alone, so it is the same in every version and for
every seed; position, size, lighting, clutter and noise differ from picture to picture. Colours
are spread over hue and brightness by an additive recurrence (Roberts' R-sequence), which keeps
any number of classes apart about as well as a grid would.

This is the one place that needs Pillow; it is imported when a Painter is made.
"""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagenetfs import errors

if TYPE_CHECKING:
    from PIL import Image

_SHAPES = ("disc", "square", "triangle", "ring", "cross", "diamond", "bars", "star")
# 1/g, 1/g**2, ... with g the root of x**5 = x + 1: the R-sequence in four dimensions.
_STEPS = tuple(1.1673039782614187 ** -(power + 1) for power in range(4))

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """What a class looks like."""

    shape: str
    ground: Colour
    figure: Colour


@dataclass(frozen=True, slots=True)
class Picture:
    """An RGB picture and the box of its shape: x0, y0, x1, y1 in pixels."""

    image: Image.Image
    box: Box


def look_of(imagenet_id: int) -> Look:
    """The look of the class with this ILSVRC2012_ID (from 1)."""
    hue, value, turn, contrast = ((0.5 + imagenet_id * step) % 1.0 for step in _STEPS)
    ground = colorsys.hsv_to_rgb(hue, 0.65, 0.35 + 0.5 * value)
    figure = colorsys.hsv_to_rgb(
        (hue + 0.25 + 0.5 * turn) % 1.0, 0.8, 0.95 if contrast < 0.5 else 0.25
    )
    shape = _SHAPES[imagenet_id % len(_SHAPES)]
    return Look(shape, _bytes(ground), _bytes(figure))


def _bytes(colour: tuple[float, float, float]) -> Colour:
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue


def _jitter(colour: Colour, rng: np.random.Generator, reach: int) -> Colour:
    red, green, blue = np.clip(np.array(colour) + rng.integers(-reach, reach + 1, 3), 0, 255)
    return int(red), int(green), int(blue)


def photo_size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height in pixels, 120 to 500 each, small ones more often."""
    width = 120 * (500 / 120) ** (rng.random() ** 2.2)
    height = width * rng.uniform(0.66, 1.5)
    return round(min(500, width)), round(min(500, max(120, height)))


class Painter:
    """Draws and encodes pictures with Pillow."""

    def __init__(self) -> None:
        """Raises errors.MissingPackageError without Pillow."""
        try:
            from PIL import Image, ImageDraw
        except ImportError as error:
            raise errors.MissingPackageError(
                "The sample's pictures need Pillow: pip install pillow."
            ) from error
        self._image = Image
        self._draw = ImageDraw

    def paint(self, look: Look, size: tuple[int, int], rng: np.random.Generator) -> Picture:
        """A picture of this class, ``size`` being width and height in pixels."""
        width, height = size
        image = self._image.new("RGB", size, _jitter(look.ground, rng, 18))
        draw = self._draw.Draw(image)
        self._clutter(draw, look, size, rng)
        radius = min(size) * rng.uniform(0.26, 0.40)
        x = width * rng.uniform(0.40, 0.60)
        y = height * rng.uniform(0.40, 0.60)
        _draw_shape(draw, look.shape, (x, y, radius), _jitter(look.figure, rng, 18))
        box = (
            max(0, math.floor(x - radius)),
            max(0, math.floor(y - radius)),
            min(width - 1, math.ceil(x + radius)),
            min(height - 1, math.ceil(y + radius)),
        )
        return Picture(self._lit(image, rng), box)

    @staticmethod
    def _clutter(draw: Any, look: Look, size: tuple[int, int], rng: np.random.Generator) -> None:
        for _ in range(int(rng.integers(2, 7))):
            x, y = rng.random(2) * size
            reach = min(size) * rng.uniform(0.03, 0.12)
            place = (x - reach, y - reach, x + reach, y + reach)
            draw.ellipse(place, fill=_jitter(look.ground, rng, 45))

    def _lit(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Light that changes slowly over the picture, and the grain of a camera."""
        light = self._image.fromarray(rng.integers(214, 256, (3, 3), dtype=np.uint8))
        lit = np.asarray(light.resize(image.size, self._image.Resampling.BICUBIC), np.uint16)
        pixels = (np.asarray(image, np.uint16) * lit[:, :, None] >> 8).astype(np.int16)
        grain = int(rng.integers(2, 8))
        pixels += rng.integers(-grain, grain + 1, pixels.shape[:2], dtype=np.int16)[:, :, None]
        return self._image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    def grey(self, image: Image.Image) -> Image.Image:
        """The picture without its colours, still RGB."""
        return image.convert("L").convert("RGB")

    def thumbnail(self, image: Image.Image, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The picture squeezed to side x side pixels by averaging: (side, side, 3) uint8."""
        return np.asarray(image.resize((side, side), self._image.Resampling.BOX))


def _draw_shape(draw: Any, shape: str, place: tuple[float, float, float], colour: Colour) -> None:
    """Draw one of _SHAPES around (x, y) with this radius."""
    x, y, r = place
    box = (x - r, y - r, x + r, y + r)
    match shape:
        case "disc":
            draw.ellipse(box, fill=colour)
        case "square":
            draw.rectangle(box, fill=colour)
        case "ring":
            draw.ellipse(box, outline=colour, width=max(2, round(r * 0.45)))
        case "cross":
            draw.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill=colour)
            draw.rectangle((x - r / 3, y - r, x + r / 3, y + r), fill=colour)
        case "bars":
            for left in (-1.0, -0.2, 0.6):
                draw.rectangle((x + left * r, y - r, x + (left + 0.4) * r, y + r), fill=colour)
        case _:
            draw.polygon(_corners(shape, x, y, r), fill=colour)


def _corners(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    """The corners of a triangle, a diamond or a star, the first one at the top."""
    count = {"triangle": 3, "diamond": 4, "star": 10}[shape]
    corners = []
    for corner in range(count):
        reach = r * 0.5 if shape == "star" and corner % 2 else r
        angle = 2 * math.pi * corner / count - math.pi / 2
        corners.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return corners


def jpeg(
    image: Image.Image, rng: np.random.Generator, *, mode: str = "RGB", lowest: int = 60
) -> bytes:
    """The picture as a JPEG of varied quality; ``mode`` is RGB, L (grey) or CMYK."""
    out = io.BytesIO()
    image.convert(mode).save(
        out,
        "JPEG",
        quality=int(rng.integers(lowest, 95)),
        progressive=bool(rng.random() < 0.1),
    )
    return out.getvalue()


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
