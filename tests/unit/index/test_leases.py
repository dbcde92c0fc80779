"""Leases on shared places: one holder, dead ones taken over, nobody's taken away by mistake."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from imagenetfs.index import leases
from imagenetfs.index.index_file import remove_stale_temp_files, temp_path
from imagenetfs.index.leases import Lease, acquire
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.process_identity import this_process
from tests.helpers.children import ended, in_child
from tests.helpers.clocks import FakeClock
from tests.helpers.shared_index import holder_met
from tests.helpers.system_calls import patch_os


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / "train.lease"


def _taken(path: Path, owner: str = "us", clock: Clock = SYSTEM_CLOCK) -> Lease:
    return acquire(path, owner, clock)


BEATEN = 1_000_000.0
"""When the file server saw the last beat of a lease of another node, by its own clock."""


def _pretend_elsewhere(path: Path) -> None:
    """As if another node had made it."""
    described = json.loads(path.read_text())
    described["writer"] |= {"host": "node7", "node": "another"}
    path.write_text(json.dumps(described))
    os.utime(path, (BEATEN, BEATEN))


def _acquired_later(
    path: Path, age: float, owner: str = "us", clock: Clock = SYSTEM_CLOCK
) -> Lease:
    """What who comes so many seconds after the last beat gets, by the server's clock."""
    return acquire(path, owner, clock, lambda path: BEATEN + age)


def test_one_holder_at_a_time(path: Path) -> None:
    lease = _taken(path)
    other = holder_met(lambda: acquire(path, "them"))
    assert other is not None
    assert other.owner == "us"
    assert other.writer == this_process()
    assert f"process {os.getpid()}" in str(other)
    lease.release()
    _taken(path, "them").release()
    assert list(path.parent.iterdir()) == []


@pytest.mark.slow
def test_a_crowd_gets_one_lease(path: Path) -> None:
    reader, writer = os.pipe()
    start, go = os.pipe()
    kept = list[Lease]()
    over, end = os.pipe()

    def take() -> None:
        kept.append(acquire(path, str(os.getpid())))

    def compete() -> None:
        os.close(go)
        os.close(end)
        os.read(start, 1)  # ends for all at once, when the parent closes its end
        os.write(writer, b"x" if holder_met(take) is None else b"-")
        os.read(over, 1)  # who has it lives on, or else its lease would be free

    children = [in_child(compete) for _ in range(30)]
    os.close(go)
    os.close(writer)
    said = b"".join(os.read(reader, 1) for _ in children)
    os.close(end)
    assert all(ended(pid) == 0 for pid in children)
    assert sorted(said) == sorted(b"x" + 29 * b"-")
    for fd in (reader, start, over):
        os.close(fd)


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(path: Path) -> None:
    def hold() -> None:
        _taken(path, "dead")
        os.kill(os.getpid(), signal.SIGKILL)

    ended(in_child(hold))
    assert path.exists()
    _taken(path).release()


def test_another_node_s_lease_lives_as_long_as_its_heart_beats(path: Path) -> None:
    _taken(path, "them")
    _pretend_elsewhere(path)
    assert holder_met(lambda: _acquired_later(path, leases.DEAD_SECONDS))
    lease = _acquired_later(path, leases.DEAD_SECONDS + 0.1)
    assert holder_met(lambda: acquire(path, "third"))
    lease.release()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_nodes_clocks_do_not_matter(path: Path, skew: float) -> None:
    """Only the file server's clock says how old a lease is."""
    _taken(path, "them")
    _pretend_elsewhere(path)
    wrong = FakeClock(skew=skew)
    assert holder_met(lambda: _acquired_later(path, 5, clock=wrong))
    assert holder_met(lambda: _acquired_later(path, leases.DEAD_SECONDS + 0.1, clock=wrong)) is None


def test_the_server_is_not_asked_about_a_fresh_beat(path: Path) -> None:
    _taken(path, "them")
    _pretend_elsewhere(path)
    clock = FakeClock()
    os.utime(path, (clock.time(), clock.time()))
    clock.advance(leases.DEAD_SECONDS / 2 - 1)
    asked = []

    def server_time(path: Path) -> float:
        asked.append(path)
        return BEATEN

    assert holder_met(lambda: acquire(path, "us", clock, server_time))
    assert asked == []


def test_the_server_says_its_time_by_a_file(path: Path) -> None:
    """The default: dead by the time that the file system gives to files it makes now."""
    _taken(path, "them")
    _pretend_elsewhere(path)
    assert holder_met(lambda: acquire(path, "us")) is None, "its last beat is decades ago"
    assert list(path.parent.iterdir()) == [path]


def test_a_heart_beats_and_costs_nothing_between(path: Path) -> None:
    clock = FakeClock()
    lease = _taken(path, clock=clock)
    for _ in range(3):
        os.utime(path, (1, 1))
        clock.advance(leases.HEARTBEAT_SECONDS - 0.1)
        lease.heartbeat()
        assert path.stat().st_mtime == 1
        clock.advance(0.2)
        lease.heartbeat()
        assert path.stat().st_mtime > 1


def test_what_was_taken_away_is_not_given_back_nor_kept_alive(path: Path) -> None:
    clock = FakeClock()
    slow = _taken(path, "slow", clock)
    _pretend_elsewhere(path)
    quick = _acquired_later(path, leases.DEAD_SECONDS + 1, "quick")
    os.utime(path, (1, 1))
    clock.advance(leases.HEARTBEAT_SECONDS + 1)
    slow.heartbeat()
    assert path.stat().st_mtime == 1
    slow.release()
    assert path.exists()
    quick.release()
    assert not path.exists()


def test_two_that_find_it_dead_do_not_both_get_it(path: Path) -> None:
    """The slower one has looked before the quicker one took over, and acts after that."""
    _taken(path, "dead")
    _pretend_elsewhere(path)
    seen = leases._look(path)
    assert seen is not None
    assert holder_met(lambda: _acquired_later(path, leases.DEAD_SECONDS + 1, "quick")) is None
    leases._take_away(path, seen[0])
    holder = holder_met(lambda: acquire(path, "third"))
    assert holder is not None
    assert holder.owner == "quick"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"owner": 1}', '{"writer": {"pid": 1}}', "\xff"])
def test_one_that_says_nothing_is_dead_by_its_age_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    os.utime(path, (BEATEN, BEATEN))
    assert holder_met(lambda: _acquired_later(path, leases.NAMELESS_SECONDS))
    lease = _acquired_later(path, leases.NAMELESS_SECONDS + 0.1)
    lease.release()


def test_a_place_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.write_bytes(b"")
    with pytest.raises(OSError, match=r"exists|directory"):
        acquire(path, "us")
    path.parent.unlink()

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch_os(monkeypatch, "imagenetfs.index.leases", write=full)
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
