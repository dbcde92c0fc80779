"""The parts of a mount, assembled once before the first fork, that all of its processes use."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.fuse.attributes import REVISIT_SECONDS, AttributePacker
from imagenetfs.fuse.operations import Operations
from imagenetfs.fuse.stats import SUPERVISOR, SharedStats
from imagenetfs.fuse.status_files import StatusFiles
from imagenetfs.index.index import Index
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.read.access_guard import AccessGuard
from imagenetfs.read.cache_backend import CacheBackend
from imagenetfs.read.ownership import OwnershipMapper
from imagenetfs.read.read_path import cache_backend, inflated_arrays
from imagenetfs.read.reader import Reader
from imagenetfs.read.recent_parts import RecentParts
from imagenetfs.server.mount_plan import MountPlan
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from imagenetfs.tree.source_paths import SourcePaths
from imagenetfs.tree.tree import Tree
from imagenetfs.tree.versions.views import read_list
from imagenetfs.version import __version__

_ATTEMPTS = 3.5
"""The kernel asks up to three times for a page that is mapped; the rest is for the workers that
replace the ended ones.
"""


def attempt_seconds(read_timeout: float) -> float:
    """How long one attempt of a read may take where the whole read may take ``read_timeout``."""
    return read_timeout / _ATTEMPTS


@dataclass(frozen=True, slots=True)
class MountContext:
    """What a mount's processes share. ``ownership``: who owns what, in a mount for all users;
    ``recent``: what its workers have come to.
    """

    catalogue: Catalogue
    tree: Tree
    stats: SharedStats
    index_path: IndexSearchPath
    source_paths: SourcePaths
    inflated: InflatedArrays
    cached: CacheBackend | None = None
    ownership: OwnershipMapper | None = None
    recent: RecentParts = field(default_factory=RecentParts)

    @property
    def source(self) -> Source:
        """The source of all archives."""
        return self.catalogue.source

    @property
    def index(self) -> Index:
        """The member tables."""
        return self.catalogue.index

    def after_fork(self, row: int) -> None:
        """Make it this process's own: its locks are opened anew, and what it does is counted in
        this row of the shared statistics. Each child calls it once, before anything else.
        """
        self.source.count_on(self.stats.row(row))
        self.index.after_fork()
        self.inflated.after_fork()
        if self.cached is not None:
            self.cached.after_fork(self.stats.cache_meter(row))

    def tell_what_is_read(self) -> None:
        """In a worker: note what it comes to."""
        self.index.on_load = self.recent.note_listed
        if self.cached is not None:
            self.cached.recent = self.recent

    def close(self) -> None:
        """In a child that ends: what its cache has counted is left with the segments."""
        if self.cached is not None:
            self.cached.cache.close()


def assemble(plan: MountPlan) -> MountContext:
    """The parts of a mount. Raises UsageError, and what a source or a cache that cannot be used
    raises.
    """
    settings = plan.settings
    stats = SharedStats()
    source = Source(plan.source, stats.row(SUPERVISOR), revalidate=settings.revalidate)
    index_path = IndexSearchPath(settings.index_dir, plan.source, settings.index_path)
    catalogue = build_catalogue(
        source,
        places=index_path,
        in_flight=settings.in_flight,
        prefer=settings.prefer,
        lists={name: read_list(name, path) for name, path in settings.view},
    )
    catalogue.index.builder.wait_limit = attempt_seconds(settings.read_timeout)
    tree = Tree(catalogue, __version__)
    cached = None
    if plan.cache is not None:
        cached = cache_backend(catalogue, plan.cache, settings.revalidate)
    paths = SourcePaths(tree)
    ownership = None
    if plan.root_access is not None:
        ownership = OwnershipMapper(source, paths, settings.revalidate)
    inflated = inflated_arrays(catalogue, cached)
    inflated.by_others = True  # BackgroundInflater's children; the workers must know when they fork
    return MountContext(
        catalogue, tree, stats, index_path, paths, inflated, cached=cached, ownership=ownership
    )


def operations_of(context: MountContext, plan: MountPlan) -> Operations:
    """What answers the kernel's requests."""
    # Before a mount is taken for unused, readers that the kernel's cache serves must be seen.
    revisit = min(REVISIT_SECONDS, plan.idle / 3) if plan.idle else REVISIT_SECONDS
    catalogue = context.catalogue
    guard = AccessGuard(context.source, context.source_paths, context.ownership)
    context.tree.show_words_if(guard.may_show)
    return Operations(
        context.tree,
        Reader(context.index, context.source, context.inflated, context.cached),
        StatusFiles(
            context.stats,
            catalogue.late_warnings,
            plan.log_path,
            context.source.failures,
            context.inflated.under_way,
            plan.log_start,
        ),
        context.stats,
        guard,
        AttributePacker(revisit, plan.root_access, context.ownership),
    )
