"""The catalogue: everything above class level, built once before the mount serves.

It is the one place of the tree that reads the source: two levels of directories, the headers of the
tars of class tars, the devkit. What it holds is the same in every process that is forked afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.errors import SourceUnknownError
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.build import Index
from imagenetfs.index.places import IndexPlaces
from imagenetfs.source.directory import Source
from imagenetfs.tree.ilsvrc2012 import Ilsvrc2012
from imagenetfs.tree.layout import Split, Version
from imagenetfs.tree.survey import Survey, index_group, survey


@dataclass(slots=True)
class Catalogue:
    """The source as it was at mount: archives, versions, and what is wrong with it."""

    source: Source
    index: Index
    archives: Sequence[Archive]
    versions: list[Version]
    warnings: list[str]
    numbers: dict[bytes, int]
    mtime_ns: int
    bytes: int

    def groups(self, archives: Sequence[int]) -> dict[str, list[int]]:
        """The archives by the index file that keeps them."""
        found: dict[str, list[int]] = {}
        for number in archives:
            found.setdefault(index_group(self.archives[number]), []).append(number)
        return found


def build_catalogue(
    source: Source, *, places: IndexPlaces, prefer: str = "archives", arena_dir: Path | None = None
) -> Catalogue:
    """Look at the source. Raises SourceUnknownError where it holds no known version."""
    found = survey(source)
    arena = Arena(len(found.archives), arena_dir)
    groups: dict[str, list[int]] = {}
    for archive in found.archives:
        groups.setdefault(index_group(archive), []).append(archive.number)
    stores = [(frozenset(numbers), places.files(group)) for group, numbers in groups.items()]
    index = Index(source, found.archives, arena, stores=stores)
    versions = _versions(found, index, prefer)
    if not versions:
        raise SourceUnknownError(
            f"{source.path} holds no version of ImageNet that is known here; give the directory that "
            "holds ILSVRC2012/ and the others (see the layout in the README)."
        )
    status = source.status(b"")
    mtime_ns = status.st_mtime_ns if status else 0
    return Catalogue(
        source,
        index,
        found.archives,
        versions,
        found.warnings,
        found.numbers,
        mtime_ns,
        _bytes(source, index, versions),
    )


def _versions(found: Survey, index: Index, prefer: str) -> list[Version]:
    return Ilsvrc2012(found, index, prefer).versions()


def _bytes(source: Source, index: Index, versions: Sequence[Version]) -> int:
    """The size of the tars that the splits read; directories would have to be walked."""
    numbers = archives_of([split for version in versions for split in version.splits])
    tars = [index.archives[n].path for n in numbers if index.archives[n].kind is Kind.TAR]
    return sum(status.st_size for path in tars if (status := source.status(path)) is not None)


def archives_of(splits: Sequence[Split]) -> list[int]:
    """The archives that these splits read, in order, each once."""
    return list(dict.fromkeys(number for split in splits for number in split.shelf.archives))
