"""tiny-imagenet-200: loose files. train without its level images/, val by
val_annotations.txt, test.

Only images are shown: the lists of boxes beside them stand under archives/ and source/.
"""

from __future__ import annotations

import os
import re
from collections import Counter

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.archives import archive_stem, is_archive_name
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.class_backend import labels_of_directories, outside_of, split_of_places
from imagenetfs.tree.class_places import choose_split, find_classes, split_name
from imagenetfs.tree.dataset import Expected, OtherLabels, Split, Version
from imagenetfs.tree.discovery import TINY, Discovery
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, WNID, FlatSplit
from imagenetfs.tree.unpacked import DirectoryPlace

_ANNOTATIONS = b"val_annotations.txt"
_IMAGES = b"images"


def versions(discovery: Discovery, index: Index) -> list[Version]:
    """tiny-imagenet-200, if it is there."""
    root = discovery.root(TINY)
    if root is None:
        return []
    finder = ArchiveSelector(discovery, index, "directories", root)
    version = Version(b"tiny-imagenet-200")
    train = _by_class(finder, b"train", finder.directory(b"train") or _train_tar(finder))
    val = _val(finder, train)
    version.splits = [split for split in (train, val, _test(finder)) if split is not None]
    shown = {split.name for split in version.splits}
    for name in (b"train", b"val", b"test"):
        if version.splits and name not in shown:
            _tell_empty(finder, name)
    return [version] if version.splits else []


def _train_tar(finder: ArchiveSelector) -> DirectoryPlace | None:
    """The tar of train, where there is no directory."""
    tars = finder.tars(re.compile(rb"train\.tar", re.IGNORECASE))
    return finder.choose(tars, None, scanned=True)[0] if tars else None


def _tell_empty(finder: ArchiveSelector, name: bytes) -> None:
    place = finder.discovery.place(finder.path(name))
    for file in finder.discovery.files(finder.root):
        if split_name(archive_stem(file)) == name and is_archive_name(file):
            path = os.fsdecode(finder.path(file))
            finder.warn(f"{path} is not used: unpack it once, where it stands.")
    if place is not None and finder.is_empty(place):
        finder.warn(f"{finder.title(place)} is empty: there is no {name.decode()}.")


def _by_class(
    finder: ArchiveSelector, name: bytes, directory: DirectoryPlace | None
) -> Split | None:
    if directory is None:
        return None
    found = find_classes(finder.index, directory)
    places = choose_split(found, name, finder.warn, finder.title(directory))
    if not places:
        return None
    aliases = (b"validation",) if name == b"val" else ()
    backend = split_of_places(finder, places)
    outside = outside_of(finder, [backend], [directory])
    return Split(name, backend, finder.title(directory), aliases, outside=outside)


def _val(finder: ArchiveSelector, train: Split | None) -> Split | None:
    directory = finder.directory(b"val", b"validation")
    if directory is None:
        return None
    index = finder.index
    has_classes = finder.has_classes(directory)
    annotations = join_path(finder.path_of(directory), _ANNOTATIONS)
    if has_classes and not _is_unsorted(finder, directory):
        split = _by_class(finder, b"val", directory)
        if split is not None and _ANNOTATIONS in finder.names(directory).files:
            said = _annotations(finder, annotations)
            split.other_labels = OtherLabels("val_annotations.txt", said.get)
        return split
    labels = _annotations(finder, annotations)
    if has_classes:
        labels |= labels_of_directories(finder, directory)[0]
    classes = {*labels.values(), *(train.wnids if train is not None and labels else ())}
    backend = FlatSplit(
        index,
        (directory.archive,),
        sorted(classes) or (UNLABELED,),
        labels.get if labels else None,
        below=directory.below,
    )
    listed = Expected.of_classes(Counter(labels.values()), "val_annotations.txt")
    told_by = (finder.unpacked.file_of(annotations),)
    labels_from, expected = (told_by, listed) if labels else ((), None)
    return Split(b"val", backend, finder.title(directory), (b"validation",), labels_from, expected)


def _is_unsorted(finder: ArchiveSelector, directory: DirectoryPlace) -> bool:
    """Whether the images still stand in images/, beside the class directories that a script made
    before it failed.
    """
    if _IMAGES not in finder.names(directory).others:
        return False
    if not finder.unpacked.has_entries(join_path(finder.path_of(directory), _IMAGES)):
        return False
    finder.warn(
        f"{finder.title(directory)} has images in images/ beside class directories, as if "
        "sorting them had failed: those in images/ are shown by val_annotations.txt."
    )
    return True


def _annotations(finder: ArchiveSelector, path: bytes) -> dict[bytes, bytes]:
    """File name -> wnid, from lines of tab-separated fields; empty, with
    a warning, if unreadable.
    """
    try:
        text = finder.unpacked.read_whole(path)
    except ImagenetfsError as error:
        finder.warn(
            f"{error} So the labels of tiny-imagenet-200/val are unknown: its images stand under "
            "val/unlabeled/."
        )
        return {}
    fields = (line.split(b"\t") for line in text.splitlines())
    return {line[0]: line[1] for line in fields if len(line) > 1 and WNID.fullmatch(line[1])}


def _test(finder: ArchiveSelector) -> Split | None:
    directory = finder.directory(b"test")
    if directory is None:
        return None
    backend = FlatSplit(finder.index, (directory.archive,), below=directory.below)
    return Split(b"test", backend, finder.title(directory))
