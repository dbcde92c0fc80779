"""Leases on shared places: one holder, dead ones taken over, nobody's taken away by mistake."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest

from imagenetfs.index import leases
from imagenetfs.index.index_file import remove_stale_temp_files, temp_path
from imagenetfs.index.leases import Holder, Lease, acquire
from imagenetfs.system.process_identity import this_process
from tests.helpers.children import ended, in_child


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / "train.lease"


def _taken(path: Path, owner: str = "us") -> Lease:
    lease = acquire(path, owner)
    assert isinstance(lease, Lease)
    return lease


def _pretend_elsewhere(path: Path, age: float) -> None:
    """As if another node had made it, so many seconds ago."""
    described = json.loads(path.read_text())
    described["writer"] |= {"host": "node7", "node": "another"}
    path.write_text(json.dumps(described))
    os.utime(path, (time.time() - age, time.time() - age))


def test_one_holder_at_a_time(path: Path) -> None:
    lease = _taken(path)
    other = acquire(path, "them")
    assert isinstance(other, Holder)
    assert other.owner == "us"
    assert other.writer == this_process()
    assert f"process {os.getpid()}" in str(other)
    lease.release()
    _taken(path, "them").release()
    assert list(path.parent.iterdir()) == []


def test_a_crowd_gets_one_lease(path: Path) -> None:
    reader, writer = os.pipe()
    start, go = os.pipe()

    def compete() -> None:
        os.close(go)
        os.read(start, 1)  # ends for all at once, when the parent closes its end
        if isinstance(acquire(path, str(os.getpid())), Lease):
            os.write(writer, b"x")
            time.sleep(1)  # or else it would be dead, and its lease free

    children = [in_child(compete) for _ in range(30)]
    os.close(go)
    assert all(ended(pid) == 0 for pid in children)
    os.close(writer)
    assert os.read(reader, 100) == b"x"
    os.close(reader)
    os.close(start)


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(path: Path) -> None:
    def hold() -> None:
        _taken(path, "dead")
        os.kill(os.getpid(), signal.SIGKILL)

    ended(in_child(hold))
    assert path.exists()
    _taken(path).release()


def test_another_node_s_lease_lives_as_long_as_its_heart_beats(path: Path) -> None:
    _taken(path, "them")
    _pretend_elsewhere(path, leases.DEAD_SECONDS - 5)
    assert isinstance(acquire(path, "us"), Holder)
    _pretend_elsewhere(path, leases.DEAD_SECONDS + 5)
    lease = _taken(path)
    assert isinstance(acquire(path, "third"), Holder)
    lease.release()
    assert list(path.parent.iterdir()) == []


def test_nodes_clocks_do_not_matter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the file server's clock says how old a lease is."""
    _taken(path, "them")
    _pretend_elsewhere(path, 5)
    for skew in (-3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda skew=skew: time.monotonic() * 0 + skew)
        assert isinstance(acquire(path, "us"), Holder)
    monkeypatch.undo()
    _pretend_elsewhere(path, leases.DEAD_SECONDS + 5)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600.0)
    assert isinstance(acquire(path, "us"), Lease)


def test_a_heart_beats_and_costs_nothing_between(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = _taken(path)
    os.utime(path, (1, 1))
    lease.heartbeat()
    assert path.stat().st_mtime == 1
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    lease.heartbeat()
    assert time.time() - path.stat().st_mtime < 60


def test_what_was_taken_away_is_not_given_back_nor_kept_alive(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _taken(path, "slow")
    _pretend_elsewhere(path, leases.DEAD_SECONDS + 1)
    quick = _taken(path, "quick")
    os.utime(path, (1, 1))
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    slow.heartbeat()
    assert path.stat().st_mtime == 1
    slow.release()
    assert path.exists()
    quick.release()
    assert not path.exists()


def test_two_that_find_it_dead_do_not_both_get_it(path: Path) -> None:
    """The slower one has looked before the quicker one took over, and acts after that."""
    _taken(path, "dead")
    _pretend_elsewhere(path, leases.DEAD_SECONDS + 1)
    seen = leases._look(path)
    assert seen is not None
    _taken(path, "quick")
    leases._take_away(path, seen[0])
    holder = acquire(path, "third")
    assert isinstance(holder, Holder)
    assert holder.owner == "quick"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"owner": 1}', '{"writer": {"pid": 1}}', "\xff"])
def test_one_that_says_nothing_is_dead_by_its_age_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    assert isinstance(acquire(path, "us"), Holder)
    ago = time.time() - leases.NAMELESS_SECONDS - 1
    os.utime(path, (ago, ago))
    _taken(path).release()


def test_a_place_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.write_bytes(b"")
    with pytest.raises(OSError, match=r"exists|directory"):
        acquire(path, "us")
    path.parent.unlink()

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        acquire(path, "us")
    assert list(path.parent.iterdir()) == []


def test_what_dead_writers_left_is_swept_away(path: Path) -> None:
    path.parent.mkdir()

    def leave() -> None:
        temp_path(path.with_suffix(".idx")).write_bytes(b"half")

    assert ended(in_child(leave)) == 0
    mine, other = temp_path(path.with_suffix(".idx")), path.parent / ".val.idx.h.n.1.2.abc"
    old = path.parent / ".train.idx.host.of.dots.another.1.2.abc"
    young = path.parent / ".train.idx.host.another.1.2.abd"
    for each in (mine, other, old, young):
        each.write_bytes(b"")
    os.utime(old, (1, 1))
    remove_stale_temp_files(path.with_suffix(".idx"))
    left = set(path.parent.iterdir())
    assert left == {mine, other, young}
