"""What the supervisor says of its mount in status.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagenetfs.cache.quota import CacheSetup, Limits
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.mount_facts import MountFacts
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from imagenetfs.server.worker_pool import WorkerPool
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.version import __version__

SETTINGS = ServerSettings(workers=4, in_flight=None, index_dir=None, read_timeout=35.0)


def split(name: bytes, origin: str, *classes: bytes, archives: range = range(0)) -> Split:
    return Split(name, cast(Any, SimpleNamespace(classes=classes, archives=archives)), origin)


@pytest.fixture
def stats() -> SharedStats:
    return SharedStats()


def facts(stats: SharedStats, **more: Any) -> MountFacts:
    plan = MountPlan(source=Path("/s"), mountpoint=Path("/m"), settings=SETTINGS, **more)
    versions = [
        Version(
            b"A",
            [
                split(b"train", "a.tar", b"n1", b"n2", archives=range(2)),
                split(b"val", "val/", archives=range(100)),
            ],
        ),
        Version(b"B"),
    ]
    train, val = versions[0].splits
    catalogue = SimpleNamespace(versions=versions, warnings=["w"], shortfalls=["s"])
    context = SimpleNamespace(
        stats=stats,
        catalogue=catalogue,
        tree=SimpleNamespace(split_directories=[val, train, train]),
        index=SimpleNamespace(title="archive {}".format),
    )
    return MountFacts(plan, cast(MountContext, context))


def pool(*pids: int, restarts: int = 0) -> WorkerPool:
    return cast(WorkerPool, SimpleNamespace(pids=list(pids), restarts=restarts))


def test_what_is_mounted_where(stats: SharedStats) -> None:
    facts(stats).publish(pool(11, 12))
    found = dict(stats.facts())
    assert found.pop("started") > 1e9
    assert found == {
        "version": __version__,
        "source": "/s",
        "mountpoint": "/m",
        "pid": os.getpid(),
        "warnings": ["w", "s"],
        "shortfalls": ["s"],
        "versions": {
            "A": {
                "train": {
                    "classes": 2,
                    "origin": "a.tar",
                    "archives": ["archive 0", "archive 1"],
                },
                "val": {"classes": 0, "origin": "val/", "archives": []},  # too many to be named
            },
            "B": {},
        },
        "split_names": ["A/val", "A/train", "A/train"],
        "stage": [],
        "cpus": len(os.sched_getaffinity(0)),
        "most_workers": 4,
        "cache": None,
        "log": None,
        "worker_pids": [11, 12],
        "worker_restarts": 0,
    }


def test_the_plans_warnings_come_first_and_cache_and_log_are_named(stats: SharedStats) -> None:
    setup = CacheSetup(Path("/c"), Limits(1 << 30, 7))
    one = facts(stats, warnings=("p",), cache=setup, log_path=Path("/l"))
    one.publish(pool())
    found = stats.facts()
    assert one.warnings == found["warnings"] == ["p", "w", "s"]
    assert (found["cache"], found["log"]) == ({"directory": "/c", "size": 1 << 30}, "/l")
    json.dumps(found)


def test_of_the_workers_the_latest_is_told_and_nothing_else_changes(stats: SharedStats) -> None:
    one = facts(stats)
    one.publish(pool(11))
    before = dict(stats.facts())
    one.publish(pool(11, 0, 13, restarts=2))
    after = dict(stats.facts())
    assert (after.pop("worker_pids"), after.pop("worker_restarts")) == ([11, 0, 13], 2)
    assert (before.pop("worker_pids"), before.pop("worker_restarts")) == ([11], 0)
    assert after == before
