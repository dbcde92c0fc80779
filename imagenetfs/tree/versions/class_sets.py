"""Any other set of classes as a version of its own, ``<name>/<split>/<class>``: ImageNetV2, -A, -R,
-Sketch, -C, Imagenette, ImageNet-100, any other subset.

A set is a directory in the base with class directories or class tars in it, or one level or more
below it (``imagenette2/train/``, ``ImageNet-C/fog/3/``), the base itself if nothing else stands in
it, or a tar of that. The directories between the set and its classes name the split; what all of
them begin with says nothing. ImageNetV2's classes are called by their places in the sorted wnids of
ILSVRC2012: they are shown as these.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagenetfs.index.archives import (
    OUTER,
    Kind,
    archive_stem,
    is_archive_name,
    is_tar_name,
    tar_stem,
)
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.class_backend import (
    archives_too_deep,
    class_backend,
    outside_of,
    split_of_places,
    tars_of_splits,
    tell_outside,
)
from imagenetfs.tree.class_places import (
    FoundClass,
    by_split,
    find_classes,
    is_numbered,
    renamed,
    split_name,
    wnid_of_name,
)
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovered_classes import (
    archives_below,
    are_numbered,
    classes_below,
    split_tars,
    tar_stems,
)
from imagenetfs.tree.discovery import (
    CLASS,
    DEVKIT,
    ILSVRC2012,
    NUMBERED,
    ROOTS,
    Discovery,
    is_of_images,
)
from imagenetfs.tree.images import is_dropping, is_image, is_within_dropping
from imagenetfs.tree.locate import OTHER_SET
from imagenetfs.tree.lost_split import LostSplit
from imagenetfs.tree.peek import Peek, plain_name
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit
from imagenetfs.tree.unpacked import DirectoryPlace
from imagenetfs.tree.val_labels import find_labels
from imagenetfs.tree.versions.winter21 import WHOLE_TARS
from imagenetfs.tree.wordnet import ilsvrc2012_wnids

_EVALUATION = re.compile(
    rb"imagenet[-_]?(v2|a|o|r|c|p|sketch|renditions)\b.*|sketch|imagenetv2.*|.*_val|"
    rb"(blur|digital|noise|weather|extra)|.*_(noise|blur|transform|compression)|snow|frost|fog|"
    rb"brightness|contrast|pixelate|spatter|saturate",
    re.IGNORECASE,
)
"""Sets that are made to test with: their one split is val."""

_TAKEN = frozenset({b"source", b"archives", b"views", b".imagenetfs"})
_MEMBERS = 32
"""Members that a tar is looked into for a class, before it is taken for something else."""


def versions(
    discovery: Discovery,
    index: Index,
    prefer: str,
    known: Sequence[Version],
    kit: Devkit | None,
) -> list[Version]:
    """The sets that are there, by their names, beside the ``known`` versions."""
    finder = ArchiveSelector(discovery, index, prefer, discovery.base)
    found: dict[bytes, Version] = {}
    names = {version.name for version in known}
    for path in _free_directories(discovery, index.source.path):
        name = path.rpartition(b"/")[2] or os.fsencode(index.source.path.name)
        version = _add(finder, found, names, name, path, classes_below(discovery, index, path))
        if version is None and split_tars(discovery, path):
            version = _add_flat_tars(finder, found, names, name, path)
        if version is not None:
            _add_flat(finder, version, path, kit)
            _add_lost(finder, version, path)
            _look_outside(finder, version, path)
    flat: list[tuple[bytes, DirectoryPlace]] = []
    for number in _free_tars(discovery, index):
        path = discovery.archives[number].path
        seen = finder.look_into(number, _MEMBERS)
        if seen is None:
            continue
        stem, where = tar_stem(plain_name(path.rpartition(b"/")[2])), DirectoryPlace(number)
        if not _may_hold_classes(seen):
            if path.rpartition(b"/")[0] == discovery.base and _has_named_images(seen):
                flat.append((stem, where))
        elif _is_usable(finder, number):
            classes = _classes_in(index, where)
            if not classes:
                tars = tars_of_splits(index, number) or archives_too_deep(index, number)
                discovery.wrapped.update({path: tars} if tars else {})
            version = _add(finder, found, names, stem, path, classes)
            if version is not None:
                tell_outside(finder, where, classes, [])
                _look_outside(finder, version, path)
    if len(flat) == 1 and _is_usable(finder, flat[0][1].archive):
        _add_flat_tar(finder, found, names, *flat[0])
    elif len(flat) > 1:
        finder.warn(
            f"{len(flat):,} tars (first: {finder.title(flat[0][1])}) hold images whose names tell "
            "their classes, and are not shown: put what is one set into one directory, as "
            "ILSVRC2012/train/."
        )
    return [found[name] for name in sorted(found)]


def _add(
    finder: ArchiveSelector,
    found: dict[bytes, Version],
    known: set[bytes],
    name: bytes,
    path: bytes,
    classes: list[FoundClass],
) -> Version | None:
    """The set ``name`` of these classes, which stand at ``path``."""
    if not classes:
        return None
    title = os.fsdecode(path) or str(finder.index.source.path)
    if name in found or name in known:
        finder.warn(f"{title} is not shown: there is a version {os.fsdecode(name)} already.")
        return None
    if split_name(name) and path == finder.discovery.base:
        finder.warn(
            f"{finder.index.source.path} looks like the split {os.fsdecode(name)} of a version; "
            f"to have all of it, give its parent, {finder.index.source.path.parent}."
        )
    default = b"val" if _EVALUATION.fullmatch(name) else b"train"
    splits = by_split(classes, split_name(name) or default)
    version = Version(name if name not in _TAKEN else b"set-" + name)
    for split, places in sorted(splits.items()):
        if is_numbered(places):
            places = renamed(places, ilsvrc2012_wnids())
        aliases = (b"validation",) if split == b"val" else ()
        backend = split_of_places(finder, places)
        version.splits.append(Split(split, backend, title, aliases))
    found[name] = version
    return version


def _add_flat_tars(
    finder: ArchiveSelector,
    found: dict[bytes, Version],
    known: set[bytes],
    name: bytes,
    path: bytes,
) -> Version | None:
    """The set ``name`` of a directory's tars of splits whose images' names tell their classes."""
    version = Version(name if name not in _TAKEN else b"set-" + name)
    for stem, where in split_tars(finder.discovery, path):
        split = split_name(stem)
        if version.split(split) is not None or not _is_usable(finder, where.archive):
            continue
        backend = class_backend(finder, where, split)
        if backend is not None:
            aliases = (b"validation",) if split == b"val" else ()
            version.splits.append(Split(split, backend, finder.title(where), aliases))
    if not version.splits:
        return None
    if name in found or name in known:
        shown = os.fsdecode(name)
        finder.warn(f"{os.fsdecode(path)} is not shown: there is a version {shown} already.")
        return None
    found[name] = version
    return version


def _add_flat_tar(
    finder: ArchiveSelector,
    found: dict[bytes, Version],
    known: set[bytes],
    name: bytes,
    where: DirectoryPlace,
) -> None:
    """The set ``name`` of a tar without classes, whose images' names tell them."""
    title = finder.title(where)
    if name in found or name in known:
        finder.warn(f"{title} is not shown: there is a version {os.fsdecode(name)} already.")
        return
    split = split_name(name) or (b"val" if _EVALUATION.fullmatch(name) else b"train")
    backend = class_backend(finder, where, split)
    if backend is not None:
        aliases = (b"validation",) if split == b"val" else ()
        found[name] = Version(name if name not in _TAKEN else b"set-" + name)
        found[name].splits.append(Split(split, backend, title, aliases))


def _look_outside(finder: ArchiveSelector, version: Version, path: bytes) -> None:
    """Have the first split's ledger count the images that are in none of the set's classes."""
    flat = [split.backend for split in version.splits if isinstance(split.backend, FlatSplit)]
    shown = {archive for backend in flat for archive in backend.archives}
    archives = [n for n in archives_below(finder.discovery, path) if n not in shown]
    places = list(map(DirectoryPlace, archives))
    own = finder.discovery.place(path)
    if own is not None and own.archive not in archives:
        places.append(own)
    others = [split.backend for split in version.splits if split.backend not in flat]
    by_name = [
        DirectoryPlace(archive, OUTER, below)
        for backend in flat
        for archive in backend.archives
        for below in backend.directories(archive)
    ]
    alone = path != finder.discovery.base
    version.splits[0].outside = outside_of(finder, others, places, alone=alone, shown=by_name)


def _add_flat(finder: ArchiveSelector, version: Version, path: bytes, kit: Devkit | None) -> None:
    """The splits of a set that have no class directories: by the images' names, else by what labels
    ILSVRC2012's val, of which many sets have parts.
    """
    discovery, index = finder.discovery, finder.index
    for name in discovery.directories(path):
        split = split_name(name)
        place = discovery.place(join_path(path, name)) if split else None
        if place is None or version.split(split) is not None:
            continue
        images = finder.names(place).images
        train = version.split(b"train")
        is_val = split == b"val" and images
        labels = find_labels(finder, kit, train.wnids if train else (), place) if is_val else None
        by_name = any(map(wnid_of_name, images))
        of = labels.of if labels is not None and not by_name else wnid_of_name
        classes = {of(image) or UNLABELED for image in images}
        if not classes:
            if finder.is_empty(place):
                finder.warn(f"{finder.title(place)} is empty: there is no {split.decode()}.")
            continue
        if UNLABELED in classes and split != b"test":
            finder.warn(
                f"{finder.title(place)} has images of which nothing says what class they are: they "
                "stand in unlabeled/."
            )
        tell = discovery.late_warnings.tell
        backend = FlatSplit(
            index, (place.archive,), sorted(classes), of, below=place.below, tell=tell
        )
        aliases = (b"validation",) if split == b"val" else ()
        told_by = labels.paths if labels is not None else ()
        version.splits.append(Split(split, backend, finder.title(place), aliases, told_by))


def _add_lost(finder: ArchiveSelector, version: Version, path: bytes) -> None:
    """The splits of a set whose tars or zips are of no use."""
    discovery = finder.discovery
    for stem, where in split_tars(discovery, path):
        split, before = split_name(stem), len(discovery.lost)
        if version.split(split) is None and not _is_usable(finder, where.archive):
            lost = finder.lost_since(before, split, finder.title(where))
            version.splits += [lost] if lost is not None else []
    for zipped, error in discovery.unread.items():
        above, _, name = zipped.rpartition(b"/")
        split = split_name(archive_stem(name))
        if above == path and split and version.split(split) is None:
            version.splits.append(Split(split, LostSplit(error), os.fsdecode(zipped)))


# --- directories ----------------------------------------------------------------------------------


def _free_directories(discovery: Discovery, source: Path) -> Iterator[bytes]:
    """The directories of the base that no version is read from; the base itself, where classes or
    nothing but splits stand right in it.
    """
    base, root = discovery.base, discovery.root(ILSVRC2012)
    located = set(discovery.roots.values())
    if base not in located and root != base:
        names = [*discovery.directories(base), *tar_stems(discovery, base)]
        own = base.rpartition(b"/")[2] or os.fsencode(source.name)
        if OTHER_SET.fullmatch(own) and not any(map(discovery.named, ROOTS)):
            yield base
            return
        if any(CLASS.fullmatch(name) or split_name(name) for name in names) or are_numbered(names):
            yield base
            return
    for name in discovery.directories(base):
        if is_dropping(name):
            continue
        path = join_path(base, name)
        is_above = root is not None and (root + b"/").startswith(path + b"/")
        is_known = any(pattern.fullmatch(name) for pattern in ROOTS)
        is_part = base in located and (is_of_images(name) or name.startswith(b"ILSVRC"))
        if not (is_above or is_known or is_part or path in located or DEVKIT.fullmatch(name)):
            yield path


# --- tars -----------------------------------------------------------------------------------------


def _free_tars(discovery: Discovery, index: Index) -> Iterator[int]:
    """The tars in the base, and in directories of it, that no version is read from."""
    root = discovery.root(ILSVRC2012)
    free = _free_directories(discovery, index.source.path)
    directories = [path for path in free if path != discovery.base]
    for directory in (discovery.base, *directories):
        if directory == root:
            continue  # its tars are known by the splits that they are
        for name in discovery.files(directory):
            number = discovery.number(join_path(directory, name), Kind.TAR)
            stem = tar_stem(plain_name(name))
            if directory != discovery.base and is_tar_name(name) and split_name(stem):
                continue  # a split of the directory's set
            is_whole = any(called.fullmatch(name) for called in WHOLE_TARS)
            if number is None or CLASS.fullmatch(stem) or is_whole or DEVKIT.fullmatch(name):
                continue
            archive = discovery.archives[number]
            is_unpacked = discovery.unpacked is not None and discovery.unpacked.has(number)
            if not (is_unpacked or archive.depth or archive.path in discovery.inner_tars):
                yield number


def _has_named_images(seen: Peek) -> bool:
    """Whether the names of images among the first members of a tar tell classes."""
    names = (name for name, is_directory in seen.names if not is_directory and is_image(name))
    return any(wnid_of_name(name.rpartition(b"/")[2]) for name in names)


def _may_hold_classes(seen: Peek) -> bool:
    """Whether there is a class among the first members of a tar, or a tar that may hold some."""
    if seen.problem and not seen.compressed:
        return True  # its beginning is broken, which is told when it is read
    inner = (name for name, _ in seen.names if is_archive_name(name))
    if any(not is_within_dropping(name) for name in inner):
        return True
    parts = (tar_stem(part) for name, _ in seen.names for part in name.split(b"/")[:-1])
    tars = (tar_stem(name.rpartition(b"/")[2]) for name, _ in seen.names)
    return any(CLASS.fullmatch(part) or NUMBERED.fullmatch(part) for part in (*parts, *tars))


def _is_usable(finder: ArchiveSelector, number: int) -> bool:
    """Whether anything of a tar can be shown; what is broken of it is told."""
    return finder.choose([number], None, scanned=True)[0] is not None


def _classes_in(index: Index, where: DirectoryPlace) -> list[FoundClass]:
    found = find_classes(index, where)
    if found:
        return found
    numbered = find_classes(index, where, NUMBERED)
    groups: dict[bytes, list[FoundClass]] = {}
    for one in numbered:
        groups.setdefault(one.parent, []).append(one)
    return [one for some in groups.values() if are_numbered([s.name for s in some]) for one in some]
