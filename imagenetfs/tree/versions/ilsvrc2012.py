"""ILSVRC2012 and ILSVRC2012_t3: train and t3 from whatever holds their classes, val labelled by its
class directories or by what else tells, test with its patch laid over it; an extracted directory
takes the place of an archive that is missing or broken.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError
from imagenetfs.formats.tar.header import name_of
from imagenetfs.index.archives import OUTER, Kind, archive_stem, is_archive_name, tar_stem
from imagenetfs.index.index import Index
from imagenetfs.tree.class_backend import class_backend, labels_of_directories, outside_of
from imagenetfs.tree.class_places import (
    classes_by_name,
    find_classes,
    image_names,
    names_below,
    outside_of_classes,
    split_name,
    wnid_of_name,
)
from imagenetfs.tree.dataset import Expected, OtherLabels, Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import CLASS, ILSVRC2012, Discovery
from imagenetfs.tree.labels import DEVKIT_NAMES
from imagenetfs.tree.lost_split import LostSplit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import (
    UNLABELED,
    FlatSplit,
    SplitBackend,
    image_number,
)
from imagenetfs.tree.split_directories import SPEAKING, SplitDirectories, role_of
from imagenetfs.tree.unpacked import DirectoryPlace
from imagenetfs.tree.val_labels import find_labels

_TRAIN = re.compile(rb"ILSVRC2012_img_train\.tar")
_T3 = re.compile(rb"ILSVRC2012_img_train_t3\.tar")
_VAL = re.compile(rb"ILSVRC2012_img_val\.tar")
_TEST = re.compile(rb"ILSVRC2012_img_test(?!_patch)\w*\.tar")
_PATCH = re.compile(rb"ILSVRC2012_img_test_patch\w*\.tar")

_NAMED = (("train", _TRAIN), ("train_t3", _T3), ("val", _VAL), ("test", _TEST), ("patch", _PATCH))
_IMAGE_OF = re.compile(rb"ILSVRC20\d\d_(val|test)_\d{8}(?:_n\d{8})?\.\w+")
_FLAT_VAL = re.compile(rb"ILSVRC20\d\d_val_\d{8}\.\w+")
_ANY = re.compile(rb".*", re.DOTALL)
Order = Callable[[], Sequence[bytes]]
"""The classes of val's images, in the order of these."""


class _Labels(NamedTuple):
    """What tells val's labels, or helps to read them: the devkit, the classes of train."""

    kit: Devkit | None
    trained: Sequence[bytes]


def versions(discovery: Discovery, index: Index, prefer: str, kit: Devkit | None) -> list[Version]:
    """ILSVRC2012 and ILSVRC2012_t3, as far as they are there."""
    root = discovery.root(ILSVRC2012)
    if root is None:
        return []
    finder = ArchiveSelector(discovery, index, prefer, root)
    tars, directories = _tars_by_role(finder), SplitDirectories(finder)
    main = Version(b"ILSVRC2012")
    before = len(discovery.lost)
    train = _by_class(finder, tars["train"], directories.find("train"), counted=kit is not None)
    train = train or _lost(finder, before, "train", tars["train"])
    before = len(discovery.lost)
    val, main.val_wnids, main.val_wnids_from = _val(
        finder, tars["val"], directories.find("val"), _Labels(kit, train.wnids if train else ())
    )
    val = val or _lost(finder, before, "val", tars["val"])
    before = len(discovery.lost)
    test = _test(finder, tars["test"], tars["patch"], directories.find("test"))
    test = test or _lost(finder, before, "test", tars["test"])
    main.splits = [split for split in (train, val, test) if split is not None]
    main.hidden_directories = {
        name: path
        for name in discovery.directories(root)
        if b"devkit" in name and (path := finder.path(name)) in discovery.numbers
    }
    t3 = Version(b"ILSVRC2012_t3")
    before = len(discovery.lost)
    split = _by_class(finder, tars["train_t3"], directories.find("train_t3"), counted=True)
    split = split or _lost(finder, before, "train_t3", tars["train_t3"])
    t3.splits = [split] if split is not None else []
    shown = {split.name.decode() for split in main.splits}
    directories.tell_unused(shown | ({"train_t3"} if t3.splits else set()))
    return [version for version in (main, t3) if version.splits]


def _lost(finder: ArchiveSelector, before: int, role: str, tars: Sequence[int]) -> Split | None:
    """The split of a role whose archives, or whose zip, were found to be of no use."""
    name = b"train" if role == "train_t3" else role.encode()
    for path, error in finder.discovery.unread.items():
        above, _, file = path.rpartition(b"/")
        if above == finder.root and role_of(archive_stem(file)) == role:
            return Split(name, LostSplit(error), os.fsdecode(path))
    origin = finder.index.title(tars[0]) if tars else os.fsdecode(finder.root)
    return finder.lost_since(before, name, origin)


# --- which tar is what ----------------------------------------------------------------------------


def _tars_by_role(finder: ArchiveSelector) -> dict[str, list[int]]:
    """The tars of each split: those that are called so; where there are none, the one that holds
    the same under another name.
    """
    roles = {role: finder.tars(pattern) for role, pattern in _NAMED}
    known = {number for numbers in roles.values() for number in numbers}
    others: dict[str, list[int]] = {}
    for number in finder.tars(_ANY):
        path = finder.index.archives[number].path
        stem = tar_stem(path.rpartition(b"/")[2])
        if number in known or CLASS.fullmatch(stem) or DEVKIT_NAMES.fullmatch(stem):
            continue
        role = _role(finder, number, has_train=bool(roles["train"]))
        if role is not None:
            others.setdefault(role, []).append(number)
    for role, numbers in others.items():
        _use_other(finder, roles, role, numbers)
    return roles


def _use_other(
    finder: ArchiveSelector, roles: dict[str, list[int]], role: str, numbers: Sequence[int]
) -> None:
    titles = " and ".join(map(finder.index.title, numbers))
    if roles[role]:
        used = finder.index.title(roles[role][0])
        finder.warn(f"{titles} is not used: it looks like {role}, which is read from {used}.")
    elif len(numbers) > 1:
        right = {"patch": "test_patch_v10102019", "test": "test_v10102019"}.get(role, role)
        finder.warn(
            f"{titles} all look like {role}, and none is used: name the right one "
            f"ILSVRC2012_img_{right}.tar (ln -s). If they are its parts, move them into a "
            f"directory {role}."
        )
    else:
        roles[role] = list(numbers)
        finder.warn(f"{titles} is taken for {role}, by what it holds.")


def _role(finder: ArchiveSelector, number: int, *, has_train: bool) -> str | None:
    """What a tar is by its first members; by its name where they leave that open."""
    path = finder.index.archives[number].path
    seen = finder.look_into(number)
    if seen is None:
        return None
    names = [name.lstrip(b"./") for name, _ in seen.names]
    called = [word.lower() for word in SPEAKING.findall(path.rpartition(b"/")[2])]
    for name in names:
        of = _IMAGE_OF.fullmatch(name.rpartition(b"/")[2])
        if of is not None:
            role = of[1].decode()
            return "patch" if role == "test" and b"patch" in called + name.split(b"_") else role
    parts = [tar_stem(part) for name in names for part in name.split(b"/")]
    if not any(CLASS.fullmatch(part) or wnid_of_name(part) for part in parts):
        if called and seen.problem:
            error = BrokenArchivesError(
                f"{os.fsdecode(path)} is not used: {seen.problem}. Have it replaced."
            )
            finder.discovery.unread[path] = error
            finder.discovery.lose(error)
        elif called and names and not any(map(is_archive_name, names)):
            first = os.fsdecode(names[0])
            finder.warn(
                f"{os.fsdecode(path)} is not used: its first member is {first}, and no image of "
                "ILSVRC2012 or class is among the first ones."
            )
        return None
    above = [split_name(part) for part in parts if split_name(part)]
    if b"t3" in called:
        return "train_t3"
    told = next((word for word in (*called, *above) if word in (b"train", b"val")), None)
    if told is None and has_train:
        return None
    return told.decode() if told is not None else "train"


# --- splits ---------------------------------------------------------------------------------------


def _by_class(
    finder: ArchiveSelector, tars: list[int], directory: DirectoryPlace | None, *, counted: bool
) -> Split | None:
    """The classes of an archive or a directory; ``counted``: what ought to be there is known."""
    archive, instead = finder.choose(tars, directory, scanned=True)
    if archive is None:
        return None
    backend = class_backend(finder, archive, b"train", instead)
    if backend is None:
        return None
    if directory not in (None, archive) and not counted:
        assert directory is not None
        _tell_more_classes(finder, archive, directory, backend)
    outside = outside_of(finder, [backend], [archive])
    return Split(b"train", backend, finder.title(archive), outside=outside)


def _tell_more_classes(
    finder: ArchiveSelector,
    archive: DirectoryPlace,
    directory: DirectoryPlace,
    backend: SplitBackend,
) -> None:
    """Tell of classes that a directory has and the archive that is shown in its place has not."""
    with contextlib.suppress(ImagenetfsError):
        more = sorted(set(finder.names(directory).classes) - set(backend.classes))
        if more:
            noun = "class" if len(more) == 1 else "classes"
            finder.warn(
                f"{finder.title(directory)} has {len(more):,} {noun} (first: "
                f"{os.fsdecode(more[0])}) that {finder.title(archive)}, which is shown, has not: "
                "--prefer directories shows the directory in its place."
            )


def _val(
    finder: ArchiveSelector,
    tars: list[int],
    directory: DirectoryPlace | None,
    known: _Labels,
) -> tuple[Split | None, Order | None, tuple[bytes, ...]]:
    """val, its classes in the order of its images where they can be known, and the paths that tell
    these.
    """
    kit = known.kit
    of_kit = (partial(_wnids_of_kit, kit), kit.paths) if kit is not None else (None, ())
    archive, _ = finder.choose(tars, directory)
    if archive is None:
        return None, *of_kit
    backend = None
    if _may_have_classes(finder, archive) and not (kit and _tell_unsorted_tar(finder, archive)):
        # Its table is made, so what is broken of it is known.
        archive, _ = finder.choose(tars, directory, scanned=True)
        if archive is None:
            return None, *of_kit
        backend = class_backend(finder, archive, b"val")
    title, aliases = finder.title(archive), (b"validation",)
    if backend is None:
        backend, order, told_by = _labelled(finder, archive, directory, known)
        expected = _expected(order, told_by) if kit is None else None
        return Split(b"val", backend, title, aliases, told_by, expected), order, told_by
    split = Split(b"val", backend, title, aliases)
    split.outside = outside_of(finder, [backend], [archive])
    labels = find_labels(finder, kit, known.trained)
    split.other_labels = OtherLabels(labels.title, labels.of) if labels is not None else None
    if kit is None:
        paths = tuple({finder.index.archives[n].file: None for n in backend.archives})
        return split, _order_of(backend), paths
    return split, *of_kit


def _expected(order: Order | None, told_by: Sequence[bytes]) -> Expected | None:
    """What a list of labels says of val: all its images, by class."""
    if order is None or not told_by:
        return None
    return Expected.of_classes(Counter(order()), os.fsdecode(told_by[0].rpartition(b"/")[2]))


def _wnids_of_kit(kit: Devkit) -> list[bytes]:
    return [kit.wnids.get(label, UNLABELED) for label in kit.truth]


def _order_of(backend: SplitBackend) -> Order:
    """The classes in the order of the numbers in the images' names, which are known when all are
    listed.
    """

    def order() -> Sequence[bytes]:
        every = [
            (image_number(name), name, wnid)
            for number, wnid in enumerate(backend.classes)
            for name, _, _ in backend.listing(number).entries(0)
        ]
        return [wnid for _, _, wnid in sorted(every)]

    return order


def _may_have_classes(finder: ArchiveSelector, where: DirectoryPlace) -> bool:
    """Whether val's archive tells its classes: by the names in a directory, by the first header of
    a tar. Only where that is not val's own image is the tar's table made.
    """
    index = finder.index
    if where.below or index.archives[where.archive].kind is not Kind.TAR:
        names = finder.names(where)
        if names.classes or names.images:
            return bool(names.classes and not names.images) or bool(classes_by_name(names.images))
        return bool(find_classes(index, where) or classes_by_name(names_below(index, where)))
    block = index.first_block(where.archive)
    *above, first = name_of(block).split(b"/") if block else [b""]
    if _FLAT_VAL.fullmatch(first) and not any(map(CLASS.fullmatch, above)):
        return False
    try:
        known, members = find_classes(index, where), index.container(where.archive).members
        return bool(known or classes_by_name(image_names(members)))
    except ImagenetfsError:  # told by who chose it
        return False


def _labelled(
    finder: ArchiveSelector,
    where: DirectoryPlace,
    directory: DirectoryPlace | None,
    known: _Labels,
) -> tuple[SplitBackend, Order | None, tuple[bytes, ...]]:
    """val from flat images, by what says of which class they are; and the paths of that."""
    index = finder.index
    beside = where if where == directory else None
    labels = find_labels(finder, known.kit, known.trained, beside)
    tell, archives = finder.discovery.late_warnings.tell, (where.archive,)
    below = where.below
    if where == directory:
        _tell_unsorted(finder, where)
    if labels is not None:
        backend = FlatSplit(index, archives, labels.classes, labels.of, below=below, tell=tell)
        return backend, lambda: list(labels.by_stem().values()), labels.paths
    if directory is not None and finder.names(directory).classes:
        of_directories, told_by = labels_of_directories(finder, directory)
        if of_directories:
            finder.warn(
                "the devkit is missing: val is labelled by the extracted class directories of "
                f"{finder.title(directory)}."
            )
            classes = sorted({*of_directories.values(), UNLABELED})
            of = of_directories.get
            backend = FlatSplit(index, archives, classes, of, below=below, tell=tell)
            return backend, None, told_by
    finder.warn(
        "the devkit is missing or cannot be used, so the labels of val are unknown: its images "
        f"stand under val/unlabeled/. {DEVKIT_ADVICE}"
    )
    return FlatSplit(index, archives, (UNLABELED,), None, below=below, tell=tell), None, ()


DEVKIT_ADVICE = (
    "ILSVRC2012_devkit_t12.tar.gz (2.5 MB, from image-net.org's download page) beside the tars "
    "is enough."
)


def _tell_unsorted(finder: ArchiveSelector, directory: DirectoryPlace) -> None:
    names = finder.names(directory)
    if names.classes:
        finder.warn(
            f"{finder.title(directory)} has {len(names.images):,} images beside "
            f"{len(names.classes):,} class directories, as if sorting them had failed: all are "
            "shown by their labels."
        )


def _tell_unsorted_tar(finder: ArchiveSelector, where: DirectoryPlace) -> bool:
    """Whether images of val stand beside class directories in a tar, as sorting them has left them;
    it is told then.
    """
    index = finder.index
    if where.below or index.archives[where.archive].kind is not Kind.TAR:
        return False
    with contextlib.suppress(ImagenetfsError):
        members = index.container(where.archive).members
        places = [one.place for one in find_classes(index, where)]
        own = [place for place in places if place[:2] == (where.archive, OUTER)]
        outside = outside_of_classes(members, own)
        flat = [name for name in outside if _FLAT_VAL.fullmatch(name.rpartition(b"/")[2])]
        if flat and len(own) == len(places):
            finder.warn(
                f"{finder.title(where)} has {len(flat):,} images beside {len(own):,} class "
                "directories, as if sorting them had failed: all are shown by their labels."
            )
            return True
    return False


def _test(
    finder: ArchiveSelector,
    tars: list[int],
    patch: list[int],
    directory: DirectoryPlace | None,
) -> Split | None:
    index = finder.index
    where, _ = finder.choose(tars, directory)
    if where is None:
        return None
    patches: list[int] = []
    if where != directory:  # an extracted directory holds the patched images already
        patches = [p for p in patch if finder.choose([p], None)[0] is not None]
    origin = " and ".join((finder.title(where), *map(index.title, patches)))
    tell = finder.discovery.late_warnings.tell
    backend = FlatSplit(index, (where.archive, *patches), below=where.below, tell=tell)
    return Split(b"test", backend, origin)
