"""What the supervisor says of its mount in status.json."""

from __future__ import annotations

import os
import time

from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.mount_plan import MountPlan
from imagenetfs.server.worker_pool import WorkerPool
from imagenetfs.tree.dataset import Split
from imagenetfs.version import __version__

_FEW = 16


class MountFacts:
    """The facts of one mount; all but those of its workers stay as they are."""

    def __init__(self, plan: MountPlan, context: MountContext) -> None:
        self._stats = context.stats
        catalogue, cache = context.catalogue, plan.cache
        self.warnings = [*plan.warnings, *catalogue.warnings, *catalogue.shortfalls]
        self._fixed = {
            "version": __version__,
            "source": str(plan.source),
            "mountpoint": str(plan.mountpoint),
            "pid": os.getpid(),
            "started": time.time(),
            "warnings": self.warnings,
            "shortfalls": catalogue.shortfalls,
            "versions": {
                version.name.decode(): {
                    split.name.decode(): {
                        "classes": len(split.backend.classes),
                        "origin": split.origin,
                        "archives": _titles(context, split),
                    }
                    for split in version.splits
                }
                for version in catalogue.versions
            },
            "split_names": _names(context),
            "stage": list(plan.settings.stage),
            "cpus": len(os.sched_getaffinity(0)),
            "most_workers": plan.settings.workers,
            "cache": cache and {"directory": str(cache.directory), "size": cache.limits.size},
            "log": str(plan.log_path) if plan.log_path else None,
        }

    def publish(self, pool: WorkerPool) -> None:
        """Write them where all processes of the mount read them."""
        workers = {"worker_pids": pool.pids, "worker_restarts": pool.restarts}
        self._stats.publish({**self._fixed, **workers})


def _titles(context: MountContext, split: Split) -> list[str]:
    """The archives of a split, where these are few: the cache's data are known by them."""
    numbers = split.backend.archives
    return [context.index.title(number) for number in numbers] if len(numbers) <= _FEW else []


def _names(context: MountContext) -> list[str]:
    """The splits' names, by the numbers of their directories."""
    names = {
        id(split): f"{version.name.decode()}/{split.name.decode()}"
        for version in context.catalogue.versions
        for split in version.splits
    }
    return [names.get(id(split), "") for split in context.tree.split_directories]
