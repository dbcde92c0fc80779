"""How busy workers are: what looks at their rows add up to."""

from __future__ import annotations

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SUPERVISOR, SharedStats
from imagenetfs.server.load_meter import LoadMeter

IDLE, AT_SOURCE, FOR_OTHERS, ON_DISK, RUNNING = range(5)
WORKERS = {100 + number: number for number in range(5)}
SUMS = (Counter.WORKER_NS, Counter.BUSY_NS, Counter.SOURCE_NS, Counter.DISK_NS)


def board() -> SharedStats:
    """Five workers, each at something else."""
    stats = SharedStats()
    for number in range(AT_SOURCE, 5):
        stats.row(number)[Counter.BUSY_SINCE] = 1
    stats.row(AT_SOURCE)[Counter.SOURCE_SINCE] = 1
    stats.row(FOR_OTHERS)[Counter.LOCK_SINCE] = 1
    return stats


def is_asleep(pid: int) -> bool:
    return WORKERS[pid] != RUNNING


def sums(stats: SharedStats) -> list[int]:
    return [stats.row(SUPERVISOR)[cell] for cell in SUMS]


def test_what_is_found_counts_for_the_time_since_the_last_look() -> None:
    stats = board()
    meter = LoadMeter(stats, is_asleep)
    meter.look(WORKERS, 1000)
    assert sums(stats) == [0, 0, 0, 0]
    meter.look(WORKERS, 1010)
    assert sums(stats) == [50, 40, 20, 10]
    meter.look({104: RUNNING}, 1110)
    assert sums(stats) == [150, 140, 20, 10]


def test_a_request_that_ends_during_the_look_was_not_on_the_disk() -> None:
    stats = board()

    def ends(pid: int) -> bool:
        stats.row(WORKERS[pid])[Counter.BUSY_SINCE] = 0
        return True

    meter = LoadMeter(stats, ends)
    for now in (1000, 1010):
        meter.look({103: ON_DISK}, now)
    assert sums(stats) == [10, 0, 0, 0]


def test_the_most_at_one_time_of_each_sample() -> None:
    stats = board()
    stats.row(RUNNING)[Counter.READ_SINCE] = 1
    meter, own = LoadMeter(stats, is_asleep), stats.row(SUPERVISOR)
    meter.look(WORKERS, 1000)
    meter.look({100: IDLE}, 1010)
    assert own[Counter.MOST_BUSY] == 4
    meter.start_anew()
    meter.look({104: RUNNING}, 1020)
    assert own[Counter.MOST_BUSY] == 1


def test_who_asks_for_the_status_is_no_reader() -> None:
    """A worker that writes it reads no image, and waits for nothing."""
    stats = board()
    meter, own = LoadMeter(stats, is_asleep), stats.row(SUPERVISOR)
    meter.look(WORKERS, 1000)
    meter.look(WORKERS, 1010)
    assert (own[Counter.MOST_BUSY], own[Counter.BUSY_NS]) == (3, 40)


def test_cpu_times_are_what_came_since_the_last_time() -> None:
    stats = SharedStats()
    times: dict[int, tuple[int, int] | None] = {100: (10, 1), 101: (20, 2), 102: None}
    meter, own = LoadMeter(stats, is_asleep, times.get), stats.row(SUPERVISOR)
    meter.read_cpu_times(WORKERS)
    assert (own[Counter.RUN_NS], own[Counter.QUEUED_NS]) == (30, 3)
    times |= {100: (15, 1), 101: None}
    meter.read_cpu_times(WORKERS)
    assert (own[Counter.RUN_NS], own[Counter.QUEUED_NS]) == (35, 3)
    times[100] = (2, 0)  # another process has its number
    meter.read_cpu_times(WORKERS)
    assert (own[Counter.RUN_NS], own[Counter.QUEUED_NS]) == (35, 3)
