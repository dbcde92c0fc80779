"""Where each version stands, where no directory in the base is called by its name: the source
itself, a level more (Kaggle's ``ILSVRC/Data/CLS-LOC``, ``images/``), a directory ``imagenet``.

Only names are looked at that discovery has read. What is taken for something by a guess is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from imagenetfs.index.archives import archive_stem, is_archive_name
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.discovery import (
    CLASS,
    DEVKIT,
    DOWN_SAMPLED,
    FALL11,
    ILSVRC2012,
    SPLIT_TAR,
    TINY,
    WINTER21,
    Discovery,
)

TRAIN_DIRECTORY = re.compile(rb"train(ing)?|ILSVRC20\d\d_img_train", re.IGNORECASE)
VAL_DIRECTORY = re.compile(rb"val(id|idation)?|ILSVRC20\d\d_img_val", re.IGNORECASE)
_ARRAYS = re.compile(rb"imagenet(8|16|32|64)_(train|val|validation)\b.*", re.IGNORECASE)

_PUBLISHED = re.compile(rb"ILSVRC2012_img_(train|val)\.tar")

OTHER_SET = re.compile(
    rb"image(nette|woof|wang).*|(tiny|mini).*|.*subset.*"
    rb"|imagenet[-_]?(v2|a|o|r|c|p|s|v|x|\d\d\d?|2[12]k|sketch|renditions|real|e)\b.*",
    re.IGNORECASE,
)
"""Directories of sets that are parts of ImageNet, or made after it."""

_GENERAL = re.compile(
    rb"imagenet([-_]?(1k|1000|2012|ilsvrc.*|full|raw|data|object.*))?|in1k|ILSVRC.*|CLS[-_]LOC"
    rb"|images?|data(sets?)?|raw([-_]?data)?",
    re.IGNORECASE,
)
"""Directories that may hold ILSVRC2012, or be a level above it."""


def locate(found: Discovery, source: Path) -> None:
    """Fill ``found.roots``."""
    own = os.fsencode(found.base.rpartition(b"/")[2] or source.name)
    _locate_tiny(found, own)
    for pattern in (WINTER21, FALL11):
        if found.named(pattern) is None and pattern.fullmatch(own):
            found.roots[pattern] = found.base
    if found.named(DOWN_SAMPLED) is None and any(
        map(_ARRAYS.fullmatch, found.directories(found.base))
    ):
        found.roots[DOWN_SAMPLED] = found.base
    root = _ilsvrc2012(found, source, own)
    if root is not None:
        found.roots[ILSVRC2012] = root


def _locate_tiny(found: Discovery, own: bytes) -> None:
    root = found.named(TINY)
    if root is None:
        here = found.base
        told = TINY.fullmatch(own) or b"wnids.txt" in found.files(here)
        if told and b"train" in found.directories(here):
            found.roots[TINY] = here
        return
    within = [name for name in found.directories(root) if TINY.fullmatch(name)]
    if len(within) == 1 and b"train" not in found.directories(root):
        found.roots[TINY] = join_path(root, within[0])


def _ilsvrc2012(found: Discovery, source: Path, own: bytes) -> bytes | None:
    """The directory in which ILSVRC2012's splits stand."""
    base, taken = found.base, set(found.roots.values())
    named = found.named(ILSVRC2012)
    if named is not None:
        if holds_split(found, named) or holds_classes(found, named):
            return named
        below = (path for path in _below(found, named) if holds_split(found, path))
        return next(below, next(iter(_with_published_tars(found)), named))
    if base not in taken:
        if ILSVRC2012.fullmatch(own) and (holds_split(found, base) or holds_classes(found, base)):
            return base
        if holds_split(found, base) and not OTHER_SET.fullmatch(own):
            has_tars = any(map(SPLIT_TAR.fullmatch, found.files(base)))
            if not has_tars and not _GENERAL.fullmatch(own):
                here = os.fsdecode(join_path(os.fsencode(source), base))
                found.warnings.append(
                    f"the splits in {here} are taken for those of ILSVRC2012; if they are "
                    "another set of classes, put them into a directory of its name."
                )
            return base
    general = [
        name
        for name in found.directories(base)
        if _GENERAL.fullmatch(name) or _has_kit(found, join_path(base, name))
    ]
    starts = [path for name in general if (path := join_path(base, name)) not in taken]
    fitting = [
        next((p for p in (start, *_below(found, start)) if holds_split(found, p)), None)
        for start in starts
    ]
    roots = [path for path in fitting if path is not None]
    roots = roots or _with_published_tars(found)
    if len(roots) > 1:
        several = ", ".join(os.fsdecode(path) for path in roots)
        found.warnings.append(
            f"several directories may be ILSVRC2012: {several}. The first is shown as such; "
            "give one as the source, or name the right one ILSVRC2012."
        )
    return roots[0] if roots else None


def _has_kit(found: Discovery, path: bytes) -> bool:
    """Whether a directory of any name has splits, and a devkit beside them."""
    is_there = any(map(DEVKIT.fullmatch, (*found.directories(path), *found.files(path))))
    return is_there and holds_split(found, path)


def _with_published_tars(found: Discovery) -> list[bytes]:
    """The directories in the base, and then itself, that hold tars of the published names."""
    every = [*(join_path(found.base, name) for name in found.directories(found.base)), found.base]
    free = [path for path in every if path not in found.roots.values()]
    return [path for path in free if _has_published_tar(found, path)]


def _has_published_tar(found: Discovery, path: bytes) -> bool:
    names = filter(_PUBLISHED.fullmatch, found.files(path))
    return any(found.number(join_path(path, name)) is not None for name in names)


def _below(found: Discovery, top: bytes) -> Iterator[bytes]:
    """The discovered directories below one, nearest first, each after its siblings of a better name
    (classification before detection, in Kaggle's tree).
    """
    level = [top]
    while level:
        level = [join_path(path, name) for path in level for name in found.directories(path)]
        level.sort(key=lambda path: not _GENERAL.fullmatch(path.rpartition(b"/")[2]))
        yield from (path for path in level if path in found.names)


def holds_split(found: Discovery, path: bytes) -> bool:
    """Whether train or val stand in a directory, as directories or as tars."""
    if any(map(SPLIT_TAR.fullmatch, found.files(path))):
        return True
    names = found.directories(path)
    return any(TRAIN_DIRECTORY.fullmatch(name) or VAL_DIRECTORY.fullmatch(name) for name in names)


def holds_classes(found: Discovery, path: bytes) -> bool:
    """Whether classes stand in a directory, as directories or as tars."""
    tars = (archive_stem(name) for name in found.files(path) if is_archive_name(name))
    return any(map(CLASS.fullmatch, (*found.directories(path), *tars)))
