"""The pool of workers, with a clock, a board, and processes of the test's own making."""

from __future__ import annotations

import errno
import math
import os
import signal

import pytest

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.server.worker import RETIRED, SESSION_OVER
from imagenetfs.server.worker_pool import WorkerPool

DEADLINE = 20.0
LOOK = 0.5
"""The longest time between two looks of the supervisor, in seconds."""


class World:
    """What the pool sees of the system: the time, forks, waits, kills, and who is asleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.next_pid = 500
        self.numbers: dict[int, int] = {}
        self.alive: set[int] = set()
        self.dead: dict[int, int] = {}
        self.reaped: set[int] = set()
        self.asleep: set[int] = set()
        self.stopped: set[int] = set()
        self.kills: list[tuple[int, int]] = []
        self.forks: list[float] = []
        self.refuse_forks = False
        self.unkillable: set[int] = set()
        self.ignores_term: set[int] = set()

    def fork(self, number: int) -> int:
        if self.refuse_forks:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.next_pid += 1
        taken = {self.numbers[pid] for pid in self.alive}
        assert number not in taken
        self.numbers[self.next_pid] = number
        self.alive.add(self.next_pid)
        self.forks.append(self.now)
        return self.next_pid

    def end(self, pid: int, status: int) -> None:
        """The process ends with a wait status."""
        self.alive.discard(pid)
        self.dead[pid] = status

    def waitpid(self, pid: int, options: int, /) -> tuple[int, int]:
        assert pid not in self.reaped, "reaped twice: by now another process has that pid"
        if pid in self.dead:
            self.reaped.add(pid)
            return pid, self.dead.pop(pid)
        assert options == os.WNOHANG, "this waits for ever"
        return 0, 0

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return self.monotonic_ns()

    def is_waiting(self, pid: int, /) -> bool:
        return pid in self.asleep

    def is_stopped(self, pid: int, /) -> bool:
        return pid in self.stopped

    def ended(self) -> list[int]:
        """Who was killed, and not asked to leave."""
        return [pid for pid, number in self.kills if number == signal.SIGKILL]

    def kill(self, pid: int, number: int, /) -> None:
        assert pid not in self.reaped, "killed after it was reaped: by now somebody else's pid"
        self.kills.append((pid, number))
        if pid in self.unkillable or pid not in self.alive:
            return
        if number == signal.SIGKILL:
            self.end(pid, signal.SIGKILL)
        elif pid not in self.ignores_term:
            self.end(pid, RETIRED << 8)


@pytest.fixture
def world() -> World:
    return World()


class Mount:
    """A pool in its world, driven as the supervisor drives it."""

    def __init__(self, world: World, cores: int = 2, ceiling: int = 8) -> None:
        self.world = world
        self.stats = SharedStats()
        self.pool = WorkerPool(
            self.stats,
            world.fork,
            cores=cores,
            ceiling=ceiling,
            deadline=DEADLINE,
            clock=world,
            processes=world,
        )
        self.pool.fill()

    @property
    def pids(self) -> list[int]:
        return [pid for pid in self.pool.pids if pid]

    def row(self, pid: int) -> memoryview:
        return self.stats.row(self.world.numbers[pid])

    def wait_in_source(self, pid: int, since: float | None = None, asleep: bool = True) -> None:
        """The worker has a read of the source under way."""
        row = self.row(pid)
        begun = self.world.now if since is None else since
        row[Counter.SOURCE_SINCE] = row[Counter.BUSY_SINCE] = int(begun * 1e9)
        if asleep:
            self.world.asleep.add(pid)

    def rest(self, pid: int) -> None:
        """The worker has nothing to do."""
        row = self.row(pid)
        row[Counter.SOURCE_SINCE] = row[Counter.BUSY_SINCE] = 0
        self.world.asleep.add(pid)

    def request(self) -> None:
        self.stats.row(0)[Counter.FIRST_REQUEST] += 1

    def step(self, seconds: float = 0.02, times: int = 1) -> None:
        """Time goes by, with the supervisor's looks at most half a second apart."""
        looks = max(1, math.ceil(seconds / LOOK))
        for _ in range(times * looks):
            self.world.now += seconds / looks
            self.look()

    def look(self) -> None:
        self.pool.tick()
        self.pool.reap()
        self.pool.fill()


# --- growing --------------------------------------------------------------------------------------


def test_who_waits_for_another_process_is_not_counted(world: World) -> None:
    """Twelve wait for one array, and two are free, although the ceiling is eight."""
    mount = Mount(world, ceiling=8)
    for _ in range(12):
        free = next(pid for pid in mount.pids if not mount.row(pid)[Counter.LOCK_SINCE])
        mount.wait_in_source(free)
        mount.row(free)[Counter.LOCK_SINCE] = 1
        mount.step(times=3)
    assert len(mount.pids) == 14
    for pid in mount.pids:
        mount.row(pid)[Counter.LOCK_SINCE] = 0
        mount.rest(pid)
    mount.step(times=7)
    assert len(mount.pids) == 8
    assert {number for _, number in world.kills} == {signal.SIGTERM}


@pytest.mark.expects_log("s for the source; it is ended", "s; another takes its place")
def test_who_waits_for_another_process_has_a_deadline(world: World) -> None:
    mount = Mount(world)
    [first, _] = mount.pids
    mount.wait_in_source(first)
    mount.row(first)[Counter.LOCK_SINCE] = 1
    mount.step(DEADLINE / 2, times=3)
    assert (first, signal.SIGKILL) in world.kills


def test_it_begins_with_two(world: World) -> None:
    mount = Mount(world, cores=16)
    assert len(mount.pool) == 2
    assert mount.pool.pids == mount.pids
    mount.step(times=50)
    assert len(mount.pool) == 2


@pytest.mark.parametrize("ceiling", [1, 2, 3])
def test_never_beyond_the_ceiling(world: World, ceiling: int) -> None:
    mount = Mount(world, ceiling=ceiling)
    for _ in range(20):
        for pid in mount.pids:
            mount.wait_in_source(pid, since=world.now - 1)
        mount.request()
        mount.step()
    assert len(mount.pool) == ceiling


def test_two_are_always_free_of_the_source(world: World) -> None:
    mount = Mount(world, ceiling=64)
    stuck: list[int] = []
    for _ in range(10):
        free = [pid for pid in mount.pids if pid not in stuck]
        mount.wait_in_source(free[0], since=world.now - 0.005)
        stuck.append(free[0])
        mount.request()
        mount.step(times=3)
        assert len(mount.pids) - len(stuck) == 2
    assert len(mount.pool) == 12


def test_everybody_stuck_up_to_the_ceiling(world: World) -> None:
    mount = Mount(world, ceiling=1000)
    for _ in range(100):
        for pid in mount.pids:
            if not mount.row(pid)[Counter.SOURCE_SINCE]:
                mount.wait_in_source(pid, since=world.now - 0.005)
        mount.request()
        mount.step()
    assert len(mount.pool) == MAX_WORKERS


def test_short_reads_are_no_reason(world: World) -> None:
    mount = Mount(world)
    for _ in range(50):
        for pid in mount.pids:
            mount.wait_in_source(pid, since=world.now + 0.02 - 0.0005)
        mount.request()
        mount.step(0.02)
    assert len(mount.pool) == 2


def test_wanting_the_cpu_is_no_reason(world: World) -> None:
    mount = Mount(world)
    for _ in range(50):
        for pid in mount.pids:
            mount.wait_in_source(pid, since=world.now - 1, asleep=False)
        mount.request()
        mount.step()
    assert len(mount.pool) == 2


def test_busy_workers_are_as_many_as_cores(world: World) -> None:
    mount = Mount(world, cores=4)
    for _ in range(50):
        for pid in mount.pids:
            mount.row(pid)[Counter.BUSY_SINCE] = int(world.now * 1e9)
        mount.request()
        mount.step()
    assert len(mount.pool) == 4


# --- shrinking ------------------------------------------------------------------------------------


def _grown(world: World, count: int) -> Mount:
    mount = Mount(world, ceiling=count)
    for _ in range(count * 2):
        for pid in mount.pids:
            mount.wait_in_source(pid, since=world.now - 0.5)
        mount.request()
        mount.step()
    assert len(mount.pool) == count
    for pid in mount.pids:
        mount.rest(pid)
    return mount


def test_extras_go_after_ten_seconds_of_idleness(world: World) -> None:
    mount = _grown(world, 8)
    for _ in range(8):
        mount.request()
        mount.step(1.0)
    assert len(mount.pool) == 8
    for _ in range(20):
        mount.request()
        mount.step(1.0)
    assert len(mount.pool) == 2
    assert mount.pool.restarts == 0


def test_extras_that_are_needed_stay(world: World) -> None:
    mount = _grown(world, 8)
    for _ in range(60):
        for pid in mount.pids[:5]:
            mount.row(pid)[Counter.BUSY_SINCE] = int(world.now * 1e9)
        mount.request()
        mount.step(1.0)
    assert 6 <= len(mount.pool) <= 8


def test_one_is_left_after_a_minute_of_nothing(world: World) -> None:
    mount = _grown(world, 5)
    mount.step(0.5, times=200)
    forks = len(world.forks)
    counts = set()
    for _ in range(100):
        mount.step(0.5)
        counts.add(len(mount.pool))
    assert counts == {1}
    assert len(world.forks) == forks


def test_never_below_one(world: World) -> None:
    mount = _grown(world, 5)
    for _ in range(400):
        mount.step(0.5)
        assert len(mount.pool) >= 1


def test_after_a_pause_it_grows_again(world: World) -> None:
    mount = _grown(world, 5)
    mount.step(0.5, times=300)
    for _ in range(20):
        for pid in mount.pids:
            mount.wait_in_source(pid, since=world.now - 0.5)
        mount.request()
        mount.step()
    assert len(mount.pool) == 5


def test_one_that_is_slow_to_leave_is_not_replaced_by_killing_others(world: World) -> None:
    mount = _grown(world, 4)
    world.ignores_term = set(mount.pids)
    for _ in range(40):
        mount.request()
        mount.step(1.0)
    assert len({pid for pid, _ in world.kills}) == 1
    assert len(mount.pool) == 4


# --- deaths ---------------------------------------------------------------------------------------


@pytest.mark.expects_log("s; another takes its place")
def test_a_killed_worker_is_replaced_at_once(world: World) -> None:
    mount = Mount(world)
    for turn in range(100):
        world.end(mount.pids[turn % 2], signal.SIGKILL)
        mount.step(0.001)
        assert len(mount.pool) == 2
    assert mount.pool.restarts == 100


@pytest.mark.expects_log("s; another takes its place")
def test_a_replacement_begins_with_a_clean_row(world: World) -> None:
    mount = Mount(world)
    victim = mount.pids[0]
    mount.wait_in_source(victim)
    mount.row(victim)[Counter.PID] = victim
    mount.row(victim)[Counter.IMAGES] = 7
    world.end(victim, signal.SIGKILL)
    mount.pool.reap()
    row = mount.row(victim)
    assert (row[Counter.PID], row[Counter.BUSY_SINCE], row[Counter.SOURCE_SINCE]) == (0, 0, 0)
    assert row[Counter.IMAGES] == 7  # sums stay right


def _forks_in(mount: Mount, seconds: float, status: int) -> int:
    """How often a worker is started when each dies at once."""
    before = len(mount.world.forks)
    for _ in range(int(seconds / 0.02)):
        for pid in mount.pids:
            mount.world.end(pid, status)
        mount.step()
    return len(mount.world.forks) - before


@pytest.mark.expects_log("s; another takes its place")
def test_workers_that_fail_are_replaced_more_and_more_slowly(world: World) -> None:
    mount = Mount(world)
    first = _forks_in(mount, 2.0, 1 << 8)
    assert 2 <= first < 20
    assert 2 <= _forks_in(mount, 30.0, 1 << 8) <= 16
    world.now += 5.1
    mount.step()
    world.now += 1.5  # one that lives is no failure
    for pid in mount.pids:
        world.end(pid, 1 << 8)
    mount.step(times=2)
    assert len(mount.pool) == 2


@pytest.mark.expects_log("s; another takes its place")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_workers_that_crash_are_slowed_down_too(world: World, number: int) -> None:
    assert _forks_in(Mount(world), 5.0, number) < 40


def test_asked_to_leave_is_no_failure(world: World) -> None:
    mount = Mount(world)
    for _ in range(10):
        world.end(mount.pids[0], RETIRED << 8)
        mount.step()
        assert len(mount.pool) == 2
    assert mount.pool.restarts == 0


def test_the_end_of_the_session(world: World) -> None:
    mount = Mount(world)
    world.end(mount.pids[1], SESSION_OVER << 8)
    assert mount.pool.reap()
    assert mount.pool.over
    assert mount.pool.restarts == 0


@pytest.mark.expects_log(
    "no new worker could be started: Resource temporarily unavailable", "s; another takes its place"
)
def test_no_process_to_be_had(world: World) -> None:
    mount = Mount(world)
    world.refuse_forks = True
    for pid in mount.pids:
        world.end(pid, signal.SIGKILL)
    mount.step(times=100)
    assert len(mount.pool) == 0
    world.refuse_forks = False
    mount.step(times=60)
    assert len(mount.pool) == 2


# --- the deadline ---------------------------------------------------------------------------------


@pytest.mark.expects_log("s for the source; it is ended", "s; another takes its place")
def test_a_worker_over_its_deadline_is_ended(world: World) -> None:
    mount = Mount(world)
    victim = mount.pids[0]
    mount.wait_in_source(victim)
    mount.step(DEADLINE - 0.1)
    assert world.kills == []
    mount.step(0.2)
    assert world.kills == [(victim, signal.SIGKILL)]
    assert victim not in mount.pids
    assert len(mount.pool) >= 2


@pytest.mark.expects_log("s for the source; it is ended", "s; another takes its place")
def test_all_that_a_read_waits_for_counts(world: World) -> None:
    """It opens the archive, waits for another process's fetch, then reads: three
    times nearly the deadline.
    """
    mount = Mount(world)
    mount.step()
    pid = mount.pids[0]
    mount.row(pid)[Counter.READ_SINCE] = int(world.now * 1e9)
    mount.wait_in_source(pid, since=world.now)
    mount.step(DEADLINE * 0.9)
    assert not world.kills
    mount.wait_in_source(pid, since=world.now)
    mount.step(DEADLINE * 0.11)
    assert not world.kills, "what it does now has only begun"
    mount.step(DEADLINE * 0.03)
    assert world.kills == [(pid, signal.SIGKILL)]


def test_a_new_read_is_a_new_deadline(world: World) -> None:
    mount = Mount(world)
    victim = mount.pids[0]
    for _ in range(30):
        mount.wait_in_source(victim)
        mount.step(DEADLINE * 0.9)
    assert world.kills == []


@pytest.mark.expects_log("s for the source; it is ended")
def test_one_that_cannot_die_is_killed_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    mount = Mount(world)
    victim = mount.pids[0]
    world.unkillable.add(victim)
    mount.wait_in_source(victim)
    mount.step(DEADLINE + 1)
    mount.step(times=100)
    assert len([pid for pid, _ in world.kills if pid == victim]) <= 2
    assert len(mount.pool) == 3  # two others serve
    assert caplog.text.count("is ended") <= 2


# --- stopped workers and suspended mounts ---------------------------------------------------------


@pytest.mark.expects_log("is stopped and answers nothing; others serve beside it")
def test_others_serve_beside_stopped_ones(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Twice over the ceiling, one after the other; nobody is ended, for they hold no request."""
    mount = Mount(world, ceiling=4)
    for _ in range(4):
        world.stopped |= set(mount.pids)
        mount.request()
        mount.step(1.0, times=6)
        assert len([pid for pid in mount.pids if pid not in world.stopped]) == 2
    assert world.ended() == []
    assert caplog.text.count("is stopped and answers nothing") == 8
    assert all(mount.row(pid)[Counter.STOPPED_SINCE] for pid in world.stopped)
    world.stopped.clear()
    mount.step(1.0, times=30)
    assert len(mount.pids) <= 4
    assert not any(mount.row(pid)[Counter.STOPPED_SINCE] for pid in mount.pids)


def test_a_stop_of_a_moment_is_none(world: World) -> None:
    mount = Mount(world)
    for _ in range(20):
        world.stopped = set(mount.pids)
        mount.step(0.4)
        world.stopped.clear()
        mount.step(1.1)
    assert (len(mount.pids), world.ended()) == (2, [])


@pytest.mark.expects_log("is stopped and answers nothing; others serve beside it")
def test_a_quiet_mount_has_one_that_is_not_stopped(world: World) -> None:
    mount = Mount(world)
    mount.step(0.5, times=300)
    assert len(mount.pids) == 1
    world.stopped = set(mount.pids)
    mount.step(0.5, times=300)
    assert len(mount.pids) == 2
    assert world.stopped <= set(mount.pids)


@pytest.mark.expects_log(
    "is stopped and answers nothing; others serve beside it",
    "s within a request; it is ended",
    "s; another takes its place",
)
def test_one_that_is_stopped_within_a_request_is_ended(world: World) -> None:
    """S15: whoever waits for it gets an answer. Not so where it holds none."""
    mount = Mount(world)
    mount.step()
    victim, idle = mount.pids
    mount.row(victim)[Counter.BUSY_SINCE] = int(world.now * 1e9)
    world.stopped = {victim, idle}
    mount.step(DEADLINE * 0.9)
    assert world.ended() == []
    mount.step(DEADLINE * 0.2)
    assert world.ended() == [victim]


@pytest.mark.expects_log("is stopped and answers nothing; others serve beside it")
def test_long_work_that_is_stopped_for_a_moment_is_not_ended(world: World) -> None:
    mount = Mount(world)
    mount.step()
    [first, _] = mount.pids
    mount.row(first)[Counter.BUSY_SINCE] = int(world.now * 1e9)
    mount.step(DEADLINE * 5)
    world.stopped = {first}
    mount.step(DEADLINE / 2)
    assert world.ended() == []


@pytest.mark.expects_log("s for the source; it is ended", "s; another takes its place")
@pytest.mark.parametrize("seconds", [2.5, 120.0, 86_400.0])
def test_what_was_suspended_is_not_overdue(world: World, seconds: float) -> None:
    """S20: a deadline goes on where it stood, once and not anew with each suspension."""
    mount = Mount(world)
    victim = mount.pids[0]
    mount.step()
    mount.wait_in_source(victim)
    for _ in range(3):
        mount.step(DEADLINE * 0.3)
        world.now += seconds
        mount.look()
    assert world.ended() == []
    assert mount.pool.quiet_seconds < DEADLINE
    mount.step(DEADLINE * 0.15)
    assert world.ended() == [victim]


@pytest.mark.expects_log("s for the source; it is ended", "s; another takes its place")
def test_work_that_began_while_the_supervisor_was_suspended(world: World) -> None:
    mount = Mount(world)
    victim = mount.pids[0]
    mount.step()
    world.now += 100.0
    mount.wait_in_source(victim)
    world.now += 50.0
    mount.look()
    mount.step(DEADLINE * 0.9)
    assert world.ended() == []
    mount.step(DEADLINE * 0.2)
    assert world.ended() == [victim]


# --- the end --------------------------------------------------------------------------------------


def test_kill_ends_all(world: World) -> None:
    mount = _grown(world, 5)
    pids = mount.pids
    world.end(pids[2], 1 << 8)  # dead already, not reaped yet
    mount.pool.kill()
    assert set(pids) <= world.reaped
    assert len(mount.pool) == 0
    mount.pool.kill()


@pytest.mark.expects_log("workers that wait for the source are left to")
def test_the_end_does_not_wait_for_one_that_cannot_die(world: World) -> None:
    mount = Mount(world)
    world.unkillable.add(mount.pids[0])
    mount.pool.kill()
