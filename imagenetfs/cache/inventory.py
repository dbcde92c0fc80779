"""What a cache holds: listed, verified, cleared.

For people; nothing here is on the read path.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from imagenetfs.cache.directory import CacheDirectory, StoredSegment
from imagenetfs.cache.segment import BLOCKS, Segment, SegmentPath, Verified
from imagenetfs.cache.segment_file import length_of, open_segment


@dataclass(slots=True)
class VolumeUsage:
    """What is held of one volume: ``bytes`` of its ``size``, ``allocated`` on disk, last ``used``
    (seconds since the epoch), and what its segments counted.
    """

    source: str
    version: str
    archive: str
    size: int
    bytes: int = 0
    allocated: int = 0
    used: float = 0.0
    hits: int = 0
    misses: int = 0
    saved: int = 0
    names: list[str] = field(default_factory=list)


@contextlib.contextmanager
def _opened(
    directory: CacheDirectory, stored: StoredSegment, verified: Verified
) -> Iterator[Segment | None]:
    length = length_of(directory.fd, stored.name)
    path = SegmentPath(directory.fd, stored.name, stored.key, stored.number, length)
    segment = open_segment(path, verified) if length else None
    try:
        yield segment
    finally:
        if segment is not None:
            segment.close()


def _usage_of(about: dict[str, Any]) -> VolumeUsage:
    source, version, archive = (str(about.get(n, "?")) for n in ("source", "version", "archive"))
    return VolumeUsage(source, version, archive, int(about.get("size", 0)))


def list_volumes(directory: CacheDirectory) -> list[VolumeUsage]:
    """All volumes, by version and archive. Raises OSError."""
    found: dict[bytes, VolumeUsage] = {}
    verified = Verified()
    for stored in directory.segments():
        with _opened(directory, stored, verified) as segment:
            about: dict[str, Any] = segment.about() if segment is not None else {}
            one = found.get(stored.key) or _usage_of(about)
            found[stored.key] = one
            one.names.append(stored.name)
            one.allocated += stored.allocated
            one.used = max(one.used, stored.used)
            if segment is not None:
                one.bytes += sum(size for _, size in segment.present(0, BLOCKS))
                hits, misses, saved = segment.counters()
                one.hits += hits
                one.misses += misses
                one.saved += saved
    return sorted(found.values(), key=lambda one: (one.version, one.archive))


@dataclass(slots=True)
class Verification:
    """Blocks that were found right, blocks that were not and are gone,
    files that were no segments.
    """

    right: int = 0
    wrong: int = 0
    files: int = 0


def verify(directory: CacheDirectory, tell: Callable[[int, int], None]) -> Verification:
    """Verify every block's checksum and remove the wrong blocks. Raises OSError.

    ``tell(bytes verified, bytes in all)`` is called now and then.
    """
    verdict, stored = Verification(), list(directory.segments())
    total, before = sum(one.allocated for one in stored), 0
    for one in stored:
        with _opened(directory, one, Verified()) as segment:
            if segment is None:
                directory.remove(one.name)
                verdict.files += 1
                continue
            blocks = segment.present(0, BLOCKS)
            for at, (block, _) in enumerate(blocks):
                if segment.missing(block, 1) and _drop_if_wrong(segment, block):
                    verdict.wrong += 1
                else:
                    verdict.right += 1
                tell(before + one.allocated * (at + 1) // len(blocks), total)
        before += one.allocated
    return verdict


def _drop_if_wrong(segment: Segment, block: int) -> bool:
    """Drop a block, unless a process has fetched it anew since."""
    with segment.locked(block, 1) as had:
        wrong = bool(segment.missing(block, 1))
        if wrong and had:
            segment.invalidate(block)
    return wrong


def clear(directory: CacheDirectory, wanted: Callable[[VolumeUsage], bool]) -> int:
    """Remove what is held of the volumes that are ``wanted``; the bytes that were freed.

    Raises OSError.
    """
    freed = 0
    for one in list_volumes(directory):
        if wanted(one):
            for name in one.names:
                directory.remove(name)
            freed += one.allocated
    return freed
