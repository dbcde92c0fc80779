"""Who builds a container: one process at a time, once, and none after a wait in vain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.counters import WAITING
from imagenetfs.errors import SourceReadError
from imagenetfs.index import container_builder
from imagenetfs.index.archives import OUTER
from imagenetfs.index.container_builder import BuildInProgressError, Target
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from tests.helpers.archives import Scans, class_tar, close, index_of
from tests.helpers.children import ended, in_child
from tests.helpers.clocks import FakeClock


@pytest.fixture
def scans() -> Scans:
    return Scans()


@pytest.fixture
def index(tmp_path: Path, scans: Scans) -> Iterator[Index]:
    (tmp_path / "c.tar").write_bytes(class_tar(1, images=3))
    found = index_of(tmp_path, "c.tar", scan=scans)
    yield found
    close(found)


@pytest.fixture
def target(index: Index) -> Target:
    return Target(0, OUTER, index.key(0, OUTER), index.extent(0, OUTER))


def test_a_container_is_built_once(index: Index, scans: Scans, target: Target) -> None:
    builder = index.builder
    block = builder.load_or_build(target)
    assert len(MemberTable(block)) == 3
    assert bytes(builder.load_or_build(target)) == bytes(block)
    assert len(scans.extents) == 1


def test_what_another_builds_now_a_bulk_build_leaves(index: Index, target: Target) -> None:
    builder = index.builder

    def is_refused() -> None:
        index.after_fork()
        with pytest.raises(BuildInProgressError), builder.building_lock(0, OUTER):
            raise AssertionError("the lock is held by another process")

    with builder.building_lock(0, OUTER):
        assert ended(in_child(is_refused)) == 0
    with builder.building_lock(0, OUTER):  # it was given back
        pass


def test_a_reader_that_has_waited_too_long_starts_no_build(
    index: Index, scans: Scans, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder, clock = index.builder, FakeClock()
    monkeypatch.setattr(container_builder, "time", clock)
    builder.wait_limit = 5.0
    real = builder._tables.locked

    def locked(*args: object) -> object:
        clock.advance(5.1)
        return real(*args)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(builder._tables, "locked", locked)
    with pytest.raises(SourceReadError, match=r"^c\.tar could not be read: others waited"):
        builder.load_or_build(target)
    assert scans.extents == []
    builder.wait_limit = 5.2
    assert len(MemberTable(builder.load_or_build(target))) == 3


def test_one_that_waits_is_seen_to(index: Index, target: Target) -> None:
    meter = index.source.meter
    index.builder._show_waiting(True)
    assert meter[WAITING] > 0
    index.builder._show_waiting(False)
    assert meter[WAITING] == 0


def test_what_a_thread_built_is_not_published_by_itself(index: Index, target: Target) -> None:
    builder = index.builder
    serial = Scans()
    block = builder.find_or_build(target, serial)
    assert (len(serial.extents), index.known(0)) == (1, False)
    assert builder.publish_built(0, OUTER, block) == 3
    assert index.known(0)


def test_who_publishes_first_is_right(index: Index, target: Target) -> None:
    builder = index.builder
    first = bytes(builder.load_or_build(target))
    assert builder.publish_built(0, OUTER, b"what another thread built later") == 3
    assert bytes(builder.load_or_build(target)) == first


def test_a_scan_that_fails_publishes_nothing(index: Index, scans: Scans, target: Target) -> None:
    def fail(start: int) -> None:
        raise SourceReadError("the disk failed.")

    scans.before = fail
    with pytest.raises(SourceReadError, match="the disk failed"):
        index.builder.load_or_build(target)
    assert not index.known(0)
    scans.before = lambda start: None
    assert len(MemberTable(index.builder.load_or_build(target))) == 3
