"""Choosing what a split is served from: which archive is there, and what takes
its place where it is not.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from imagenetfs.errors import (
    BrokenArchivesError,
    ImagenetfsError,
    SourceReadError,
    SourceUnreadableError,
)
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.class_places import ClassPlace, find_classes
from imagenetfs.tree.dataset import Split
from imagenetfs.tree.discovery import Discovery
from imagenetfs.tree.images import is_image_name
from imagenetfs.tree.lost_split import LostSplit
from imagenetfs.tree.peek import Peek, peek, sentence_of_compressed
from imagenetfs.tree.split_backend import WNID, doubts
from imagenetfs.tree.unpacked import DirectoryPlace, UnpackedSource


@dataclass(frozen=True, slots=True)
class DirectoryNames:
    """What stands in a directory, by name: class directories, other ones, images, other files."""

    classes: Sequence[bytes]
    others: Sequence[bytes]
    images: Sequence[bytes]
    files: Sequence[bytes]


class ArchiveSelector:
    """Looks for a version's archives below ``root``.

    ``prefer`` is ``archives`` or ``directories``.
    """

    def __init__(self, discovery: Discovery, index: Index, prefer: str, root: bytes) -> None:
        self.discovery = discovery
        self.index = index
        self.root = root
        self.prefer_directories = prefer == "directories"
        self.warn = discovery.warnings.append
        self.unpacked = discovery.unpacked or UnpackedSource(index)
        self._names: dict[DirectoryPlace, DirectoryNames] = {}

    def path(self, name: bytes) -> bytes:
        """The path in the source of a name below the root."""
        return join_path(self.root, name)

    def tars(self, pattern: re.Pattern[bytes]) -> list[int]:
        """The numbers of the tars whose name fits."""
        found = (name for name in self.discovery.files(self.root) if pattern.fullmatch(name))
        numbers = (self.discovery.number(self.path(name), Kind.TAR) for name in found)
        return [number for number in numbers if number is not None]

    def directory(self, *names: bytes) -> DirectoryPlace | None:
        """The first of these directories that is there and not empty."""
        for name in self.named(*names):
            place = self.discovery.place(self.path(name))
            if place is not None and self._readable_entries(place):
                return place
        return None

    def named(self, *names: bytes) -> list[bytes]:
        """The directories that are called so, in this order: to the letter, else in another case
        (``Train``, ``VAL``).
        """
        there = self.discovery.directories(self.root)
        found = [name for name in names if name in there]
        lower = [name.lower() for name in names]
        found += sorted(
            (name for name in there if name not in found and name.lower() in lower),
            key=lambda name: lower.index(name.lower()),
        )
        return found

    def is_empty(self, place: DirectoryPlace) -> bool:
        """Whether a directory can be read and nothing stands in it."""
        with contextlib.suppress(ImagenetfsError):
            return not self.unpacked.has_entries(self.path_of(place))
        return False

    def title(self, place: DirectoryPlace) -> str:
        """How people know a tar or a directory."""
        return self.unpacked.title(place)

    def path_of(self, place: DirectoryPlace) -> bytes:
        """The path of a tar or a directory."""
        return self.unpacked.path_of(place)

    def class_directories(self, directory: DirectoryPlace) -> dict[bytes, ClassPlace]:
        """The classes right in a directory, by wnid."""
        return {
            one.name: one.place for one in find_classes(self.index, directory) if not one.parent
        }

    def _readable_entries(self, place: DirectoryPlace) -> bool:
        try:
            return self.unpacked.has_entries(self.path_of(place))
        except ImagenetfsError as error:
            self.warn(f"{error} It is not used.")
            return False

    def names(self, directory: DirectoryPlace) -> DirectoryNames:
        """What stands in a directory, by its names alone: it may have 100,000 files."""
        found = self._names.get(directory)
        if found is None:
            path = self.path_of(directory)
            every = self.discovery.listed.get(path)
            every = self.unpacked.names(path) if every is None else every
            directories = [name for name, is_directory in every if is_directory]
            found = self._names[directory] = DirectoryNames(
                [name for name in directories if WNID.fullmatch(name)],
                [name for name in directories if not WNID.fullmatch(name)],
                [name for name, is_directory in every if not is_directory and is_image_name(name)],
                [name for name, is_dir in every if not is_dir and not is_image_name(name)],
            )
        return found

    def has_classes(self, directory: DirectoryPlace) -> bool:
        """Whether there are class directories in a directory, and no images beside them: those
        would mean that it was never sorted, or not to the end.
        """
        names = self.names(directory)
        return bool(names.classes) and not names.images

    def choose(
        self, tars: list[int], directory: DirectoryPlace | None, *, scanned: bool = False
    ) -> tuple[DirectoryPlace | None, DirectoryPlace | None]:
        """(place to serve from, what takes its place where it is broken).

        ``scanned``: its table is needed at once, so that all of it is known, and not only both of
        its ends.
        """
        if not tars or (self.prefer_directories and directory is not None):
            return directory, None
        name = self.index.title(tars[0])
        try:
            problem = self.index.check(tars[0])
            if scanned and problem is None:
                problem = self.index.container(tars[0]).members.problem
        except ImagenetfsError as error:
            if directory is None:
                if isinstance(error, SourceUnreadableError):
                    lost: ImagenetfsError = SourceUnreadableError(
                        f"{name}: {error} So it is not shown."
                    )
                else:
                    lost = SourceReadError(f"{name}: {error} So it is not shown.")
                self.discovery.lose(lost)
            else:
                self.warn(f"{name}: {error} So the directory takes its place.")
            return directory, None
        if problem is None and self.index.known(tars[0]) and not self._has_members(tars[0]):
            problem = "there is nothing in it but an end marker"
        if problem is None:
            for told in doubts(self.index, [(tars[0], OUTER)]):
                self.warn(told)
            return DirectoryPlace(tars[0]), directory
        broken = self._compressed(tars[0]) or f"{name} is broken: {problem}."
        if directory is not None:
            self.warn(
                f"{broken} The extracted directory "
                f"{self.title(directory)} takes its place; have the archive replaced."
            )
            return directory, None
        whole = self._whole(tars[0])
        served = (
            f"What is whole of it is served ({whole}), and the rest is missing"
            if whole
            else "Nothing of it can be served"
        )
        advice = "" if "compressed" in broken else f" {served}; have the archive replaced."
        self.discovery.lose(BrokenArchivesError(f"{broken}{advice}"))
        return (DirectoryPlace(tars[0]), None) if whole else (None, None)

    def _has_members(self, archive: int) -> bool:
        return len(self.index.container(archive).members) > 0

    def lost_since(self, before: int, name: bytes, origin: str) -> Split | None:
        """The split that is not shown for what was lost when it was looked for: since ``before``
        (a number of losses); None where nothing was.
        """
        lost = self.discovery.lost[before:]
        return Split(name, LostSplit(lost[0]), origin) if lost else None

    def look_into(self, archive: int, members: int = 4) -> Peek | None:
        """The first members of a tar whose name does not tell what it is. What cannot be served of
        it is noted; None where it cannot be read, with a warning.
        """
        path = self.index.archives[archive].path
        try:
            seen = self._peek(archive, members)
        except ImagenetfsError as error:
            self.warn(f"{error} It is not shown.")
            return None
        if seen.compressed:
            self.discovery.compressed[path] = seen.compressed
        return seen

    def _peek(self, archive: int, members: int) -> Peek:
        entry = self.index.archives[archive]
        if not entry.depth:
            return peek(self.index.source, entry.path, members)
        table = self.index.container(archive).members
        first = range(min(members, len(table)))
        return Peek(tuple((table.name(row), stat.S_ISDIR(table.mode(row))) for row in first))

    def _compressed(self, archive: int) -> str:
        """Of a tar that is compressed under a plain name: that it is, and what to do."""
        path = self.index.archives[archive].path
        try:
            how = self._peek(archive, 1).compressed
        except ImagenetfsError:
            return ""
        return sentence_of_compressed(self.index.source.path, path, how) if how else ""

    def _whole(self, archive: int) -> str:
        """How much of a broken archive is whole, in words; nothing where nothing is."""
        classes = len(find_classes(self.index, DirectoryPlace(archive)))
        number = classes or len(self.index.container(archive).members)
        noun = ("class", "classes") if classes else ("member", "members")
        return f"{number:,} {noun[number != 1]}" if number else ""
