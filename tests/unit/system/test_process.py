"""What a child of the supervisor does first, each time in a child of the test."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import select
import signal
import socket
import time
from ast import literal_eval
from pathlib import Path

import pytest

from imagenetfs.system import process
from tests.helpers.children import ended, in_child
from tests.helpers.forked import DEADLINE_SECONDS, answer, held_child, read_to_end, wait_until

_PR_GET_PDEATHSIG = 2


def test_a_child_takes_its_name_and_dies_with_its_parent() -> None:
    parent = os.getpid()

    def child() -> tuple[str, int]:
        process.set_parent_death_signal(parent, process.STAGER)
        number = ctypes.c_int()
        ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
        return Path("/proc/self/comm").read_text(), number.value

    assert answer(child) == ["imagenetfs-stag\n", signal.SIGKILL]


def test_the_names_are_told_apart_by_what_the_kernel_keeps_of_them() -> None:
    names = [getattr(process, name) for name in dir(process) if name.isupper()]
    shown = [name[:15] for name in names if isinstance(name, str)]
    assert len(shown) == len(set(shown)) == 7


def test_a_child_ends_when_its_parent_does() -> None:
    reader, writer = os.pipe()

    def parent() -> None:
        ready, tell = os.pipe()
        own = os.getpid()

        def grandchild() -> None:
            process.set_parent_death_signal(own, "x")
            os.write(tell, b"!")
            signal.pause()

        in_child(grandchild)
        os.read(ready, 1)

    assert ended(in_child(parent)) == 0
    os.close(writer)
    assert read_to_end(reader) == b""  # the grandchild held the other end


def test_a_child_whose_parent_has_ended_already_ends_too() -> None:
    assert ended(in_child(lambda: process.set_parent_death_signal(1 << 22, "x"))) == 1


def test_signals_are_set_for_a_child() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def child() -> list[bool]:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(writer)
        process.reset_signals()
        return [
            signal.set_wakeup_fd(-1) == -1,
            *(signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGINT, signal.SIGHUP)),
            *(signal.getsignal(n) is signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGCHLD)),
        ]

    assert answer(child) == [True] * 5
    os.close(reader)
    os.close(writer)


def _open_descriptors() -> list[int]:
    there = sorted(map(int, os.listdir("/proc/self/fd")))  # that of the listing is among them
    return [fd for fd in there if Path(f"/proc/self/fd/{fd}").exists()]


@pytest.mark.parametrize("order", [1, -1])
def test_only_what_is_kept_stays_open(order: int) -> None:
    reader, writer = os.pipe()

    def child() -> None:
        inherited = [os.dup(0) for _ in range(9)]
        keep = (inherited[5], inherited[2], writer)[::order]
        process.close_inherited(keep)
        os.write(writer, repr((sorted((0, 1, 2, *keep)), _open_descriptors())).encode())

    pid = in_child(child)
    os.close(writer)
    expected, held = literal_eval(read_to_end(reader).decode())
    assert held == expected
    assert ended(pid) == 0


def test_no_log_line_goes_into_another_file(tmp_path: Path) -> None:
    """The descriptor of a log file is closed, and a new file may get its number."""

    def child() -> None:
        handler = logging.FileHandler(tmp_path / "log")
        logging.getLogger("imagenetfs.here").addHandler(handler)
        process.close_inherited()
        with (tmp_path / "other").open("wb"):
            logging.getLogger("imagenetfs.here").error("a line")

    assert ended(in_child(child)) == 0
    assert (tmp_path / "other").read_bytes() == b""


def test_no_garbage_of_the_parent_closes_a_new_file() -> None:
    """A file in a circle of garbage would close its number again, whatever has it by then."""

    def child() -> None:
        gc.disable()
        circle: list[object] = [open(os.devnull)]
        circle.append(circle)
        del circle
        process.close_inherited()
        anew = [os.open(os.devnull, os.O_RDONLY) for _ in range(64)]
        gc.collect()
        for fd in anew:
            os.fstat(fd)

    assert ended(in_child(child)) == 0


def test_nothing_but_the_standard_streams_stays_open() -> None:
    reader, writer = os.pipe()

    def child() -> None:
        os.dup2(writer, 1)
        process.close_inherited()
        os.write(1, repr(_open_descriptors()).encode())

    pid = in_child(child)
    os.close(writer)
    assert read_to_end(reader) == b"[0, 1, 2]"
    assert ended(pid) == 0


def test_no_core_file_is_left() -> None:
    def child() -> tuple[int, int]:
        process.no_core_dumps()
        return resource.getrlimit(resource.RLIMIT_CORE)

    assert answer(child) == [0, 0]


def test_a_limit_that_cannot_be_set_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(which: int, limits: tuple[int, int]) -> None:
        asked.append((which, limits))
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    process.no_core_dumps()
    assert asked == [(resource.RLIMIT_CORE, (0, 0))]


def test_a_process_that_runs_does_not_wait() -> None:
    assert not process.is_waiting(os.getpid())


def test_a_process_that_sleeps_waits() -> None:
    with held_child() as pid:
        wait_until(lambda: process.is_waiting(pid))


def test_the_state_is_behind_the_whole_name() -> None:
    """A name may hold what looks like the end of it (proc(5))."""

    def take_name() -> None:
        ctypes.CDLL(None).prctl(15, b"x) S 1", 0, 0, 0)

    with held_child(take_name) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        assert not process.is_waiting(pid)


def test_a_process_that_is_not_there_does_not_wait() -> None:
    with held_child() as pid:
        pass
    assert not process.is_waiting(pid)


def test_the_other_end_of_a_socket_is_known() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert process.peer_of(ours) == (os.getpid(), os.getuid())


def test_the_process_that_connected_is_known(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(DEADLINE_SECONDS)
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(tmp_path / "s"))
                poller = select.poll()
                poller.register(one, select.POLLIN)
                poller.poll(DEADLINE_SECONDS * 1000)

        pid = in_child(connect)
        connection, _ = listener.accept()
        with connection:
            assert process.peer_of(connection) == (pid, os.getuid())
        assert ended(pid) == 0


def test_the_cpu_times_of_a_process() -> None:
    before = process.cpu_times(os.getpid())
    if before is None:
        pytest.skip("this kernel keeps no statistics of its scheduler")
    until = time.thread_time_ns() + 5_000_000
    while time.thread_time_ns() < until:
        pass
    after = process.cpu_times(os.getpid())
    assert after is not None
    assert after[0] > before[0] + 2_000_000, "at the kernel's last tick at the latest"
    assert after[1] >= before[1]
    assert process.cpu_times(2**22 + 1) is None
