"""Splits over an index of archives."""

from __future__ import annotations

from pathlib import Path

from imagenetfs.index.archives import archive_stem
from imagenetfs.index.arena import Arena
from imagenetfs.index.index import Index
from imagenetfs.read.reader import Reader
from imagenetfs.source.source import Source
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.discovery_walk import discover
from imagenetfs.tree.listing import Listing
from imagenetfs.tree.per_class_split import PerClassSplit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import WNID, SplitBackend
from tests.helpers.archives import image
from tests.helpers.listings import check_listing


def classes_within(index: Index, archive: int) -> dict[bytes, Place]:
    """The class containers in an archive, by wnid."""
    members = index.container(archive).members
    found: dict[bytes, Place] = {}
    for inner, row in enumerate(index.nested(archive).tolist()):
        name = archive_stem(members.base_name(row))
        if WNID.fullmatch(name):
            found[name] = (archive, inner)
    return found


def by_class(index: Index, archive: int, instead: int | None = None) -> PerClassSplit:
    """A split of the class containers in an archive, and what takes the place of broken ones."""
    return PerClassSplit(
        index,
        classes_within(index, archive),
        lambda: classes_within(index, instead) if instead is not None else {},
    )


def selector_of(root: Path, at: bytes = b"", prefer: str = "archives") -> ArchiveSelector:
    """What chooses among the archives of a source, for a version whose directory is ``at``."""
    source = Source(root)
    found = discover(source)
    index = Index(source, found.archives, Arena(len(found.archives)))
    return ArchiveSelector(found, index, prefer, at)


def images_of(index: Index, listing: Listing) -> dict[bytes, bytes]:
    """Name -> bytes, as a mount would read them."""
    reader = Reader(index, index.source)
    return {
        name: reader.read(number, 0, 1 << 20)
        for name, (number, _) in check_listing(listing).items()
    }


def split_images(index: Index, backend: SplitBackend) -> dict[bytes, dict[bytes, bytes]]:
    """Class -> name -> bytes."""
    return {
        wnid: images_of(index, backend.listing(number))
        for number, wnid in enumerate(backend.classes)
    }


def expected_class(number: int, count: int = 3) -> dict[bytes, bytes]:
    """Name -> bytes of a class of tests.helpers.archives."""
    return {b"n%08d_%d.JPEG" % (number, k): image(number * 100 + k, 600 + k) for k in range(count)}
