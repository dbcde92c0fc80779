"""Classes in the directories that discovery has seen: directories and tars that are archives of
their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imagenetfs.index.archives import Kind, archive_stem, is_tar_name, tar_stem
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.class_places import (
    FoundClass,
    find_classes,
    is_numbered,
    split_name,
)
from imagenetfs.tree.discovery import CLASS, NUMBERED, Discovery, is_of_boxes
from imagenetfs.tree.images import is_dropping, is_within_dropping
from imagenetfs.tree.unpacked import DirectoryPlace


def classes_below(discovery: Discovery, index: Index, top: bytes) -> list[FoundClass]:
    """The classes in a directory and in those below it, by wnid, or by number where none is."""
    found = list(_walk(discovery, index, top, CLASS))
    return found or [one for one in _walk(discovery, index, top, NUMBERED) if one.name.isdigit()]


def _walk(
    discovery: Discovery, index: Index, top: bytes, fits: re.Pattern[bytes]
) -> Iterator[FoundClass]:
    """The classes in a directory and in those below it that discovery has listed."""
    pending = [top]
    while pending:
        path = pending.pop()
        parent = path[len(top) :].lstrip(b"/")
        if path not in discovery.names:
            place = discovery.place(path)
            if place is not None and split_name(path):
                for one in find_classes(index, place, fits):
                    yield one._replace(parent=join_path(parent, one.parent))
            continue
        names = discovery.directories(path)
        if fits is NUMBERED and not are_numbered(names):
            names = [name for name in names if not NUMBERED.fullmatch(name)]
        for stem, place in split_tars(discovery, path):
            for one in find_classes(index, place, fits):
                yield one._replace(parent=join_path(join_path(parent, stem), one.parent))
        packed: set[bytes] = set()
        for name in discovery.files(path):
            stem = archive_stem(name)
            if stem == name or not CLASS.fullmatch(stem):
                continue
            place = discovery.container(join_path(path, name))
            if place is not None:
                packed.add(stem)
                yield FoundClass(parent, stem, place)
        for name in names:
            if name in packed:
                continue  # the tar of a class is shown, and not its directory
            own = join_path(path, name)
            place = discovery.place(own) if fits.fullmatch(name) else None
            if place is not None:
                yield FoundClass(parent, name, place)
            elif not (is_dropping(name) or is_of_boxes(name)):
                pending.append(own)


def split_tars(discovery: Discovery, path: bytes) -> list[tuple[bytes, DirectoryPlace]]:
    """The tars in a listed directory that are called as splits (``train.tar``), without their
    ending. Those right in the base are sets of their own.
    """
    if path == discovery.base:
        return []
    tars = [name for name in discovery.files(path) if is_tar_name(name)]
    places = ((tar_stem(name), discovery.container(join_path(path, name))) for name in tars)
    return [(stem, place) for stem, place in places if place is not None and split_name(stem)]


def tar_stems(discovery: Discovery, path: bytes) -> list[bytes]:
    """The names of the tars and zips in a listed directory, without their ending."""
    return [stem for name in discovery.files(path) if (stem := archive_stem(name)) != name]


def are_numbered(names: Sequence[bytes]) -> bool:
    """Whether these are classes called by numbers, from 0 on."""
    return b"0" in names and is_numbered(names)


def classes_in_tars_below(discovery: Discovery, index: Index, top: bytes) -> list[FoundClass]:
    """The classes in the discovered tars below a directory that are called as no class."""
    found: list[FoundClass] = []
    for archive in discovery.archives:
        path = archive.path
        if (
            archive.kind is Kind.TAR
            and not archive.depth
            and path.startswith(top + b"/")
            and not is_within_dropping(path)
        ):
            found += find_classes(index, DirectoryPlace(archive.number))
    return found


def archives_below(discovery: Discovery, path: bytes) -> list[int]:
    """A tar by itself; of a directory it and those below it that discovery has listed, and
    the directories of splits in these.
    """
    own = discovery.number(path)
    if own is None or discovery.archives[own].kind is not Kind.DIRECTORY:
        return [own] if own is not None else []
    paths = [p for p in discovery.names if p == path or not path or p.startswith(path + b"/")]
    paths += [join_path(p, n) for p in paths for n in discovery.directories(p) if split_name(n)]
    numbers = (discovery.number(p) for p in dict.fromkeys(paths) if not is_within_dropping(p))
    return [number for number in numbers if number is not None]
