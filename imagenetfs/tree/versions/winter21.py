"""winter21_whole: a tar a class in tars/ (or beside the class directories),
else extracted directories.

The real one has 19,167 classes. One reading of the directory names them all; no tar is opened, and
none is looked at, before its class is touched. So a tar that is broken shows only then, and the
extracted directory takes its place.
"""

from __future__ import annotations

import re

from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.index import Index
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.discovery import WINTER21, Discovery
from imagenetfs.tree.per_class_split import PerClassSplit, classes_within
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import WNID

_WHOLE_TAR = re.compile(rb"winter_?21(_whole)?\.tar", re.IGNORECASE)
_TARS = re.compile(rb"tars?", re.IGNORECASE)


def versions(discovery: Discovery, index: Index, prefer: str) -> list[Version]:
    """winter21_whole, if it is there."""
    version = Version(b"winter21_whole", classes_beside_splits=True)
    root = discovery.root(WINTER21)
    split = _by_class(discovery, index, prefer, root) if root is not None else None
    split = split or _whole(discovery, index)
    version.splits = [split] if split is not None else []
    return [version] if split is not None else []


def _by_class(discovery: Discovery, index: Index, prefer: str, root: bytes) -> Split | None:
    beside = [root + b"/" + name for name in discovery.directories(root) if _TARS.fullmatch(name)]
    tars: dict[bytes, Place] = {}
    for directory in (root, *beside):
        for name in discovery.files(directory):
            wnid = name.removesuffix(b".tar")
            number = discovery.number(directory + b"/" + name, Kind.TAR) if wnid != name else None
            if number is not None and WNID.fullmatch(wnid):
                tars[wnid] = (number, OUTER)
    directories: dict[bytes, Place] = {}
    for name in discovery.directories(root):
        number = discovery.number(root + b"/" + name, Kind.DIRECTORY)
        if number is not None and WNID.fullmatch(name):
            directories[name] = (number, OUTER)
    first, second = (directories, tars) if prefer == "directories" else (tars, directories)
    places = {**second, **first}
    if not places:
        return None
    paths = (discovery.archives[number].path for number, _ in places.values())
    parents = {path.rpartition(b"/")[0] for path in paths}
    origin = b" and ".join(sorted(parents, reverse=first is tars))
    backend = PerClassSplit(index, places, lambda: second, tell=discovery.late_warnings.tell)
    return Split(b"train", backend, origin.decode("utf-8", "backslashreplace"))


def _whole(discovery: Discovery, index: Index) -> Split | None:
    """From one tar of class tars beside the versions' directories."""
    finder = ArchiveSelector(discovery, index, "archives", b"")
    tars = [n for n in discovery.files(b"") if _WHOLE_TAR.fullmatch(n)]
    number = discovery.number(tars[0], Kind.TAR) if tars else None
    archive = finder.choose([number], None, scanned=True)[0] if number is not None else None
    if archive is None:
        return None
    backend = PerClassSplit(
        index, classes_within(index, archive), tell=discovery.late_warnings.tell
    )
    return Split(b"train", backend, index.title(archive)) if backend.classes else None
