"""A source of one archive, and indexes of it that share one index file: for tests of sharing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imagenetfs.formats.tar import walk
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.bulk_build import BuildProgress, Outcome
from imagenetfs.index.coordination import PATIENCE_SECONDS, BuildCoordinator, lease_path
from imagenetfs.index.group_build import Shard, index_group
from imagenetfs.index.index import Index
from imagenetfs.index.leases import HeldElsewhereError, Holder, acquire
from imagenetfs.source.file import IoStats
from imagenetfs.source.source import Source
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from tests.helpers.archives import contents, image, train_tar

CLASSES, IMAGES = 12, 40


def source_of_one(tmp_path: Path) -> Path:
    """A source with a tar of class tars, ``t.tar``."""
    root = tmp_path / "source"
    root.mkdir()
    (root / "t.tar").write_bytes(train_tar(CLASSES, IMAGES))
    return root


def sharing_index(
    root: Path,
    file: Path,
    scan: Callable[..., object] = walk.scan,
    meter: IoStats | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
    patience: float = PATIENCE_SECONDS,
) -> Index:
    """An index as a mount of its own has it, which shares ``file`` with others."""
    source = Source(root, meter, clock=clock)
    archives = [Archive(0, b"t.tar", Kind.TAR)]
    sharing = BuildCoordinator({0: file}, clock, patience)
    return Index(
        source,
        archives,
        Arena(1),
        stores=[(frozenset([0]), [file])],
        coordinator=sharing,
        scan=scan,
    )


def all_right(index: Index) -> None:
    for inner in range(len(index.nested(0))):
        n = inner + 1
        assert contents(index, 0, inner) == {
            b"n%08d_%d.JPEG" % (n, k): image(n * 100 + k, 600 + k) for k in range(IMAGES)
        }


class Elsewhere:
    """Somebody on another node who holds the lease."""

    def __init__(self, file: Path) -> None:
        self.lease = acquire(lease_path(file), "elsewhere")


def holder_met(attempt: Callable[[], object]) -> Holder | None:
    """The holder of the lease that an attempt needs; None where the attempt succeeded."""
    try:
        attempt()
    except HeldElsewhereError as held:
        return held.holder
    return None


def indexed(
    index: Index,
    file: Path,
    shard: Shard | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Outcome:
    return index_group(index, [0], file, in_flight=1, processes=1, shard=shard, progress=progress)
