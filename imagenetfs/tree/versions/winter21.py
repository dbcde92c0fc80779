"""winter21_whole and fall11_whole: a tar a class in tars/ (or beside the class directories), else
extracted directories, else one tar of all.

The real winter21 has 19,167 classes. One reading of the directory names them all; no tar is opened,
and none is looked at, before its class is touched. So a tar that is broken shows only then, and the
extracted directory takes its place.
"""

from __future__ import annotations

import os
import re

from imagenetfs.errors import BrokenArchivesError
from imagenetfs.index.archives import OUTER, Kind, tar_stem
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.class_backend import (
    broken_within,
    class_backend,
    outside_of,
    split_of_places,
)
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.class_places import choose_split
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.discovered_classes import (
    archives_below,
    classes_below,
    classes_in_tars_below,
)
from imagenetfs.tree.discovery import FALL11, WINTER21, Discovery
from imagenetfs.tree.per_class_split import PerClassSplit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import WNID
from imagenetfs.tree.unpacked import DirectoryPlace

_WHOLE = (
    (b"winter21_whole", WINTER21, re.compile(rb"winter_?21(_whole)?\.tar(\..*)?", re.IGNORECASE)),
    (b"fall11_whole", FALL11, re.compile(rb"fall_?11(_whole)?\.tar(\..*)?", re.IGNORECASE)),
)
"""Name, how the directory is called, how the tar of all is called."""

WHOLE_TARS = tuple(tar for _, _, tar in _WHOLE)

_TARS = re.compile(rb"tars?", re.IGNORECASE)


def versions(discovery: Discovery, index: Index, prefer: str) -> list[Version]:
    """Those that are there."""
    found = []
    for name, directory, tar in _WHOLE:
        root, before = discovery.root(directory), len(discovery.lost)
        split = _by_class(discovery, index, prefer, root) if root is not None else None
        split = split or _whole(discovery, index, tar, discovery.base)
        if split is None and root is not None:
            split = _whole(discovery, index, tar, root)
        if split is None:
            finder = ArchiveSelector(discovery, index, prefer, root or discovery.base)
            split = finder.lost_since(before, b"train", os.fsdecode(root or name))
        if split is not None:
            found.append(Version(name, [split], classes_beside_splits=True))
    return found


def _by_class(discovery: Discovery, index: Index, prefer: str, root: bytes) -> Split | None:
    beside = [
        join_path(root, name) for name in discovery.directories(root) if _TARS.fullmatch(name)
    ]
    tars: dict[bytes, Place] = {}
    for directory in (root, *beside):
        for name in discovery.files(directory):
            wnid = tar_stem(name)
            path = join_path(directory, name)
            number = discovery.number(path, Kind.TAR) if wnid != name else None
            if number is not None and WNID.fullmatch(wnid):
                tars[wnid] = (number, OUTER)
    directories: dict[bytes, Place] = {}
    for name in discovery.directories(root):
        number = discovery.number(join_path(root, name), Kind.DIRECTORY)
        if number is not None and WNID.fullmatch(name):
            directories[name] = (number, OUTER)
    first, second = (directories, tars) if prefer == "directories" else (tars, directories)
    places = {**second, **first}
    if not places:
        return _in_levels(discovery, index, prefer, root)
    paths = (discovery.archives[number].path for number, _ in places.values())
    parents = {path.rpartition(b"/")[0] for path in paths}
    origin = b" and ".join(sorted(parents, reverse=first is tars))
    backend = PerClassSplit(index, places, lambda: second, tell=discovery.late_warnings.tell)
    finder = ArchiveSelector(discovery, index, prefer, root)
    numbers = (discovery.number(path) for path in (root, *beside))
    tops = [DirectoryPlace(number) for number in numbers if number is not None]
    split = Split(b"train", backend, decoded(origin))
    split.outside = outside_of(finder, [backend], tops, alone=True, instead=second)
    return split


def _in_levels(discovery: Discovery, index: Index, prefer: str, root: bytes) -> Split | None:
    """From classes that stand one level or more below the version's directory."""
    finder = ArchiveSelector(discovery, index, prefer, root)
    title = os.fsdecode(root)
    found = classes_below(discovery, index, root) or classes_in_tars_below(discovery, index, root)
    places = choose_split(found, b"train", finder.warn, title)
    if not places:
        top = discovery.number(root)
        broken = broken_within(index, top) if top is not None else []
        if broken:
            discovery.lose(BrokenArchivesError(" ".join(broken)))
        return None
    backend = split_of_places(finder, places)
    tops = list(map(DirectoryPlace, archives_below(discovery, root)))
    outside = outside_of(finder, [backend], tops, alone=True)
    return Split(b"train", backend, title, outside=outside)


def _whole(
    discovery: Discovery, index: Index, called: re.Pattern[bytes], where: bytes
) -> Split | None:
    """From one tar of all classes."""
    finder = ArchiveSelector(discovery, index, "archives", where)
    tars = finder.tars(called)
    where_from = finder.choose(tars[:1], None, scanned=True)[0] if tars else None
    if where_from is None:
        return None
    backend = class_backend(finder, where_from, b"train")
    if backend is None:
        return None
    outside = outside_of(finder, [backend], [where_from])
    return Split(b"train", backend, finder.title(where_from), outside=outside)
