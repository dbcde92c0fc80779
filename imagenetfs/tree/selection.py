"""Choosing what a split is served from: which archive is there, and what takes
its place where it is not.
"""

from __future__ import annotations

import re

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError, SourceUnreadableError
from imagenetfs.index.archives import Kind
from imagenetfs.index.index import Index
from imagenetfs.tree.discovery import Discovery
from imagenetfs.tree.per_class_split import classes_within
from imagenetfs.tree.split_backend import WNID


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

    def path(self, name: bytes) -> bytes:
        """The path in the source of a name below the root."""
        return self.root + b"/" + name

    def tars(self, pattern: re.Pattern[bytes]) -> list[int]:
        """The numbers of the tars whose name fits."""
        found = (name for name in self.discovery.files(self.root) if pattern.fullmatch(name))
        numbers = (self.discovery.number(self.path(name), Kind.TAR) for name in found)
        return [number for number in numbers if number is not None]

    def directory(self, *names: bytes) -> int | None:
        """The first of these directories that is there and not empty."""
        for name in names:
            number = self.discovery.number(self.path(name), Kind.DIRECTORY)
            if number is not None and self._readable_entries(number):
                return number
        return None

    def _readable_entries(self, number: int) -> bool:
        try:
            return self.index.source.has_entries(self.index.archives[number].path)
        except ImagenetfsError as error:
            self.warn(f"{error} It is not used.")
            return False

    def has_classes(self, directory: int) -> bool:
        """Whether there are class directories in a directory: by name, for
        it may have 100,000 files.
        """
        names = self.index.source.names(self.index.archives[directory].path)
        return any(is_directory and WNID.fullmatch(name) for name, is_directory in names)

    def choose(
        self, tars: list[int], directory: int | None, *, scanned: bool = False
    ) -> tuple[int | None, int | None]:
        """(archive to serve from, what takes its place where it is broken).

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
                self.discovery.lose(SourceUnreadableError(f"{name}: {error} So it is not shown."))
            else:
                self.warn(f"{name}: {error} So the directory takes its place.")
            return directory, None
        if problem is None:
            return tars[0], directory
        if directory is not None:
            self.warn(
                f"{name} is broken: {problem}. The extracted directory "
                f"{self.index.title(directory)} takes its place; have the archive replaced."
            )
            return directory, None
        whole = self._whole(tars[0])
        served = (
            f"What is whole of it is served ({whole}), and the rest is missing"
            if whole
            else "Nothing of it can be served"
        )
        self.discovery.lose(
            BrokenArchivesError(
                f"{name} is broken: {problem}. {served}; have the archive replaced."
            )
        )
        return (tars[0], None) if whole else (None, None)

    def _whole(self, archive: int) -> str:
        """How much of a broken archive is whole, in words; nothing where nothing is."""
        classes = len(classes_within(self.index, archive))
        number = classes or len(self.index.container(archive).members)
        noun = ("class", "classes") if classes else ("member", "members")
        return f"{number:,} {noun[number != 1]}" if number else ""
