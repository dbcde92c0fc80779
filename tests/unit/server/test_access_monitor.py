"""When the source is asked whether it still lets us read, and the kernel told: by a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server import access_monitor
from imagenetfs.server.access_monitor import AccessMonitor
from imagenetfs.source.source import Source
from imagenetfs.system.process import ASKER, TELLER
from tests.helpers.clocks import FakeClock

REVALIDATE = 60.0


class Shown:
    """Paths of the source that the mount shows: none."""

    def shown(self) -> Iterator[bytes]:
        return iter(())

    def names(self, paths: list[bytes]) -> Iterator[tuple[int, bytes]]:
        return iter(())


class FakeChild:
    """A child that ends when the test says so."""

    started: list[FakeChild]

    def __init__(
        self, session: int, work: Callable[[], None], what: str, name: str, *, keep_session: bool
    ) -> None:
        self.name = name
        self.is_over = False
        self.started.append(self)

    def ended(self) -> bool:
        return self.is_over


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[FakeChild]:
    FakeChild.started = []
    monkeypatch.setattr(access_monitor, "Child", FakeChild)
    return FakeChild.started


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    one = Source(tmp_path)
    yield one
    one.close()


def monitor(source: Source, clock: FakeClock) -> AccessMonitor:
    return AccessMonitor(source, Shown(), SharedStats(), REVALIDATE, clock=clock)  # type: ignore[arg-type]


def test_the_source_is_asked_twice_in_the_time(source: Source, children: list[FakeChild]) -> None:
    clock, at = FakeClock(), []
    one, begun = monitor(source, clock), clock.monotonic()
    for _ in range(200):
        clock.advance(1.0)
        before = len(children)
        one.tick(-1)
        if len(children) > before:
            at.append(clock.monotonic() - begun)
            children[-1].is_over = True
    assert at == [30.0, 60.0, 90.0, 120.0, 150.0, 180.0]
    assert {child.name for child in children} == {ASKER}


def test_one_that_is_kept_waiting_is_not_joined_by_others(
    source: Source, children: list[FakeChild]
) -> None:
    clock = FakeClock()
    one = monitor(source, clock)
    for _ in range(200):
        clock.advance(1.0)
        one.tick(-1)
    assert len(children) == 1
    children[0].is_over = True
    one.tick(-1)
    assert len(children) == 2


def test_the_kernel_is_told_each_time_while_anything_is_refused(
    source: Source, children: list[FakeChild]
) -> None:
    clock = FakeClock()
    one = monitor(source, clock)
    source.known.refuse(b"a.tar")
    for _ in range(2):
        clock.advance(REVALIDATE / 2)
        for _ in range(3):
            one.tick(-1)
            children[-1].is_over = True
    assert [child.name for child in children] == [ASKER, TELLER, ASKER, TELLER]
    source.known.permit(b"a.tar")
    clock.advance(REVALIDATE / 2)
    for _ in range(3):
        one.tick(-1)
        children[-1].is_over = True
    assert [child.name for child in children[4:]] == [ASKER]
