"""What a list says of the classes of images: Kaggle's LOC_val_solution.csv, lists of ``name label``
lines, and wnids alone, a line for each image of val.

Spelling does not matter: marks and encodings of Windows, quotes, blanks, commas, semicolons or tabs
between the fields, a column of numbers before them, a line of headings. A label is a wnid, or a
number from 0 on: a place among the sorted wnids of the 1,000 classes, or of those that train has
where it has fewer. What a number means that fits neither is not known, and nothing is guessed.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imagenetfs.tree.wordnet import ilsvrc2012_wnids

_WNID = re.compile(rb"(?<![\w/])n\d{8}(?![\w/.])")
_BETWEEN = re.compile(rb"[,;\t]")
_NUMBERED = re.compile(rb"(?P<name>.*\S)[\s,;]+(?P<label>\d+)\s*", re.DOTALL)


@dataclass(slots=True)
class LabelList:
    """``known``: stem of a file's name -> wnid. ``unusable``: why nothing is known; empty where the
    list says nothing of classes. ``twice``: images that are named again, with another class.
    ``taken``: what its numbers are taken for, where that is a guess.
    """

    known: Mapping[bytes, bytes] = field(default_factory=dict)
    unusable: str = ""
    twice: int = 0
    taken: str = ""


def stem(name: bytes) -> bytes:
    """A file's name without directories and endings."""
    return name.rpartition(b"/")[2].partition(b".")[0]


def read_solution(text: bytes) -> LabelList:
    """Of lines in which a wnid follows an image; others do not count."""
    pairs = [pair for line in _lines(text) if (pair := _pair(line)) is not None]
    if not pairs:
        return LabelList(unusable="no line of it has an image and a WordNet id")
    return _of_pairs(pairs)


def read_list(text: bytes, trained: Collection[bytes] = ()) -> LabelList:
    """Of lines of an image and its label; ``trained``: the classes of train, as far as known."""
    lines = list(_lines(text))
    alone = [line for line in lines if _WNID.fullmatch(line)]
    if lines and len(alone) == len(lines):
        names = (b"ILSVRC2012_val_%08d" % number for number in range(1, len(lines) + 1))
        return _of_pairs(list(zip(names, alone, strict=True)))
    pairs = [_pair(line) for line in lines]
    if lines and pairs[0] is None and not lines[0][-1:].isdigit():
        del lines[0], pairs[0]  # headings
    named = [pair for pair in pairs if pair is not None]
    if named:
        return _of_pairs(named) if len(named) == len(pairs) else LabelList()
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    found = [(stem(m["name"].strip(b"\"' ")), int(m["label"])) for m in numbered if m is not None]
    return _of_places(found, trained) if found and len(found) == len(lines) else LabelList()


def _lines(text: bytes) -> Iterator[bytes]:
    """The lines that have something in them."""
    if text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        text = text.decode("utf-16", "replace").encode()
    for line in text.removeprefix(BOM_UTF8).splitlines():
        if stripped := line.strip(b"\"' \t"):
            yield stripped


def _pair(line: bytes) -> tuple[bytes, bytes] | None:
    """(stem, wnid) of a line: the image stands before its first wnid, else behind it."""
    label = _WNID.search(line)
    if label is None:
        return None
    before = line[: label.start()].strip(b",;\t\"' ")
    behind = line[label.end() :].strip(b",;\t\"' ")
    name = _BETWEEN.split(before)[-1] if before else _BETWEEN.split(behind)[0]
    name = stem(name.strip(b"\"' "))
    return (name, label[0]) if name else None


def _of_pairs(pairs: Sequence[tuple[bytes, bytes]]) -> LabelList:
    known: dict[bytes, bytes] = {}
    twice = sum(known.setdefault(name, wnid) != wnid for name, wnid in pairs)
    return LabelList(dict(pairs), twice=twice)


def _of_places(pairs: Sequence[tuple[bytes, int]], trained: Collection[bytes]) -> LabelList:
    """Of labels that are numbers."""
    labels = [label for _, label in pairs]
    numbers_lines = labels in (list(range(1, len(pairs) + 1)), list(range(len(pairs))))
    if numbers_lines or all(_number(name) == label for name, label in pairs):
        return LabelList()  # it numbers its lines, or its images
    wnids: Sequence[bytes] = ilsvrc2012_wnids()
    if max(labels) >= len(wnids):
        return LabelList(
            unusable=f"its labels are numbers up to {max(labels):,}, and not places from 0 to "
            f"{len(wnids) - 1} among the sorted classes"
        )
    taken = ""
    if trained and not {wnids[label] for label in labels} <= set(trained):
        wnids, counted = sorted(trained), f"{len(set(trained)):,} classes of train"
        if max(labels) >= len(wnids):
            return LabelList(
                unusable="its labels are numbers that are neither places among the 1,000 classes, "
                f"some of which train would not have, nor among the {counted}"
            )
        taken = f"the places among the {counted}"
    found = _of_pairs([(name, wnids[label]) for name, label in pairs])
    found.taken = taken
    return found


def _number(name: bytes) -> int | None:
    """The number that an image's name ends with."""
    digits = re.search(rb"\d+$", name)
    return int(digits[0]) if digits is not None else None
