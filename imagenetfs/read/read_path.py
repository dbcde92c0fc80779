"""The read path of a catalogue, put together once for all who read: a mount's workers, the stager,
the library. Reader, read cache and inflated arrays; a thread has a twin of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.inflated_arrays import InflatedArrays, Keep
from imagenetfs.cache.quota import CacheSetup
from imagenetfs.cache.volume_writer import Pieces
from imagenetfs.index.archives import Kind
from imagenetfs.read.cache_backend import CacheBackend, CachedArchives, Volumes
from imagenetfs.read.reader import Reader
from imagenetfs.source.source import REVALIDATE_SECONDS, Source
from imagenetfs.tree.catalogue import Catalogue, archives_of


def cache_backend(
    catalogue: Catalogue, setup: CacheSetup, revalidate: float = REVALIDATE_SECONDS
) -> CacheBackend:
    """Reads through the cache in a directory. Raises PlaceRefusedError, NoSpaceError."""
    cache = BlockCache(CacheDirectory(setup.directory), setup.limits)
    catalogue.index.builder.local = CachedArchives(cache, catalogue.index)
    return CacheBackend(cache, volumes_of(catalogue), catalogue.source, revalidate)


def volumes_of(catalogue: Catalogue) -> Volumes:
    """The volumes of all archives, each with the version that it belongs to."""
    versions, alike = dict[int, str](), dict[int, int]()
    for version in catalogue.versions:
        for split in version.splits:
            archives = archives_of([split])
            for number in archives:
                versions.setdefault(number, version.name.decode())
                alike.setdefault(number, len(archives))
    return Volumes(catalogue.index, catalogue.source, versions, alike)


def inflated_arrays(catalogue: Catalogue, cached: CacheBackend | None) -> InflatedArrays:
    """A catalogue's deflated arrays, inflated into the cache where there is one.

    Make it before forking.
    """
    keep: Keep | None = None
    if cached is not None:
        cache, volumes = cached.cache, cached.volumes

        def keep(archive: int, pieces: Pieces, moved: Callable[[], None]) -> None:
            cache.writer().write(volumes.of_unpacked(archive), pieces, moved)

    paths = catalogue.paths_of(Kind.NPZ)
    return InflatedArrays(catalogue.source, paths, catalogue.index.array, keep=keep)


@dataclass(frozen=True, slots=True)
class ReadPath:
    """A reader with what it reads from, for one thread of a process at a time."""

    reader: Reader
    source: Source
    unpacked: InflatedArrays
    cached: CacheBackend | None

    @classmethod
    def of(cls, catalogue: Catalogue, cached: CacheBackend | None) -> ReadPath:
        """The read path of a catalogue. Make it before forking."""
        unpacked = inflated_arrays(catalogue, cached)
        reader = Reader(catalogue.index, catalogue.source, unpacked, cached)
        return cls(reader, catalogue.source, unpacked, cached)

    def twin(self) -> ReadPath:
        """Another one for a thread: its own descriptors, and in common what is known of the files
        and which headers were verified. Inflated arrays stay one thread's at a time.
        """
        source = self.source.twin()
        cached = self.cached.twin(source) if self.cached is not None else None
        return ReadPath(self.reader.twin(source, cached), source, self.unpacked, cached)

    def close(self) -> None:
        """Close what it has open."""
        if self.cached is not None:
            self.cached.cache.close()  # what it has counted stays with the segments
        self.source.close()
