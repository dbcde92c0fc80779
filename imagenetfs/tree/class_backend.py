"""The backend of a split whose archive tells the classes itself: by containers, by directories in
it, or by its images' names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError
from imagenetfs.index.archives import OUTER, Kind, within
from imagenetfs.index.index import Index
from imagenetfs.tree.class_listing import Place, rows_below
from imagenetfs.tree.class_places import (
    DEEPEST,
    ClassPlace,
    FoundClass,
    choose_split,
    classes_by_name,
    find_classes,
    image_names,
    names_below,
    outside_of_classes,
    wnid_of_name,
)
from imagenetfs.tree.directory_split import DirectorySplit
from imagenetfs.tree.discovery import SPLIT_TAR
from imagenetfs.tree.outside import Discovered, Outside, images_outside
from imagenetfs.tree.per_class_split import PerClassSplit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit, SplitBackend, troubles
from imagenetfs.tree.unpacked import DirectoryPlace


def class_backend(
    finder: ArchiveSelector,
    where: DirectoryPlace,
    split: bytes,
    instead: DirectoryPlace | None = None,
) -> SplitBackend | None:
    """The classes of an archive, or of a directory of one, as a split; ``instead``: where the
    classes stand that take the place of broken ones. None, with a warning, where it has no classes.
    """
    index = finder.index
    title = finder.title(where)
    members = index.container(where.archive).members
    if members.left_out is not None and not where.below:
        finder.warn(f"{title}: not all members are shown: {members.left_out}.")
    found = find_classes(index, where)
    places = choose_split(found, split, finder.warn, title)
    flat = image_names(members, where.below, only_top=True)
    if flat and (not places or all(_is_empty(index, place) for place in places.values())):
        return _by_name(finder, where, names_below(index, where), len(places))
    if not places and (named := names_below(index, where)) and any(map(wnid_of_name, named)):
        return _by_name(finder, where, named, 0)
    if places:
        tell_outside(finder, where, found, flat)
        return split_of_places(finder, places, instead)
    broken = broken_within(index, where.archive)
    wrapped = tars_of_splits(index, where.archive) or archives_too_deep(index, where.archive)
    if broken:
        finder.discovery.lose(BrokenArchivesError(" ".join(broken)))
    elif wrapped:
        finder.discovery.wrapped[index.archives[where.archive].path] = wrapped
    elif len(rows_below(members, where.below)):
        finder.warn(
            f"{title} holds no classes: neither directories nor tars named as n01440764 is, nor "
            "images named so. It is not shown."
        )
    return None


def broken_within(index: Index, archive: int) -> list[str]:
    """What is broken of an archive in which no class is found, and of the tars in it whose tables
    have been made to look for some.
    """
    found: list[str] = []
    if index.known(archive):
        for inner in range(len(index.nested(archive))):
            if index.known(archive, inner):
                found += troubles(index, (archive, inner))
    top = index.archives[archive].path + b"/"
    for one in index.archives:
        if (
            one.kind in (Kind.TAR, Kind.ZIP)
            and one.path.startswith((top, within(index.archives[archive].path, b"")))
            and index.known(one.number)
        ):
            found += troubles(index, (one.number, OUTER))
    return list(dict.fromkeys(found))


def tars_of_splits(index: Index, archive: int) -> list[bytes]:
    """The tars in a tar or zip that are called as those of splits."""
    if index.archives[archive].kind is Kind.DIRECTORY:
        return []
    members = index.container(archive).members
    names = map(members.name, index.nested(archive).tolist())
    return [name for name in names if SPLIT_TAR.fullmatch(name.rpartition(b"/")[2])]


def archives_too_deep(index: Index, archive: int) -> list[bytes]:
    """What an archive holds in which there are more archives within one another than are looked
    into."""
    top = within(index.archives[archive].path, b"")
    for one in index.archives:
        is_last = one.path.startswith(top) and one.depth >= DEEPEST
        if is_last and index.known(one.number) and len(index.nested(one.number)):
            members = index.container(archive).members
            return list(map(members.name, index.nested(archive).tolist()))
    return []


def tell_outside(
    finder: ArchiveSelector, where: DirectoryPlace, found: Sequence[FoundClass], flat: list[bytes]
) -> None:
    """Tell of images in no class: ``flat`` at the top, and in a tar those anywhere else in it."""
    if finder.index.archives[where.archive].kind is not Kind.DIRECTORY:
        members = finder.index.container(where.archive).members
        own = [one.place for one in found if one.place[:2] == (where.archive, OUTER)]
        if own or not any(one.place.below for one in found):
            flat = outside_of_classes(members, own, where.below)
    if flat:
        finder.warn(
            f"{finder.title(where)} has {len(flat):,} images in no class directory (first: "
            f"{os.fsdecode(min(flat))}): they are not shown."
        )


def split_of_places(
    finder: ArchiveSelector, places: dict[bytes, ClassPlace], instead: DirectoryPlace | None = None
) -> SplitBackend:
    """The split of these classes."""
    index, tell = finder.index, finder.discovery.late_warnings.tell
    if any(place.below for place in places.values()):
        return DirectorySplit(index, places, tell=tell)
    whole = {name: (place.archive, place.inner) for name, place in places.items()}
    return PerClassSplit(index, whole, lambda: _whole_places(index, instead), tell=tell)


def outside_of(
    finder: ArchiveSelector,
    backends: Iterable[SplitBackend],
    places: Sequence[DirectoryPlace],
    *,
    alone: bool = False,
    instead: Mapping[bytes, Place] | None = None,
    shown: Iterable[ClassPlace] = (),
) -> Callable[[], Outside]:
    """What counts the images that these places hold in no class of the backends. Unless they are
    theirs ``alone``, a listed directory may hold other things. ``instead``: what takes the place
    of broken classes is no loss. ``shown``: what other backends show.
    """
    by_class = [b for b in backends if isinstance(b, DirectorySplit | PerClassSplit)]
    if not by_class:
        return Outside  # others have all images of their archives
    index, listed = finder.index, finder.discovery.names
    archives = [place.archive for place in places]
    levels = [n for n in archives if not alone and index.archives[n].path in listed]
    wholes = [n for n in archives if n not in levels]
    within = {place.archive: place.below for place in places}

    def look() -> Outside:
        places = [*shown, *(place for backend in by_class for place in backend.class_places())]
        containers = {place[:2] for place in places}
        places += [ClassPlace(*place) for place in (instead or {}).values()]
        spare = frozenset((instead or {}).values()) - containers
        return images_outside(index, wholes, levels, places, Discovered(listed, within, spare))

    return look


def _whole_places(index: Index, where: DirectoryPlace | None) -> dict[bytes, Place]:
    found = find_classes(index, where) if where is not None else []
    return {one.name: one.place[:2] for one in found if not one.place.below}


def _by_name(
    finder: ArchiveSelector, where: DirectoryPlace, flat: list[bytes], empty: int
) -> SplitBackend | None:
    counted = classes_by_name(flat)
    title = finder.title(where)
    untold = len(flat) - sum(counted.values())
    if empty:
        finder.warn(
            f"{title} has {empty:,} empty class directories, and {len(flat):,} images beside them: "
            "these are sorted by their names."
        )
    if untold:
        finder.warn(
            f"{untold:,} of {len(flat):,} images of {title} stand in no class directory, and their "
            "names tell no class: they are shown in unlabeled/."
        )
    classes = sorted({*counted, *((UNLABELED,) if untold else ())})
    tell = finder.discovery.late_warnings.tell
    return FlatSplit(
        finder.index, (where.archive,), classes, wnid_of_name, below=where.below, tell=tell
    )


def _is_empty(index: Index, place: ClassPlace) -> bool:
    """Whether a class has nothing in it, as far as names tell."""
    extent = index.extent(place.archive, place.inner)
    if place.below:
        members = index.container(place.archive, place.inner).members
        return not len(members.within(members.find(place.below)))
    if extent.end:
        return False
    return not index.source.has_entries(extent.path)


def labels_of_directories(
    finder: ArchiveSelector, directory: DirectoryPlace
) -> tuple[dict[bytes, bytes], tuple[bytes, ...]]:
    """File name -> class, by class directories, and the paths of these."""
    index, places = finder.index, finder.class_directories(directory)
    backend = split_of_places(finder, places)
    labels: dict[bytes, bytes] = {}
    for number, wnid in enumerate(backend.classes):
        with contextlib.suppress(ImagenetfsError):  # told by who lists it
            labels.update((name, wnid) for name, _, _ in backend.listing(number).entries(0))
    return labels, tuple(index.extent(*place[:2]).path for place in places.values())
