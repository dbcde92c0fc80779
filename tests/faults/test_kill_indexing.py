"""Indexing killed at any moment: the next one finds a sound index, and serves right bytes.

IMAGENETFS_TEST_INDEX_KILLS says how often (300 for the full run).
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from imagenetfs.index import bulk_build as warm_module
from imagenetfs.index import group_build as groups_module
from imagenetfs.index.bulk_build import Outcome
from imagenetfs.index.coordination import lease_path
from imagenetfs.index.group_build import index_group
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import IndexFile
from imagenetfs.index.leases import NAMELESS_SECONDS, acquire
from tests.helpers.archives import contents, image, train_tar
from tests.helpers.children import children_of
from tests.helpers.randomness import seeded
from tests.helpers.shared_index import holder_met, sharing_index
from tests.helpers.system_calls import patch_os

KILLS = int(os.environ.get("IMAGENETFS_TEST_INDEX_KILLS", "10"))
CLASSES, IMAGES = 30, 50


@pytest.fixture(autouse=True)
def _busy_publishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish all the time, so that kills fall into that too; and do not wait for the disk."""
    for name in ("_PUBLISHED_EVERY", "_PUBLISHING_SHARE"):
        monkeypatch.setattr(groups_module, name, 0)
    monkeypatch.setattr(warm_module, "_POLL_SECONDS", 0.001)
    patch_os(monkeypatch, "imagenetfs.index", fsync=lambda fd: None)


def _index(root: Path, file: Path) -> Outcome:
    index = sharing_index(root, file)
    return index_group(index, [0], file, in_flight=4, processes=2)


def _indexer(root: Path, file: Path) -> int:
    """An indexing command in a process group of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        _index(root, file)
    finally:
        os._exit(0)


def _kill(pid: int, choose: random.Random) -> None:
    """The command, one of its processes, or all of them at once."""
    victim = choose.choice(["all", "command", *map(str, children_of(pid))])
    if victim == "all":
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid if victim == "command" else int(victim), signal.SIGKILL)


def _check(index: Index, classes: list[int]) -> None:
    for number in classes:
        assert contents(index, 0, number) == {
            b"n%08d_%d.JPEG" % (number + 1, k): image((number + 1) * 100 + k, 600 + k)
            for k in range(IMAGES)
        }


def _wait_until_free(file: Path) -> None:
    """At once, but where its holder was killed before it had written its name."""
    deadline = time.monotonic() + 10 * NAMELESS_SECONDS

    def acquire_and_release() -> None:
        acquire(lease_path(file), "the next one").release()

    while (holder := holder_met(acquire_and_release)) is not None:
        assert holder.writer is None
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.02)


@pytest.mark.timeout(120 + 2 * KILLS)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    root, file = tmp_path / "source", tmp_path / "index" / "t.idx"
    root.mkdir()
    (root / "t.tar").write_bytes(train_tar(CLASSES, IMAGES))
    whole = tmp_path / "whole" / "t.idx"
    started = time.monotonic()
    _index(root, whole)
    duration, killed, partial = time.monotonic() - started, 0, 0
    choose = seeded("kills of an indexer")
    for _ in range(KILLS):
        file.unlink(missing_ok=True)
        pid = _indexer(root, file)
        time.sleep(choose.uniform(0, 1.2 * duration))
        try:
            _kill(pid, choose)
            killed += 1
        except (ProcessLookupError, FileNotFoundError):
            pass  # it was done already
        os.waitpid(pid, 0)
        if file.exists():
            store = IndexFile(file)  # sound whenever it is there
            records = store.records()
            assert [record.key for record in records] == store.keys()
            partial += len(records) < CLASSES + 1
            store.close()
        # A mount that comes now serves right bytes without waiting for the dead,
        _check(sharing_index(root, file), choose.sample(range(CLASSES), 2))
        # and an index that is made now is as any other.
        _wait_until_free(file)
        assert _index(root, file).missing == 0
        assert file.read_bytes() == whole.read_bytes()
        assert list(file.parent.iterdir()) == [file]
    print(f"{killed} of {KILLS} killed while they indexed, {partial} of them with a part published")
    assert killed, "how many is a matter of speed; none would show nothing"
    _check(sharing_index(root, file), list(range(CLASSES)))
