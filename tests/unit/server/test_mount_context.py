"""The parts of a mount: that they are assembled of its plan, and made a child's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.quota import CacheSetup, Limits
from imagenetfs.counters import Counter
from imagenetfs.errors import UsageError
from imagenetfs.fuse.stats import STAGER, SUPERVISOR
from imagenetfs.server.mount_context import MountContext, assemble
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from tests.helpers.children import ended
from tests.helpers.forked import wait_until


def plan(source: Path, settings: dict[str, Any] | None = None, **more: Any) -> MountPlan:
    given = {"workers": 4, "in_flight": None, "index_dir": None, "read_timeout": 35.0}
    served = ServerSettings(**{**given, **(settings or {})})
    return MountPlan(source=source, mountpoint=source / "m", settings=served, **more)


@pytest.fixture
def context(sample: Path, tmp_path: Path) -> MountContext:
    setup = CacheSetup(tmp_path / "cache", Limits(1 << 30, 0))
    setup.directory.mkdir(mode=0o700)
    return assemble(plan(sample, cache=setup))


def test_one_attempt_of_a_read_leaves_the_kernel_its_others(context: MountContext) -> None:
    assert context.index.builder.wait_limit == 10.0


def test_workers_leave_inflating_to_the_children(context: MountContext) -> None:
    assert context.inflated.by_others


def test_without_a_cache_and_for_one_user(sample: Path) -> None:
    context = assemble(plan(sample))
    assert (context.cached, context.ownership) == (None, None)


def test_for_all_users_ownership_is_mapped(sample: Path) -> None:
    assert assemble(plan(sample, root_access=(0, 0, 0o555))).ownership is not None


def test_a_child_counts_in_its_own_row(context: MountContext) -> None:
    path = next(path for path in context.catalogue.numbers if path.endswith(b".tar"))
    before = requests(context, SUPERVISOR)
    pid = os.fork()
    if pid == 0:
        try:
            context.after_fork(STAGER)
            context.source.ask(path)
            context.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert ended(pid) == 0
    assert requests(context, STAGER) == 1
    assert requests(context, SUPERVISOR) == before
    context.source.ask(path)
    assert requests(context, SUPERVISOR) == before + 1


def requests(context: MountContext, row: int) -> int:
    return int(context.stats.row(row)[Counter.SOURCE_REQUESTS])


@pytest.mark.slow
def test_a_child_s_lock_excludes_its_siblings(context: MountContext) -> None:
    """By the opening that it has from its parent, all of them would hold the lock."""
    ready, tell = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            context.after_fork(SUPERVISOR)
            with context.inflated.scratch.locked(5):
                os.write(tell, b"!")
                signal.pause()
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"!"
    second = os.fork()
    if second == 0:
        try:
            context.after_fork(SUPERVISOR)
            with context.inflated.scratch.locked(5):
                os._exit(0)
        finally:
            os._exit(1)
    wait_until(lambda: "fcntl" in Path(f"/proc/{second}/wchan").read_text())
    os.kill(first, signal.SIGKILL)
    assert ended(second) == 0
    os.waitpid(first, 0)
    for fd in (ready, tell):
        os.close(fd)


def test_the_list_of_a_view_that_cannot_be_read(sample: Path, tmp_path: Path) -> None:
    view = {"view": (("mine", tmp_path / "nothing"),)}
    with pytest.raises(UsageError, match="the list of the view mine cannot be read: No such file"):
        assemble(plan(sample, view))


def test_a_worker_notes_what_it_comes_to(context: MountContext) -> None:
    assert context.cached is not None
    context.tell_what_is_read()
    name = b"ILSVRC2012/ILSVRC2012_img_val.tar"
    archive = context.catalogue.numbers[name]
    _, count = context.recent.listed_since(0)
    container = context.index.container(archive)
    if context.recent.listed_since(0)[1] == count:  # it was known before
        context.index.on_load(archive, -1, container)
    assert context.recent.listed_since(count)[0][0].archive == archive
    part = ByteRange.sized(container.members.offset(0), 10)
    for _ in range(2):  # the second time it is there, and nothing is noted
        context.cached.from_archive(archive, container, part, part)
    last = context.recent.read_last()
    assert last is not None and last.archive == archive
