"""A sample a second, of the counters as they are then."""

from __future__ import annotations

from trio.testing import MockClock

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SUPERVISOR, SharedStats
from imagenetfs.server.activity_recorder import ActivityRecorder
from imagenetfs.server.worker_pool import WorkerPool
from tests.helpers.fake_children import later, play


def test_a_sample_a_second() -> None:
    stats = SharedStats()
    pool = WorkerPool(stats, lambda number: 0, cores=2, ceiling=8, deadline=20.0)
    own = stats.row(SUPERVISOR)

    async def story(clock: MockClock) -> None:
        for number in range(3):
            stats.row(number)[Counter.IMAGES] += 5
            stats.row(number)[Counter.SOURCE_SPENT_NS] += 7
            own[Counter.MOST_BUSY] = number
            await later(clock, 1.0)

    play(ActivityRecorder(stats, pool).run, story)
    found = stats.samples.last()
    assert [one.images for one in found] == [0, 5, 10, 15]
    assert [one.spent_ns for one in found] == [0, 7, 14, 21]
    assert [one.most_busy for one in found] == [0, 0, 1, 2]
    assert own[Counter.MOST_BUSY] == 0, "each sample has its own most"
