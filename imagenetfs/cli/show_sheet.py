"""``show --sheet``: which images go on a contact sheet, and where it is written."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagenetfs.cli.terminal import say
from imagenetfs.errors import NoSpaceError, UsageError

if TYPE_CHECKING:
    from imagenetfs.library.contact_sheet import ImagePick, Row
    from imagenetfs.library.describe import Describer
    from imagenetfs.library.find import Match, ShownSplit
    from imagenetfs.library.opened import OpenedSource

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_BATCH, _ROW = 32, 8


@dataclass(frozen=True, slots=True)
class SheetRequest:
    """What the options ask for."""

    file: Path
    classes: int | None
    images: int | None
    seed: int


def write_sheet(opened: OpenedSource, wanted: str, request: SheetRequest) -> None:
    """Draw what is wanted, and write it. Raises UsageError, MissingPackageError."""
    from imagenetfs.library.contact_sheet import draw_sheet, encode_sheet
    from imagenetfs.library.describe import Describer
    from imagenetfs.library.find import TreeSearch

    format = _FORMATS.get(request.file.suffix.lower())
    if format is None:
        raise UsageError(f"--sheet writes .png or .jpg, not {request.file.name}.")
    finder = TreeSearch(opened)
    place = _one(finder.find(wanted), wanted)
    describer = Describer(opened, finder)
    heading, rows = _rows(opened, describer, place, request)
    sheet = draw_sheet(heading, rows)
    data = encode_sheet(sheet, format)
    try:
        request.file.write_bytes(data)
    except OSError as error:
        raise NoSpaceError(f"{request.file} cannot be written: {error.strerror}.") from error
    if sheet.broken:
        say(f"warning: {sheet.broken:,} of the images cannot be decoded: they are grey.")
    say(f"{request.file}: {sum(len(row.images) for row in rows):,} images of {heading}.")


def _one(places: list[Match], wanted: str) -> Match:
    """What is drawn: one class, split or version. Raises UsageError."""
    if len(places) > 1:
        named = ", ".join(place.title for place in places[:10])
        raise UsageError(f"{wanted} means several: name one of {named}.")
    [place] = places
    if place.kind == "image":
        raise UsageError("--sheet draws a class or a split; an image can be opened as it is.")
    return place


def _rows(
    opened: OpenedSource, describer: Describer, place: Match, request: SheetRequest
) -> tuple[str, list[Row]]:
    """(heading, rows)."""
    from imagenetfs.library.contact_sheet import Row, batch_of, images_of

    draw = random.Random(request.seed)

    def some(split: ShownSplit, wnid: bytes, count: int) -> list[ImagePick]:
        every = images_of(opened, split, wnid)
        return sorted(draw.sample(every, min(count, len(every))), key=lambda pick: pick.path)

    def title(wnid: bytes) -> str:
        words = describer.words(wnid)
        return f"{os.fsdecode(wnid)}  {words}" if words else os.fsdecode(wnid)

    def bytes_of(picks: Iterable[ImagePick]) -> list[bytes]:
        return [opened.read(pick.inode, pick.path) for pick in picks]

    split = _split(place)
    if place.kind == "class":
        picks = some(split, place.wnid, request.images or _BATCH)
        names = [pick.path.rpartition("/")[2] for pick in picks]
        row = Row("", list(zip(bytes_of(picks), names, strict=True)))
        return f"{split[0]}  {title(place.wnid)}", [row]
    if request.classes is None:
        picks = batch_of(opened, split, request.images or _BATCH, draw)
        names = [describer.caption(pick.wnid) for pick in picks]
        row = Row("", list(zip(bytes_of(picks), names, strict=True)))
        return f"{split[0]}, a batch at random, seed {request.seed}", [row]
    every = list(split[2].backend.classes)
    chosen = sorted(draw.sample(every, min(request.classes, len(every))))
    rows = []
    for wnid in chosen:
        picks = some(split, wnid, request.images or _ROW)
        rows.append(Row(title(wnid), [(data, "") for data in bytes_of(picks)]))
    return split[0], rows


def _split(place: Match) -> ShownSplit:
    """The split that is drawn: of several the first, which is train where there is one."""
    if not place.splits:
        raise UsageError(f"{place.title} has no images.")
    return place.splits[0]
