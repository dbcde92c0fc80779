"""Contact sheets: images of a split side by side, with their names, as one picture.

This is the one place of the library that needs Pillow; it is imported when a sheet is drawn.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagenetfs.errors import MissingPackageError
from imagenetfs.library.find import ShownSplit
from imagenetfs.library.opened import OpenedSource

_TILE, _GAP, _LINE, _TEXT = 128, 8, 18, 13
_PAPER, _INK, _PALE, _NONE = (255, 255, 255), (20, 20, 20), (110, 110, 110), (214, 214, 214)
_MOST_ACROSS = 8


@dataclass(frozen=True, slots=True)
class ImagePick:
    """An image that was chosen: its place in the tree, and its class."""

    path: str
    inode: int
    wnid: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """Images under one title; each with a caption, which may be empty."""

    title: str
    images: Sequence[tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A picture that was drawn (an image of Pillow), and how many of its images were no images."""

    picture: Any
    broken: int


def images_of(opened: OpenedSource, split: ShownSplit, wnid: bytes) -> list[ImagePick]:
    """The images of one class of a split, in the order of their names."""
    title, _, shown = split
    with opened.locked(title):
        number = list(shown.backend.classes).index(wnid)
        found = sorted(shown.backend.listing(number).entries(0))
    above = f"{title}/{os.fsdecode(wnid)}"
    return [ImagePick(f"{above}/{os.fsdecode(name)}", at, wnid) for name, at, _ in found]


def batch_of(
    opened: OpenedSource, split: ShownSplit, count: int, draw: random.Random
) -> list[ImagePick]:
    """Images of a split at random, each as likely as any other, in the order drawn."""
    title, _, shown = split
    classes = shown.backend.classes
    with opened.locked(title):
        sizes = [len(shown.backend.listing(number)) for number in range(len(classes))]
    owners = [number for number, size in enumerate(sizes) for _ in range(size)]
    starts = {number: sum(sizes[:number]) for number in set(owners)}
    found = []
    for at in draw.sample(range(len(owners)), min(count, len(owners))):
        number = owners[at]
        found.append(images_of(opened, split, classes[number])[at - starts[number]])
    return found


def draw_sheet(heading: str, rows: Sequence[Row]) -> Sheet:
    """A heading, and the rows below it. Raises MissingPackageError without Pillow."""
    pillow = _pillow()
    across = min(_MOST_ACROSS, max((len(row.images) for row in rows), default=1)) or 1
    width = _GAP + max(across, 4) * (_TILE + _GAP)
    places, height = _places(rows, across)
    picture = pillow.new(width, height)
    pillow.write(picture, (_GAP, _GAP), heading, _INK, width - 2 * _GAP)
    broken = 0
    for (x, y), what, pale in places:
        if isinstance(what, bytes):
            broken += not pillow.paste(picture, (x, y), what)
        else:
            room = _TILE if pale else width - 2 * _GAP
            pillow.write(picture, (x, y), what, _PALE if pale else _INK, room)
    return Sheet(picture, broken)


_Placed = tuple[tuple[int, int], bytes | str, bool]


def _places(rows: Sequence[Row], across: int) -> tuple[list[_Placed], int]:
    """Where titles, images and captions go; and the height of all."""
    placed: list[_Placed] = []
    y = _GAP + _LINE + _GAP
    for row in rows:
        if row.title:
            placed.append(((_GAP, y), row.title, False))
            y += _LINE
        step = _TILE + (_LINE if any(caption for _, caption in row.images) else 0) + _GAP
        for number, (data, caption) in enumerate(row.images):
            x, top = _GAP + number % across * (_TILE + _GAP), y + number // across * step
            placed.append(((x, top), data, False))
            if caption:
                placed.append(((x, top + _TILE), caption, True))
        y += -(-len(row.images) // across) * step
    return placed, y


class _Pillow:
    """Pillow, and a font of its own."""

    def __init__(self) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._image, self._draw = Image, ImageDraw
        try:
            self._font: Any = ImageFont.load_default(size=_TEXT)
        except TypeError:  # before Pillow 10.1: of one size
            self._font = ImageFont.load_default()

    def new(self, width: int, height: int) -> Any:
        return self._image.new("RGB", (width, height), _PAPER)

    def write(
        self, picture: Any, at: tuple[int, int], text: str, ink: tuple[int, int, int], room: int
    ) -> None:
        """A line that ends in dots where it does not fit."""
        draw = self._draw.Draw(picture)
        shown = text
        while shown and draw.textlength(_latin(shown), font=self._font) > room:
            shown = shown.rstrip("\u2026")[:-1].rstrip() + "\u2026"
        draw.text(at, _latin(shown), fill=ink, font=self._font)

    def paste(self, picture: Any, at: tuple[int, int], data: bytes) -> bool:
        """An image in the middle of its tile; a grey tile where it cannot be decoded."""
        x, y = at
        try:
            with self._image.open(io.BytesIO(data)) as image:
                image.draft("RGB", (2 * _TILE, 2 * _TILE))
                tile = image.convert("RGB")
        except Exception:  # Pillow raises whatever its decoders do: a broken image is shown as one
            picture.paste(_NONE, (x, y, x + _TILE, y + _TILE))
            return False
        scale = _TILE / max(tile.size)
        size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
        sampling = self._image.Resampling
        tile = tile.resize(size, sampling.NEAREST if scale > 1 else sampling.LANCZOS)
        picture.paste(tile, (x + (_TILE - size[0]) // 2, y + (_TILE - size[1]) // 2))
        return True


def _latin(text: str) -> str:
    """What the font has letters for."""
    return text.replace("\u2026", "...").encode("latin-1", "replace").decode("latin-1")


def _pillow() -> _Pillow:
    try:
        return _Pillow()
    except ImportError as error:
        raise MissingPackageError("A contact sheet needs Pillow: pip install pillow.") from error


def encode_sheet(sheet: Sheet, format: str) -> bytes:
    """The file of a sheet: ``format`` is PNG or JPEG."""
    out = io.BytesIO()
    sheet.picture.save(out, format, optimize=True, quality=88)
    return out.getvalue()
