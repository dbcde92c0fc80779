"""The images in the archives of a split that stand in none of its classes: a ledger counts them.

A container of classes may hold more than classes: images beside them, in directories and tars that
are called otherwise, in classes that are shown from elsewhere. All of that is looked at only where
a whole ledger is made.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from imagenetfs.errors import ImagenetfsError, SourceReadError, SourceUnreadableError
from imagenetfs.index.archives import (
    OUTER,
    Kind,
    archive_stem,
    is_archive_name,
    is_tar_name,
    tar_stem,
)
from imagenetfs.index.index import Index
from imagenetfs.index.table import Table
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.class_listing import Place, count_unlisted, rows_below, verdict_of
from imagenetfs.tree.class_places import ClassPlace, rows_outside
from imagenetfs.tree.discovery import CLASS
from imagenetfs.tree.images import (
    FIRST_BYTES,
    Verdict,
    begins_as_image,
    is_dropping,
    is_within_dropping,
    judge,
)
from imagenetfs.tree.left_out import LeftOut, Reason
from imagenetfs.tree.split_backend import troubles

_PACKED_CLASS = re.compile(
    CLASS.pattern + rb"(\.(tar\.\w+|zip\.\w+|tgz|txz|tbz2?|tzst|7z|rar|gz|xz|zst|bz2))?",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Outside:
    """What the archives of a split hold beside its classes: images, by reason; and what of the
    containers that have no class is broken, in sentences.
    """

    left_out: LeftOut = field(default_factory=LeftOut)
    problems: list[str] = field(default_factory=list)


NamesBelow = Mapping[bytes, Sequence[tuple[bytes, bool]]]
"""A directory's path -> its names, and whether they are directories, as discovery has read them."""


class Discovered(NamedTuple):
    """``names`` in directories; ``within``: the directory of an archive to which the split is
    confined; ``instead``: what takes the place of broken classes.
    """

    names: NamesBelow
    within: Mapping[int, bytes]
    instead: frozenset[Place] = frozenset()


def images_outside(
    index: Index,
    wholes: Sequence[int],
    levels: Sequence[int],
    class_places: Iterable[ClassPlace],
    known: Discovered,
) -> Outside:
    """What of these archives is in no class. ``wholes`` are the split's alone; of ``levels``,
    directories in which other things stand too, only the files that are right there are looked at.
    """
    places = list(class_places)
    tops = dict.fromkeys((*wholes, *levels, *(place.archive for place in places)))
    counter = _Counter(index, places, tops, known)
    for archive in tops:
        with contextlib.suppress(ImagenetfsError):  # what cannot be read is told with the split
            counter.count(archive, whole=archive not in levels)
    return counter.found


class _Counter:
    """Counts images that stand in no class."""

    def __init__(
        self, index: Index, places: Iterable[ClassPlace], tops: Collection[int], known: Discovered
    ) -> None:
        self._index = index
        self._names, self._within, self._instead = known
        self._of_classes: dict[Place, list[bytes]] = {}
        for archive, inner, below in places:
            self._of_classes.setdefault((archive, inner), []).append(below)
        self._tops = tops
        self.found = Outside()

    def count(self, archive: int, *, whole: bool) -> None:
        """Count one archive."""
        below, within = self._of_classes.get((archive, OUTER), []), self._within.get(archive, b"")
        if b"" in below:
            return  # the archive is a class
        if self._count_names(self._index.archives[archive].path, whole=whole):
            return
        self._count_rows((archive, OUTER), below)
        if not below:  # else the listings of the classes have counted it
            count_unlisted(self._index, (archive, OUTER), self.found.left_out, within)
        for inner, row in self._inner(archive):
            container = self._index.container(archive)
            if is_dropping(container.members.base_name(row)):
                continue
            if row not in rows_below(container.members, within):
                continue
            is_directory = stat.S_ISDIR(container.members.mode(row))
            own = self._index.promoted(archive, row)
            if own in self._tops or (not whole and (is_directory or own is not None)):
                continue  # counted on its own, or not the split's
            shown = self._class_at(archive, _twin(container.members.name(row)))
            if shown is not None:
                if is_directory:
                    self._count_twin(container.locate(row)[0], shown)
                continue
            with contextlib.suppress(ImagenetfsError):
                if own is not None:
                    self.count(own, whole=whole)
                    continue
                below = self._of_classes.get((archive, inner), [])
                if b"" not in below:
                    self._count_rows((archive, inner), below)

    def _count_names(self, directory: bytes, *, whole: bool) -> bool:
        """Count a listed directory by its names, and ask for the attributes of none: it may have
        19,167 class tars. False where a directory in it is no archive of its own.
        """
        archives, names = self._index.archives, self._names.get(directory)
        if names is None:
            return False
        named = [(name, is_directory) for name, is_directory in names if not is_dropping(name)]
        owns = [archives.number(join_path(directory, name)) for name, _ in named]
        pairs = list(zip(named, owns, strict=True))
        if whole and any(own is None for (_, is_directory), own in pairs if is_directory):
            return False
        for (name, is_directory), own in pairs:
            if own is not None:
                twin = archives.number(join_path(directory, _twin(name)))
                is_shown = twin is not None and self._is_shown(twin)
                if twin is not None and is_shown and is_directory and not self._is_shown(own):
                    self._count_twin(join_path(directory, name), (twin, OUTER))
                if whole and own not in self._tops and twin not in self._tops:
                    with contextlib.suppress(ImagenetfsError):
                        self.count(own, whole=True)
            elif not is_directory and self._is_packed(name):
                continue
            elif not is_directory and self._is_image_file(join_path(directory, name)):
                self.found.left_out.add(Reason.NO_CLASS, name)
        return True

    def _is_packed(self, name: bytes) -> bool:
        """Whether a file is called as a class's archive that cannot be read in place; it is
        counted then."""
        is_packed = _PACKED_CLASS.fullmatch(name.rpartition(b"/")[2]) is not None
        if is_packed and not is_within_dropping(name):
            self.found.left_out.add(Reason.PACKED, name)
        return is_packed

    def _is_image_file(self, path: bytes) -> bool:
        verdict = judge(path.rpartition(b"/")[2])
        if verdict is Verdict.UNTOLD:
            with contextlib.suppress(ImagenetfsError), self._index.source.opened(path) as file:
                return begins_as_image(file.read(0, min(FIRST_BYTES, file.size)))
        return verdict is Verdict.IMAGE

    def _inner(self, archive: int) -> Iterator[tuple[int, int]]:
        return enumerate(self._index.nested(archive).tolist())

    def _class_at(self, archive: int, name: bytes) -> Place | None:
        """The container of that name in an archive, where it is a class that is shown."""
        container = self._index.container(archive)
        row = container.members.find(name)
        if row < 0:
            return None
        own = self._index.promoted(archive, row)
        inner = self._index.inner_of_row(archive, row)
        place = (archive, inner) if own is None else (own, OUTER)
        return place if b"" in self._of_classes.get(place, []) else None

    def _is_shown(self, archive: int) -> bool:
        """Whether a whole archive is a class that is shown."""
        place = (archive, OUTER)
        return b"" in self._of_classes.get(place, []) and place not in self._instead

    def _count_twin(self, directory: bytes, shown: Place) -> None:
        """Count the images in a class's directory that its tar, which is shown, has not."""
        with contextlib.suppress(ImagenetfsError):
            members = self._index.container(*shown).members
            if members.problem is not None:
                return  # the directory takes its place
            known = {members.base_name(row) for row in members.regular().tolist()}
            for name, is_directory in self._index.source.names(directory):
                if not is_directory and name not in known and judge(name) is Verdict.IMAGE:
                    self.found.left_out.add(Reason.NO_CLASS, name)

    def _count_rows(self, place: Place, below: Iterable[bytes]) -> None:
        """Count the images in a container that are not below one of these directories of it."""
        container = self._index.container(*place)
        if place not in self._of_classes:
            self.found.problems += troubles(self._index, place)
        members, nested = container.members, set(container.members.nested.tolist())
        within = self._within.get(place[0], b"") if place[1] == OUTER else b""
        self._count_links(members, below, rows_below(members, within))
        for row in rows_outside(members, below, within).tolist():
            if row in nested and place[1] == OUTER:
                continue
            name = members.name(row)
            if is_archive_name(name):
                self._count_archive(place, row)
                continue
            if self._is_packed(name):
                continue
            try:
                if verdict_of(self._index, container, row, name) is Verdict.IMAGE:
                    self.found.left_out.add(Reason.NO_CLASS, name)
            except (SourceReadError, SourceUnreadableError):
                self.found.left_out.add(Reason.UNREADABLE, name)

    def _count_archive(self, place: Place, row: int) -> None:
        """Count an archive that is no container of the one that it lies in."""
        container = self._index.container(*place)
        name = container.members.name(row)
        own = self._index.promoted(place[0], row, place[1])
        if own is not None:
            if own not in self._tops:
                self.count(own, whole=True)
        elif container.extent.kind is Kind.ZIP and place[1] == OUTER:
            self.found.problems.append(
                f"{self._index.title(*place)}: {decoded(name)} is deflated within the zip, so what "
                "it holds is neither shown nor counted; extract it."
            )
        elif not is_within_dropping(name):
            self.found.left_out.add(Reason.PACKED, name)

    def _count_links(self, members: Table, below: Iterable[bytes], within: range) -> None:
        """Count the links called as images or classes that lead nowhere, and are in no class."""
        classes = [rows_below(members, directory) for directory in below]
        for row in members.links:
            if row not in within or any(row in rows for rows in classes):
                continue
            name = members.name(row)
            is_class = CLASS.fullmatch(archive_stem(name.rpartition(b"/")[2]))
            is_image = judge(name) is Verdict.IMAGE
            if stat.S_ISLNK(members.mode(row)) and (is_class or is_image):
                self.found.left_out.add(Reason.LINK, name)


def _twin(name: bytes) -> bytes:
    """How the other form of a class is called: a directory of a tar, a tar of a directory. Of two
    that stand beside each other the tar is shown, and the other one is no loss.
    """
    return tar_stem(name) if is_tar_name(name) else name + b".tar"
