"""Which files of the source stand behind an inode, and by which names the kernel may
hold what is made of one.

For the process that has found that a file may not be read any more. Only tables that are built
already are used: what has no table was shown to no reader. A path may be that of a
directory of loose images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.table_builder import join_path
from imagenetfs.tree.dataset import Split
from imagenetfs.tree.inode import InodeKind, class_fields, class_inode, fields, kind_of
from imagenetfs.tree.tree import Tree

_LOOSE = (InodeKind.SOURCE, InodeKind.ALIAS, InodeKind.ARCHIVES)


class SourcePaths:
    """The way from a tree back to its source."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._index = tree.catalogue.index
        files = (path for file in tree.generated_files for path in file.files)
        self._read_at_mount = tuple(dict.fromkeys(files))

    def paths(self, number: int) -> Iterator[bytes]:
        """The paths in the source that an inode's content or names are read from, or made of; none
        for what says nothing of any file.
        """
        kind = kind_of(number)
        if kind == InodeKind.FIXED:
            yield from self._of_generated(number)
        elif kind == InodeKind.CLASS:
            split, member = class_fields(number)
            yield from self._class_paths(self._tree.split_directories[split], member)
        elif kind == InodeKind.FILE or kind in _LOOSE:
            archive, inner, row = fields(number)
            path = self._path(archive, inner)
            yield path
            within = row if kind == InodeKind.FILE else row - 1
            of_files = self._index.archives[archive].kind is Kind.DIRECTORY
            if of_files and within >= 0 and self._index.known(archive, inner):
                yield join_path(path, self._index.container(archive, inner).members.name(within))

    def _of_generated(self, number: int) -> Iterable[bytes]:
        """Of a file that is made: each path once, though a thousand classes stand in one tar."""
        file = self._tree.generated_file(number)
        if file is None:
            return ()
        found = dict.fromkeys(file.files)
        if file.split is not None:
            for member in range(len(file.split.backend.classes)):
                found.update(dict.fromkeys(self._class_paths(file.split, member)))
        return found

    def is_link(self, number: int) -> bool:
        """Whether an inode is a loose file that a symbolic link leads to."""
        if kind_of(number) != InodeKind.FILE:
            return False
        archive, inner, row = fields(number)
        is_loose = self._index.archives[archive].kind is Kind.DIRECTORY
        if not is_loose or not self._index.known(archive, inner):
            return False
        return row in self._index.container(archive, inner).members.links

    def _class_paths(self, split: Split, member: int) -> Iterator[bytes]:
        for archive, inner in split.backend.places(member):
            yield self._path(archive, inner)

    def _path(self, archive: int, inner: int) -> bytes:
        index = self._index
        own = index.archives[archive]
        if inner == OUTER or own.kind is not Kind.DIRECTORY or not index.known(archive):
            return own.file
        return index.extent(archive, inner).path

    def shown(self) -> Iterator[bytes]:
        """The paths of all of which a reader may have been shown something, those too that were
        read when the mount was made.
        """
        index = self._index
        yield from self._read_at_mount
        for archive in index.archives:
            if not index.known(archive.number):
                continue
            yield archive.file
            if archive.kind is Kind.DIRECTORY:
                for inner in range(len(index.nested(archive.number))):
                    if index.known(archive.number, inner):
                        yield index.container(archive.number, inner).extent.path

    # --- names that the kernel may hold -----------------------------------------------------------

    def names(self, paths: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """(directory, name) of the directories and files that show what is read from these paths,
        or made of it.
        """
        refused = frozenset(paths)
        for parent, name, number in self._tree.named():
            kind = kind_of(number)
            found = self._tree.split_of(number)
            if found is not None:
                yield from self._names_in_split(parent, name, number, *found, refused)
            elif kind in (InodeKind.CLASS, InodeKind.FIXED) and not refused.isdisjoint(
                self.paths(number)
            ):
                yield parent, name
            elif kind in _LOOSE:
                yield from self._names_below(parent, name, number, refused)

    def _names_in_split(
        self,
        parent: int,
        name: bytes,
        number: int,
        at: int,
        split: Split,
        refused: frozenset[bytes],
    ) -> Iterator[tuple[int, bytes]]:
        """Its classes; the split itself too where none is left, for images
        answer to their names in it.
        """
        if not any(self._index.known(archive) for archive in split.backend.archives):
            return
        classes = split.backend.classes
        gone = [
            wnid
            for member, wnid in enumerate(classes)
            if not refused.isdisjoint(self.paths(class_inode(at, member)))
        ]
        # Each, because a working directory is invalidated by no name but its own.
        yield from ((number, wnid) for wnid in gone)
        if gone and len(gone) == len(classes):
            yield parent, name

    def _names_below(
        self, parent: int, name: bytes, number: int, refused: frozenset[bytes]
    ) -> Iterator[tuple[int, bytes]]:
        """The places of the paths in a view of the source tree."""
        top = self._index.archives[fields(number)[0]].path
        for path in refused:
            if path == top:
                yield parent, name
            elif not top or path.startswith(top + b"/"):
                place = self._place(number, path[len(top) :].strip(b"/").split(b"/"))
                if place is not None:
                    yield place

    def _place(self, directory: int, parts: list[bytes]) -> tuple[int, bytes] | None:
        for part in parts[:-1]:
            if not self._is_known(directory):
                return None
            found = self._tree.listing(directory).find(part)
            if found is None:
                return None
            directory = found
        return directory, parts[-1]

    def _is_known(self, directory: int) -> bool:
        archive, inner, _ = fields(directory)
        return self._index.known(archive, inner)
