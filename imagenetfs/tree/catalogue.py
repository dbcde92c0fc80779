"""The catalogue: everything above class level, built once before the mount serves.

It is the one place of the tree that reads the source: names in directories, the headers of the tars
of class tars, the devkit. What it holds is the same in every process that is forked afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imagenetfs.errors import ImagenetfsError
from imagenetfs.formats.tar.parallel_scan import scan_parallel
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.coordination import BuildCoordinator
from imagenetfs.index.index import Index
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.index.table_builder import join_path
from imagenetfs.source.source import Source
from imagenetfs.system.text import decoded
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import ILSVRC2012, Discovery, index_group
from imagenetfs.tree.discovery_walk import discover
from imagenetfs.tree.images import is_dropping, is_image
from imagenetfs.tree.labels import read_devkit, read_words
from imagenetfs.tree.late_warnings import LateWarnings
from imagenetfs.tree.ledger import LedgerWatch, Tell, expect, preview
from imagenetfs.tree.locate import holds_classes, locate
from imagenetfs.tree.refusals import nothing_known, unusable
from imagenetfs.tree.versions import (
    class_sets,
    downsampled,
    ilsvrc2012,
    tiny_imagenet,
    views,
    winter21,
)
from imagenetfs.tree.zip_discovery import discover_in_zips

_FEW = 16
"""A split in so many files has them open, and their sizes known, from the
start: each costs round trips.
"""


@dataclass(slots=True)
class Catalogue:
    """The source as it was at mount: archives, versions, and what is wrong with it
    (``lost``: the warnings of images that are not shown; ``late_warnings``: what is found
    when it is first touched). ``shortfalls``: warnings of splits in which something is missing, as
    far as the names of their classes tell; ``ledgers`` tells the rest when it shows.

    ``archives`` and their ``numbers`` by path are those found then; ``index.archives`` has those to
    come too. ``served``: the directories that splits read. ``view_warnings``: of each view by its
    name, what its list names and is not there, as far as names tell.
    """

    source: Source
    index: Index
    archives: Sequence[Archive]
    versions: list[Version]
    views: list[Version]
    view_warnings: dict[bytes, list[str]]
    warnings: list[str]
    lost: list[str]
    late_warnings: LateWarnings
    numbers: dict[bytes, int]
    served: frozenset[int]
    mtime_ns: int
    size: int
    shortfalls: list[str]
    ledgers: LedgerWatch
    devkit_meta: Callable[[], bytes] | None
    """Reads the devkit's meta.mat once more; None where there is no kit."""

    def paths_of(self, kind: Kind) -> dict[int, bytes]:
        """The archives of one kind: number -> path in the source."""
        return {a.number: a.path for a in self.archives if a.kind is kind}

    def groups(self, archives: Sequence[int]) -> dict[str, list[int]]:
        """The archives by the index file that keeps them."""
        found: dict[str, list[int]] = {}
        for number in archives:
            found.setdefault(index_group(self.index.archives[number]), []).append(number)
        return found


def build_catalogue(
    source: Source,
    *,
    places: IndexSearchPath,
    prefer: str = "archives",
    arena_dir: Path | None = None,
    lists: Mapping[str, bytes] | None = None,
    in_flight: int | None = None,
) -> Catalogue:
    """Look at the source. ``lists``: name of a view -> the list of what it shows. ``in_flight``:
    requests under way at once while one container is indexed; None: as the source bears it.

    Raises SourceUnknownError where the source holds no known version, SourceUnreadableError or
    BrokenArchivesError where what it holds cannot be shown.
    """
    found = discover(source)
    arena = Arena(len(found.archives), arena_dir)
    index = _index(source, found.archives, arena, places, in_flight)
    discover_in_zips(found, index)
    locate(found, source.path)
    kit = read_devkit(found, found.unpacked or source)
    versions = _versions(found, index, prefer, kit)
    found.archives += index.archives[len(found.archives) :]
    _note_unused(found, versions)
    tell = found.late_warnings.tell
    named = (lists or {}).items() if versions else ()
    shown = [views.view(name, text, versions, tell) for name, text in named]
    found.warnings.extend(warning for _, warnings in shown for warning in warnings)
    if all(split.lost is not None for version in versions for split in version.splits):
        raise nothing_known(source, found)
    _tell_loose(found, versions)
    found.warnings.extend(unusable(found, source.path))
    found.warnings[:] = dict.fromkeys(found.warnings)
    found.late_warnings.know(found.warnings)
    _pin(source, found.archives, versions)
    short, ledgers = _ledgers(source, versions, tell)
    splits = [split for version in versions for split in version.splits]
    status = source.status(b"")
    return Catalogue(
        source,
        index,
        found.archives,
        versions,
        [view for view, _ in shown],
        {view.name: warnings for view, warnings in shown},
        found.warnings,
        [str(error) for error in found.lost],
        found.late_warnings,
        found.numbers,
        frozenset(n for n in archives_of(splits) if found.archives[n].kind is Kind.DIRECTORY),
        status.st_mtime_ns if status else 0,
        _bytes(source, index, versions),
        short,
        ledgers,
        kit.meta if kit is not None else None,
    )


def _index(
    source: Source,
    archives: list[Archive],
    arena: Arena,
    places: IndexSearchPath,
    in_flight: int | None,
) -> Index:
    """The index of all archives, with the index files that each of its groups may have."""
    groups: dict[str, list[int]] = {}
    for archive in archives:
        groups.setdefault(index_group(archive), []).append(archive.number)
    written = {n: file for group in groups if (file := places.file(group)) for n in groups[group]}
    index = Index(
        source,
        archives,
        arena,
        stores=[(frozenset(numbers), places.files(group)) for group, numbers in groups.items()],
        coordinator=BuildCoordinator(written),
        scan_alone=partial(scan_parallel, in_flight=in_flight),
    )
    index.search_path = places
    return index


def _ledgers(
    source: Source, versions: Sequence[Version], tell: Tell
) -> tuple[list[str], LedgerWatch]:
    """What is missing as far as names tell, and what watches for the rest."""
    place = str(source.path)
    watch, short = LedgerWatch(place, tell), []
    for version in versions:
        for split in version.splits:
            watch.watch(version, split)
            sentence = preview(version, split).sentence(place)
            if sentence is not None:
                short.append(sentence)
    return short, watch


def _versions(found: Discovery, index: Index, prefer: str, kit: Devkit | None) -> list[Version]:
    source = found.unpacked or index.source
    versions = [
        *ilsvrc2012.versions(found, index, prefer, kit),
        *winter21.versions(found, index, prefer),
        *tiny_imagenet.versions(found, index),
        *downsampled.versions(found, index, kit),
    ]
    versions += class_sets.versions(found, index, prefer, versions, kit)
    wnids = {wnid for version in versions for split in version.splits for wnid in split.wnids}
    words, known_from = read_words(found, source, kit, wnids)
    for version in versions:
        version.words = words
        named = (known_from[wnid] for wnid in version.wnids if wnid in known_from)
        version.words_from = tuple(dict.fromkeys(named))
    expect(versions, kit)
    return versions


def _note_unused(found: Discovery, versions: Sequence[Version]) -> None:
    """Note the tars of splits within other archives of which no split is made."""
    splits = [split for version in versions for split in version.splits if split.wnids]
    used = set(archives_of(splits))
    used |= {archive for split in splits for archive, _ in split.backend.places(0)}
    for path, tars in found.inner_tars.items():
        if tars and used.isdisjoint(tars):
            found.wrapped.setdefault(path, []).extend(tars.values())


def _tell_loose(found: Discovery, versions: Sequence[Version]) -> None:
    """Tell of images right beside the versions and beside ILSVRC2012's splits, and in directories
    there of which no version is made. Those within sets are in a ledger.
    """
    root, base = found.root(ILSVRC2012), found.base
    places = [base, *([root] if root is not None else [])]
    splits = [split for version in versions for split in version.splits]
    used = {found.archives[number].path for number in archives_of(splits)}
    for name in found.directories(base):
        path = join_path(base, name)
        is_free = not any(one == path or one.startswith(path + b"/") for one in used)
        if is_free and not is_dropping(name):
            places.append(path)
    for path in dict.fromkeys(places):
        images = sorted(filter(is_image, found.files(path)))
        if images and not holds_classes(found, path):
            noun = "image" if len(images) == 1 else "images"
            found.warnings.append(
                f"{decoded(path) or 'the source'} has {len(images):,} {noun} in no split (first: "
                f"{decoded(images[0])}): they are not shown."
            )


def _bytes(source: Source, index: Index, versions: Sequence[Version]) -> int:
    """The size of the tars and npz files that the splits read, but for splits of very many."""
    splits = [split for version in versions for split in version.splits]
    numbers = archives_of([split for split in splits if len(split.backend.archives) <= _FEW])
    files = (index.archives[n] for n in numbers)
    paths = {file.file for file in files if file.kind is not Kind.DIRECTORY}
    return sum(status.st_size for path in paths if (status := source.status(path)) is not None)


def _pin(source: Source, archives: Sequence[Archive], versions: Sequence[Version]) -> None:
    """Open what the splits read before any fork, so that all processes read the same files.

    Not the thousands of class tars of winter21: descriptors are few.
    """
    for split in (split for version in versions for split in version.splits):
        read = (archives[number] for number in archives_of([split]))
        files = {archive.file for archive in read if archive.kind is not Kind.DIRECTORY}
        for path in sorted(files) if len(files) <= _FEW else ():
            with contextlib.suppress(ImagenetfsError):
                source.pin(path)


def archives_of(splits: Sequence[Split]) -> list[int]:
    """The archives that these splits read, in order, each once."""
    return list(dict.fromkeys(number for split in splits for number in split.backend.archives))
