"""Indexing ahead: all containers, by processes that may be killed, interrupted,
or meet broken archives.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from imagenetfs.counters import REQUESTS
from imagenetfs.errors import SourceReplacedError
from imagenetfs.formats.tar import walk
from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency
from imagenetfs.index import bulk_build as warm_module
from imagenetfs.index import index_file as store_module
from imagenetfs.index.archives import container_key
from imagenetfs.index.bulk_build import BuildProgress, Outcome, build_all, save
from imagenetfs.index.group_build import index_group
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import records_in
from tests.helpers.archives import (
    class_tar,
    contents,
    forget_files,
    image,
    index_of,
    tar_of,
    train_tar,
)
from tests.helpers.children import children_of, ended, in_child
from tests.helpers.system_calls import patch_os

pytestmark = pytest.mark.usefixtures("no_fsync")


CLASSES, IMAGES = 30, 4


@pytest.fixture
def train(tmp_path: Path) -> Path:
    (tmp_path / "t.tar").write_bytes(train_tar(CLASSES, IMAGES))
    return tmp_path


class Slow:
    """A scanner that tells on a pipe when it begins, and takes its time. Inherited by children."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reader, self.writer = os.pipe()

    def __call__(
        self,
        read_at: walk.ReadAt,
        start: int,
        end: int,
        into: walk.MemberColumns,
        hint: object = None,
    ) -> object:
        if start:  # a class tar
            os.write(self.writer, os.getpid().to_bytes(8, "little"))
            time.sleep(self.seconds)
        return walk.scan(read_at, start, end, into)

    def begun(self) -> int:
        """Wait for the next scan; the process that does it."""
        return int.from_bytes(os.read(self.reader, 8), "little")

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], Slow]]:
    monkeypatch.setattr(
        warm_module, "_QUICK_SECONDS", math.inf
    )  # else threads scan in their own way
    made: list[Slow] = []

    def make(seconds: float) -> Slow:
        made.append(Slow(seconds))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _all_there(index: Index) -> None:
    for inner in range(CLASSES):
        assert contents(index, 0, inner) == {
            b"n%08d_%d.JPEG" % (inner + 1, k): image((inner + 1) * 100 + k, 600 + k)
            for k in range(IMAGES)
        }


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def _gone(pid: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while _alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)  # no event: it is no child of ours
    return True


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "in_flight"), [(1, 1), (1, 8), (3, 6), (3, 1), (64, 4)])
def test_everything_is_indexed(train: Path, processes: int, in_flight: int) -> None:
    before = children_of(os.getpid())
    index, seen = index_of(train, "t.tar"), list[BuildProgress]()
    outcome = build_all(index, [0], in_flight=in_flight, processes=processes, progress=seen.append)
    assert outcome == Outcome(CLASSES + 1, CLASSES * (IMAGES + 1), (), (), inner=CLASSES)
    assert outcome.files == CLASSES * IMAGES
    assert all(index.known(0, inner) for inner in range(CLASSES))
    _all_there(index)
    assert children_of(os.getpid()) == before
    assert (seen[-1].done, seen[-1].total) == (CLASSES + 1, CLASSES + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quick", "heeds", "in_flight", "processes", "expected"),
    [
        (1.0, False, 16, 4, "build_serial"),
        (0.0, False, 3, 3, "build_with_threads"),  # no more requests than were asked for
        (0.0, False, 8, 4, "build_with_threads"),
        (0.0, False, 128, 8, "build_with_threads"),  # no more threads in each than it bears
        (0.0, False, None, 4, "build_with_threads"),
        (0.0, True, 3, 1, "build_with_readahead"),
        (0.0, True, 31, 1, "build_with_readahead"),
        (0.0, True, 64, 4, "build_with_readahead"),
        (0.0, True, 1024, 8, "build_with_readahead"),  # two a CPU
        (0.0, True, None, 4, "build_with_readahead"),
    ],
)
def test_how_work_is_dealt_out(
    train: Path,
    quick: float,
    heeds: bool,
    in_flight: int | None,
    processes: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source that answers from memory, few containers of a slow one, many of a slow one."""
    monkeypatch.setattr(warm_module, "_QUICK_SECONDS", quick)
    monkeypatch.setattr(warm_module, "readahead_works", lambda *args: heeds)
    index = index_of(train, "t.tar")
    index.container(0)
    todo = [(0, inner) for inner in range(CLASSES)]
    count, build = warm_module._Plan(in_flight, 4).shares(index, todo)
    name = build.func.__name__ if isinstance(build, partial) else build.__name__
    assert (count, name) == (processes, expected)
    if isinstance(build, partial):
        most = {"build_with_threads": 16, "build_with_readahead": 64}[name]
        assert count * build.args[0].ceiling <= (in_flight or most)
        assert (type(build.args[0]) is AdaptiveConcurrency) == (heeds and in_flight is None)
    outcome = build_all(index, [0], in_flight=in_flight, processes=4)
    assert outcome == Outcome(CLASSES + 1, CLASSES * (IMAGES + 1), (), (), inner=CLASSES)
    _all_there(index)


def test_what_is_read_directly_is_right_and_counted(train: Path) -> None:
    index = index_of(train, "t.tar")
    index.container(0)
    asked = index.source.meter[REQUESTS]
    block = index.build_task(0, 3)()
    assert index.source.meter[REQUESTS] - asked >= IMAGES
    assert block == index.build_task(0, 3, walk.scan)()


def test_what_is_there_is_not_done_again(train: Path) -> None:
    index = index_of(train, "t.tar")
    for inner in range(CLASSES):
        index.container(0, inner)
    seen: list[BuildProgress] = []
    outcome = build_all(index, [0], in_flight=2, processes=2, progress=seen.append)
    assert outcome.containers == CLASSES + 1
    assert seen == []


@pytest.mark.slow
def test_an_index_file_spares_it(train: Path) -> None:
    index = index_of(train, "t.tar")
    build_all(index, [0], in_flight=2, processes=2)
    assert save(index, [0], train / "x.idx") == CLASSES + 1
    stores = [(frozenset([0]), [train / "x.idx"])]

    def never(*arguments: object) -> object:
        raise AssertionError("scanned although the index file has it")

    again = index_of(train, "t.tar", stores=stores, scan=never)
    assert build_all(again, [0], in_flight=2, processes=2).missing == 0
    _all_there(again)


@pytest.mark.slow
@pytest.mark.expects_log(
    "cut off within a header; whole before that", "no tar header here: its checksum does not hold;"
)
def test_broken_archives_are_reported(tmp_path: Path) -> None:
    bad = bytearray(class_tar(2))
    bad[1536 + 100] ^= 1
    (tmp_path / "t.tar").write_bytes(
        tar_of({"n1.tar": class_tar(1), "n2.tar": bytes(bad), "n3.tar": b"no tar" * 200})
    )
    (tmp_path / "cut.tar").write_bytes(class_tar(5)[:2000])
    outcome = build_all(index_of(tmp_path, "t.tar", "cut.tar"), [0, 1], in_flight=2, processes=2)
    assert outcome.missing == 0
    assert outcome.containers == 5
    assert [title.partition(": ")[0] for title in outcome.broken] == ["t.tar", "t.tar", "cut.tar"]
    assert "n2.tar" in outcome.broken[0]
    assert "byte" in outcome.broken[0]


@pytest.mark.slow
@pytest.mark.expects_log("cannot be indexed: cannot read")
def test_an_archive_that_cannot_be_read_does_not_spoil_the_rest(train: Path) -> None:
    (train / "gone.tar").write_bytes(train_tar(2))
    index = index_of(train, "gone.tar", "t.tar")
    (train / "gone.tar").unlink()
    outcome = build_all(index, [0, 1], in_flight=2, processes=2)
    assert outcome.containers == CLASSES + 1
    assert outcome.missing or outcome.broken
    assert save(index, [0, 1], train / "x.idx") == CLASSES + 1


@pytest.mark.slow
@pytest.mark.expects_log("cannot be indexed: cannot read")
@pytest.mark.parametrize(
    "stored",
    [
        False,
        True,
    ],
)
def test_a_class_tar_that_cannot_be_read_does_not_spoil_the_rest(
    tmp_path: Path, stored: bool
) -> None:
    (tmp_path / "tars").mkdir()
    for number in range(10):
        (tmp_path / "tars" / f"n{number}.tar").write_bytes(class_tar(number))
    if stored:
        full = index_of(tmp_path, "tars")
        build_all(full, [0], in_flight=1, processes=1)
        save(full, [0], tmp_path / "x.idx")
    index = index_of(tmp_path, "tars", stores=[(frozenset([0]), [tmp_path / "x.idx"])])
    index.container(0)
    (tmp_path / "tars" / "n0.tar").unlink()
    outcome = build_all(index, [0], in_flight=1, processes=1)
    assert all(index.known(0, inner) for inner in range(1, 10))
    assert outcome.missing == 1


@pytest.mark.expects_log("an indexing process failed")
def test_a_bug_in_one_archive_is_logged(train: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def scan(
        read_at: walk.ReadAt, start: int, end: int, into: walk.MemberColumns, hint: object = None
    ) -> object:
        if start:
            raise ZeroDivisionError("a bug")
        return walk.scan(read_at, start, end, into)

    outcome = build_all(index_of(train, "t.tar", scan=scan), [0], in_flight=2, processes=2)
    assert outcome.missing == CLASSES
    assert outcome.containers == 1


@pytest.mark.slow
def test_killed_at_any_moment(train: Path, slow: Callable[[float], Slow]) -> None:
    """What is published is whole; the next run does the rest."""
    for moment in range(6):
        scanner = slow(0.002)
        index = index_of(train, "t.tar", scan=scanner)
        index.container(0)
        pid = in_child(partial(build_all, index, [0], in_flight=2, processes=2))
        for _ in range(1 + 4 * moment):
            victim = scanner.begun()
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        assert ended(pid) == 0  # its other process goes on, and it says what is missing
        for inner in range(CLASSES):
            if index.known(0, inner):
                assert len(index.container(0, inner).members) == IMAGES
        outcome = build_all(index, [0], in_flight=2, processes=2)
        assert outcome.missing == 0
        _all_there(index)


def test_its_processes_end_with_it(train: Path, slow: Callable[[float], Slow]) -> None:
    scanner = slow(1.5)
    index = index_of(train, "t.tar", scan=scanner)
    index.container(0)
    pid = in_child(partial(build_all, index, [0], in_flight=1, processes=1))
    worker = scanner.begun()
    assert worker != pid
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    try:
        assert _gone(worker, 1.0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def _interrupted(index: Index, place: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        build_all(index, [0], in_flight=2, processes=2)
    except KeyboardInterrupt:
        save(index, [0], place)
        os._exit(130)


@pytest.mark.slow
def test_control_c_keeps_what_is_finished(train: Path, slow: Callable[[float], Slow]) -> None:
    scanner = slow(0.01)
    index, place = index_of(train, "t.tar", scan=scanner), train / "x.idx"
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)  # as a terminal does it: the whole group gets the signal
        try:
            _interrupted(index, place)
        finally:
            os._exit(1)
    workers = {scanner.begun() for _ in range(12)}
    os.killpg(pid, signal.SIGINT)
    assert ended(pid) == 130
    assert all(_gone(worker) for worker in workers)
    again = index_of(train, "t.tar", stores=[(frozenset([0]), [place])])
    store = store_module.open_index_file(place)
    assert store is not None
    assert 2 <= len(store.keys()) < CLASSES + 1
    _all_there(again)
    store.close()


def test_a_failing_progress_ends_the_processes(train: Path, slow: Callable[[float], Slow]) -> None:
    scanner, before = slow(0.05), children_of(os.getpid())

    def fail(progress: BuildProgress) -> None:
        raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="terminal"):
        build_all(
            index_of(train, "t.tar", scan=scanner), [0], in_flight=1, processes=3, progress=fail
        )
    assert children_of(os.getpid()) == before


def test_interrupted_between_two_children(
    train: Path, slow: Callable[[float], Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner, waitpid, reaped = slow(0.3), os.waitpid, list[int]()

    def interrupted(pid: int, options: int) -> tuple[int, int]:
        if options == os.WNOHANG and reaped and pid != reaped[0]:
            raise KeyboardInterrupt
        if options == os.WNOHANG and not reaped:
            os.kill(pid, signal.SIGKILL)
            reaped.append(pid)
            return waitpid(pid, 0)
        return waitpid(pid, options)

    index = index_of(train, "t.tar", scan=scanner)
    index.container(0)
    patch_os(monkeypatch, "imagenetfs.index", waitpid=interrupted)
    before = children_of(os.getpid())
    try:
        with pytest.raises(KeyboardInterrupt):
            build_all(index, [0], in_flight=1, processes=2)
    finally:
        monkeypatch.undo()
        for pid in set(children_of(os.getpid())) - set(before):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_fork_that_fails(
    train: Path, slow: Callable[[float], Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner, fork, before = slow(0.2), os.fork, children_of(os.getpid())
    forked: list[int] = []

    def second_fails() -> int:
        if forked:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        forked.append(0)
        return fork()

    index = index_of(train, "t.tar", scan=scanner)
    index.container(0)
    patch_os(monkeypatch, "imagenetfs.index", fork=second_fails)
    try:
        with contextlib.suppress(OSError):
            build_all(index, [0], in_flight=1, processes=2)
        assert children_of(os.getpid()) == before
    finally:
        monkeypatch.undo()
        for pid in set(children_of(os.getpid())) - set(before):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_saving_unites(train: Path) -> None:
    place = train / "x.idx"
    one, other = index_of(train, "t.tar"), index_of(train, "t.tar")
    one.container(0, 3)
    other.container(0, 5)
    assert save(one, [0], place) == 2
    written = place.stat().st_mtime_ns
    assert save(one, [0], place) == 2
    assert place.stat().st_mtime_ns == written  # nothing new, nothing written
    assert save(other, [0], place) == 3


@pytest.mark.slow
@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
@pytest.mark.parametrize("in_flight", [1, 64])
def test_an_archive_that_was_replaced_stops_no_other(tmp_path: Path, in_flight: int) -> None:
    """It has been said once, by whoever found it; the others of its group
    are indexed and published.
    """
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(train_tar(CLASSES, IMAGES))
    index = index_of(tmp_path, "a.tar", "b.tar")
    assert len(index.container(0).members) == CLASSES
    (tmp_path / "new").write_bytes(train_tar(2, 1))
    os.replace(tmp_path / "new", tmp_path / "a.tar")
    index.loaded.clear()  # as in a process that touches it for the first time
    forget_files(index.source)
    file = tmp_path / "index"
    for _ in range(2):
        outcome = index_group(index, [0, 1], file, in_flight=in_flight, processes=1)
        assert isinstance(outcome, Outcome)
        assert (
            outcome.containers == 2 + CLASSES
        )  # the table of the replaced one is there; its classes are not
        assert outcome.missing == CLASSES
    with pytest.raises(SourceReplacedError):
        index.source.open(b"a.tar")
    assert {container_key(b"b.tar"), container_key(b"b.tar", b"n00000001.tar")} <= set(
        records_in(file)
    )
