"""Containers of classes: which classes an archive holds, and where, however it is built.

A tar of class tars, class directories in a tar, a directory of class tars and a directory of class
directories are one idea. A class stands at a place: a container, and the directory in it that is
the class's (none where the whole container is). Above the classes there may be directories
(``train/``, ``imagenette2/train/``): the *parent* of a class.

Only tables are looked at that are there or are made anyway: the archive's own. Where it has no
classes, but a few directories and tars, theirs are made as well: so containers may be nested, a
tar of tars of directories, a directory of tars of tars.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from imagenetfs.index.archives import OUTER, Kind, archive_stem
from imagenetfs.index.columns import Array
from imagenetfs.index.index import Index
from imagenetfs.index.table import Table
from imagenetfs.system.text import decoded
from imagenetfs.tree.class_listing import Place, rows_below
from imagenetfs.tree.discovery import CLASS, NUMBERED, is_of_boxes
from imagenetfs.tree.images import is_dropping, is_image, is_within_dropping
from imagenetfs.tree.unpacked import DirectoryPlace

_FEW, _FEW_TARS = 8, 32
"""Directories, and tars too, without a class's name that are looked into, in an archive without
classes."""

DEEPEST = 2
"""Archives within one another that may lie around one that is looked into for further ones."""

_SPLIT = re.compile(
    rb"(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id|idation)?)|(?P<test>test))(?:[._-]?x?\d*)", re.I
)
"""Kaggle's parts of ImageNet-100 are called train.X1 and on."""

_NAMED_BY_CLASS = re.compile(rb"(?:.*_)?(n\d{8})(?:_\d+)?\.\w+", re.DOTALL)


ClassPlace = DirectoryPlace
"""Where a class stands: a container, or a directory in one."""


class FoundClass(NamedTuple):
    """A class by its name in the archive, and the directories above it there."""

    parent: bytes
    name: bytes
    place: ClassPlace


def find_classes(
    index: Index, where: DirectoryPlace, fits: re.Pattern[bytes] = CLASS
) -> list[FoundClass]:
    """All classes whose names fit in an archive, or in a directory of one. Of the same name under
    the same parent the tar comes last.
    """
    found = list(_in_outer(index, where, fits))
    if where.below:
        return found
    entry = index.archives[where.archive]
    if not found:
        found += _a_level_deeper(index, where.archive, fits)
    elif entry.kind is Kind.DIRECTORY and (own := split_name(entry.path)):
        found += _a_level_deeper(index, where.archive, fits, own)  # train/train/
    return found


def _in_outer(index: Index, where: DirectoryPlace, fits: re.Pattern[bytes]) -> Iterator[FoundClass]:
    archive = where.archive
    container = index.container(archive)
    members = container.members
    is_packed = index.archives[archive].kind is not Kind.DIRECTORY
    if is_packed:
        yield from _directories(members, where, fits)
    rows = rows_below(members, where.below)
    for inner, row in enumerate(index.nested(archive).tolist()):
        if row not in rows:
            continue
        parent, _, name = members.name(row)[_length(where) :].rpartition(b"/")
        wnid = archive_stem(name)
        # Tars that are called by numbers are shards of other programs, and no classes.
        if _is_beside(parent):
            continue
        if fits.fullmatch(name) or CLASS.fullmatch(wnid):
            # A file has one inode: what is an archive of its own is named as that.
            own = index.promoted(archive, row)
            place = ClassPlace(archive, inner) if own is None else ClassPlace(own, OUTER)
            yield FoundClass(parent, wnid, place)


def _a_level_deeper(
    index: Index, archive: int, fits: re.Pattern[bytes], called: bytes = b""
) -> Iterator[FoundClass]:
    """Classes in the few directories and tars of an archive that has none itself; in one that has
    some, in those that are ``called`` as the split that it is.
    """
    container = index.container(archive)
    members, rows = container.members, index.nested(archive).tolist()
    is_directory = [stat.S_ISDIR(members.mode(row)) for row in rows]
    if not called and (sum(is_directory) > _FEW or len(rows) > _FEW_TARS):
        return
    for inner, row in enumerate(rows):
        name = members.name(row)
        if _is_beside(name) or (called and split_name(archive_stem(name)) != called):
            continue
        own = None if is_directory[inner] else _own_archive(index, archive, inner, row)
        if own is not None:
            found = find_classes(index, DirectoryPlace(own), fits)
        elif is_directory[inner] or index.archives[archive].kind is not Kind.DIRECTORY:
            within = index.container(archive, inner).members
            found = list(_directories(within, ClassPlace(archive, inner), fits))
        else:
            continue
        above = name if is_directory[inner] else _above_in_tar(name)
        yield from (_below(above, one) for one in found)
    if index.archives[archive].kind is Kind.DIRECTORY and not called:
        yield from _in_deeper_tars(index, archive, fits)


def _own_archive(index: Index, archive: int, inner: int, row: int) -> int | None:
    """The number of a tar or zip in an archive, which is made an archive of its own: it may hold
    tars and zips again."""
    own = index.promoted(archive, row)
    entry = index.archives[archive]
    if own is not None or entry.kind is Kind.DIRECTORY or entry.depth >= DEEPEST:
        return own
    return index.promote(archive, inner)


def _in_deeper_tars(index: Index, archive: int, fits: re.Pattern[bytes]) -> Iterator[FoundClass]:
    """Classes in the tars that discovery has found in directories of a directory."""
    top = index.archives[archive].path + b"/"
    for one in index.archives:
        name = one.path[len(top) :]
        is_packed = one.kind in (Kind.TAR, Kind.ZIP) and not one.depth
        if not is_packed or not one.path.startswith(top) or b"/" not in name:
            continue
        parent, _, base = name.rpartition(b"/")
        if CLASS.fullmatch(archive_stem(base)):
            yield FoundClass(parent, archive_stem(base), ClassPlace(one.number, OUTER))
        else:
            for found in find_classes(index, DirectoryPlace(one.number), fits):
                yield _below(_above_in_tar(name), found)


def _above_in_tar(name: bytes) -> bytes:
    """The directories above what is in a tar: those above it, and itself if it is called as a
    split; how the parts of one are called says nothing.
    """
    stem = archive_stem(name)
    return stem if split_name(stem) else name.rpartition(b"/")[0]


def _below(name: bytes, found: FoundClass) -> FoundClass:
    return found._replace(parent=b"/".join(filter(None, (name, found.parent))))


def _directories(
    members: Table, place: ClassPlace, fits: re.Pattern[bytes]
) -> Iterator[FoundClass]:
    rows, every = rows_below(members, place.below), members.directories()
    first, last = np.searchsorted(every, (rows.start, rows.stop))
    for row in every[first:last].tolist():
        if not fits.fullmatch(members.base_name(row)):
            continue
        path = members.name(row)
        parent, _, name = path[_length(place) :].rpartition(b"/")
        if not _is_beside(parent):
            yield FoundClass(parent, name, place._replace(below=path))


def _is_beside(parent: bytes) -> bool:
    """Whether what stands in a directory is called as a class and is none."""
    return is_within_dropping(parent) or is_of_boxes(parent)


def _length(place: DirectoryPlace) -> int:
    """Of what the names in a place begin with."""
    return len(place.below) + bool(place.below)


# --- from classes to splits -----------------------------------------------------------------------


def split_name(parent: bytes) -> bytes:
    """``train``, ``val`` or ``test`` where a directory is called so; else b""."""
    found = _SPLIT.fullmatch(parent.rpartition(b"/")[2])
    return (found.lastgroup or "").encode() if found else b""


def by_split(found: Iterable[FoundClass], default: bytes) -> dict[bytes, dict[bytes, ClassPlace]]:
    """Split -> class -> place. The directories that all parents begin with say nothing; the rest
    names the split, its parts joined by ``-``. Classes right there are the split ``default``. Two
    directories of one split that have a class in common are splits of their own.
    """
    every = list(found)
    parents = {one.parent for one in every}
    common = _common([parent.split(b"/") if parent else [] for parent in parents])
    splits: dict[bytes, dict[bytes, ClassPlace]] = {}
    for one in every:
        parts = one.parent.split(b"/")[common:] if one.parent else []
        called = {split_name(part) for part in parts or [one.parent]}
        name = called.pop() if len(called) == 1 else b""
        name = name or b"-".join(parts) or default
        if one.name in splits.get(name, {}):
            name = one.parent.replace(b"/", b"-") or name
        free = name
        for number in count(2):
            if one.name not in splits.get(free, {}):
                break
            free = name + b"-%d" % number
        splits.setdefault(free, {})[one.name] = one.place
    return splits


def _common(paths: Sequence[Sequence[bytes]]) -> int:
    shortest = min(map(len, paths), default=0)
    return next((at for at in range(shortest) if len({path[at] for path in paths}) > 1), shortest)


def choose_split(
    found: Sequence[FoundClass], wanted: bytes, tell: Callable[[str], None], title: str
) -> dict[bytes, ClassPlace]:
    """The classes of one split in an archive that should hold just that: those below a directory
    that is called so, else all that stand at one place; what is left aside is told.
    """
    groups: dict[bytes, list[FoundClass]] = {}
    for one in found:
        groups.setdefault(one.parent, []).append(one)
    called = [parent for parent in groups if split_name(parent) == wanted]
    called += [p for p in groups if p not in called and any(_is_around(p, one) for one in called)]
    free = [parent for parent in groups if not split_name(parent)]
    chosen: dict[bytes, ClassPlace] = {}
    aside: list[FoundClass] = []
    for parent in sorted(called or free or groups, key=lambda p: (-len(groups[p]), p)):
        own = {one.name: one for one in groups[parent]}
        aside += [one for name, one in own.items() if name in chosen]
        chosen = {name: one.place for name, one in own.items()} | chosen
    if aside:
        first = decoded(b"/".join(filter(None, aside[0][:2])))
        tell(
            f"{title} holds classes twice: {len(aside):,} of them (first: {first}) stand in "
            "another directory too, and are shown from the one with the most classes."
        )
    return chosen


def _is_around(outer: bytes, inner: bytes) -> bool:
    """Whether a directory lies in another one: half of the classes were unpacked a level deeper."""
    return not outer or inner.startswith(outer + b"/")


# --- flat images ----------------------------------------------------------------------------------


def wnid_of_name(name: bytes) -> bytes | None:
    """The class that an image's name says: n01440764_10026.JPEG, or Hugging Face's
    n01440764_10026_n01440764.JPEG and ILSVRC2012_val_00000001_n01751748.JPEG.
    """
    found = _NAMED_BY_CLASS.fullmatch(name)
    return found[1] if found else None


def classes_by_name(names: Iterable[bytes]) -> Counter[bytes]:
    """How many of these images are of which class, as far as their names say."""
    return Counter(wnid for name in names if (wnid := wnid_of_name(name)) is not None)


def image_names(members: Table, below: bytes = b"", *, only_top: bool = False) -> list[bytes]:
    """The base names of the images in a table, or below a directory of it; ``only_top``: of those
    in no other directory.
    """
    if only_top and not below and len(members.nested) == len(members):
        return []  # a tar of class tars
    names = (members.name(row) for row in _regular_below(members, below).tolist())
    start = len(below) + bool(below)
    chosen = (name for name in names if not (only_top and b"/" in name[start:]))
    return [name.rpartition(b"/")[2] for name in chosen if is_image(name[start:])]


def names_below(index: Index, where: DirectoryPlace) -> list[bytes]:
    """The base names of all images in an archive; in a directory those of the few directories and
    tars in it too, and in an archive of archives those in these.
    """
    archive = where.archive
    members = index.container(archive).members
    names = image_names(members, where.below)
    if index.archives[archive].kind is not Kind.DIRECTORY:
        for part in () if where.below else parts_of_flat(index, archive):
            names += image_names(index.container(*part).members)
        return names
    within: list[ClassPlace] = []
    tars: list[ClassPlace] = []
    for inner, row in enumerate(index.nested(archive).tolist()):
        if is_dropping(members.name(row)):
            continue
        if stat.S_ISDIR(members.mode(row)):
            within.append(ClassPlace(archive, inner))
            continue
        own = index.promoted(archive, row)
        tars.append(ClassPlace(archive, inner) if own is None else ClassPlace(own, OUTER))
    for some, most in ((within, _FEW), (tars, _FEW_TARS)):
        for place in some if len(some) <= most else ():
            names += image_names(index.container(place.archive, place.inner).members)
    return names


def parts_of_flat(index: Index, archive: int) -> list[Place]:
    """The few archives in one without images of its own, and those in these: loose images in
    parts."""
    members, rows = index.container(archive).members, index.nested(archive).tolist()
    if not 0 < len(rows) <= _FEW_TARS or image_names(members):
        return []
    found: list[Place] = []
    for inner, row in enumerate(rows):
        if is_dropping(members.name(row)):
            continue
        own = index.promoted(archive, row)
        found.append((archive, inner) if own is None else (own, OUTER))
        found += parts_of_flat(index, own) if own is not None else []
    return found


def _regular_below(members: Table, below: bytes) -> Array:
    rows, every = rows_below(members, below), members.regular()
    first, last = np.searchsorted(every, (rows.start, rows.stop))
    return every[first:last]


def outside_of_classes(
    members: Table, places: Iterable[ClassPlace], below: bytes = b""
) -> list[bytes]:
    """The images of a tar, or below a directory of it, that stand in none of these directories, by
    name.
    """
    rows = rows_outside(members, [place.below for place in places if place.below], below)
    names = (members.name(row) for row in rows.tolist())
    return [name for name in names if is_image(name)]


def rows_outside(members: Table, directories: Iterable[bytes], below: bytes = b"") -> Array:
    """The regular rows of a table, or below a directory of it, that stand below none of these
    directories of it.
    """
    rows = _regular_below(members, below)
    outside = np.ones(len(rows), dtype=bool)
    for directory in directories:
        within = members.within(members.find(directory))
        first, last = np.searchsorted(rows, (within.start, within.stop))
        outside[first:last] = False
    return rows[outside]


def renamed(places: Mapping[bytes, ClassPlace], wnids: Sequence[bytes]) -> dict[bytes, ClassPlace]:
    """Classes that are called by their places in the sorted ``wnids``, by wnid."""
    return {wnids[int(name)]: place for name, place in places.items() if int(name) < len(wnids)}


def is_numbered(names: Iterable[bytes]) -> bool:
    """Whether all of these are called by numbers, and there are several."""
    some = list(names)
    return len(some) > 1 and all(map(NUMBERED.fullmatch, some))


def together(places: Mapping[bytes, ClassPlace]) -> list[ClassPlace]:
    """The containers of classes, each once."""
    return list(dict.fromkeys(place._replace(below=b"") for place in places.values()))
