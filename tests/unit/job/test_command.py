"""Running the user's command: arguments, exit codes, signals, dispositions."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagenetfs.job import command
from imagenetfs.job.group_sentinel import GroupSentinel
from tests.helpers.bench import until
from tests.helpers.forkserver import shared

FRONT = "import os, sys; from imagenetfs.job import command; sys.exit(command.run({}, os.environ))"

BARE = [sys.executable, "-I", "-S", "-c"]
"""An interpreter that starts in a fifth of the time, for a command that needs no package."""


def front() -> None:
    """In a child of the fork server: run what its command line names."""
    sys.exit(command.run(sys.argv[1:], os.environ))


def start_front(argv: list[str], **options: Any) -> subprocess.Popen[str]:
    """A front: with Popen's own options a child of this process, else one of the fork server."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    if streams.keys() <= {"stdin", "stdout", "stderr", "start_new_session"}:
        return shared().popen("tests.unit.job.test_command:front", argv, **streams)
    code = FRONT.format(repr(argv))
    own: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", code], text=True, **streams
    )
    return own


def run_front(argv: list[str], **options: Any) -> tuple[int, str, str]:
    front = start_front(argv, **options)
    out, err = front.communicate(timeout=60)
    return front.returncode, out, err


def test_what_was_most_probably_meant_otherwise() -> None:
    assert command.doubts(["ls", "{mnt}/ILSVRC2012", "/usr", "/views.py", "a{b}"]) == []
    [braces] = command.doubts(["ls", "{MNT}", "{MNT}"])
    assert braces.startswith("{MNT} is given to the command as it stands")
    [variable] = command.doubts(["ls", "/ILSVRC2012/train"])
    assert variable.endswith("Write {mnt}/ILSVRC2012/train.")


def test_a_line_for_the_shell_is_told_how_to_run() -> None:
    assert "put sh -c before it" in command._shell_advice(["ls /mnt | wc -l"])
    assert command._shell_advice(["nosuch"]) == ""
    assert command._shell_advice(["nosuch", "a b"]) == ""


@pytest.mark.parametrize(
    "words", [["ls", "{mnt} | wc -l"], ["ls", "{mnt}", "|", "wc"], ["/bin/ls", "{mnt}/a && true"]]
)
def test_a_pipe_that_no_shell_reads_is_told(words: list[str]) -> None:
    [told] = command.doubts(words)
    assert "sh -c '...'" in told


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", "ls {mnt} | wc -l"],
        ["/bin/bash", "-ec", "ls {mnt} && true"],
        ["srun", "bash", "-c", "ls {mnt} | wc -l"],
        ["grep", "a | b", "{mnt}/ILSVRC2012/words.txt"],
        ["find", "{mnt}", "-exec", "ls", "{}", ";"],
    ],
)
def test_what_a_shell_reads_is_no_doubt(words: list[str]) -> None:
    assert command.doubts(words) == []


def test_the_mountpoint_is_filled_in_everywhere() -> None:
    given = ["{mnt}/bin", "--data={mnt}/train:{mnt}", "{}", "$mnt", "{mnt"]
    assert command.fill_in(given, "/m") == ["/m/bin", "--data=/m/train:/m", "{}", "$mnt", "{mnt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_exit_codes(script: str, code: int) -> None:
    assert run_front(["sh", "-c", script])[0] == code


@pytest.mark.slow
def test_a_command_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(command.CommandNotFoundError):
        command.run(["no-such-command-at-all"], os.environ)
    with pytest.raises(command.CommandNotExecutableError):
        command.run([str(tmp_path / "data")], os.environ)


LOST = """
import os, signal, sys
from imagenetfs.job import command, signals

class Bystander:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

signals.raise_when_told_to_end()
Bystander()  # Python reports what a destructor raises, and goes on
try:
    sys.exit(command.run(["true"], os.environ))
except signals.StopSignal as told:
    sys.exit(128 + told.number)
"""


def test_a_signal_that_was_lost_before_the_command_ends_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=60)
    assert "Exception ignored in" in done.stderr
    assert done.returncode == 143


@pytest.fixture(autouse=True)
def _mask() -> Iterator[None]:
    """What :func:`command.run` blocks in this very process is let through again."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


ECHO = textwrap.dedent(
    """
    import os, signal, sys
    def say(text):
        os.write(1, text.encode() + b"\\n")
    heard = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
    # Waited for, not handled: a handler may be interrupted by another before it has said anything.
    if signal.pthread_sigmask(signal.SIG_BLOCK, heard):
        sys.exit("some were blocked")
    say(f"ready {os.getpid()}")
    number = 0
    while number != signal.SIGRTMAX:  # of those that are pending, the last
        number = signal.sigwait(heard)
        say(str(int(number)))
    for line in sys.stdin: pass
    for number in signal.sigpending():
        say(str(int(number)))
    sys.exit(9)
    """
)

LAST = signal.SIGRTMAX
"""Sent at the end of a test: what was sent before has arrived then."""

SENDABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, LAST})


def start_echo(**options: object) -> tuple[subprocess.Popen[str], int]:
    """A front, in a session of its own, whose command tells its signals; the command's process."""
    front = start_front([*BARE, ECHO], stdin=subprocess.PIPE, start_new_session=True, **options)
    assert front.stdout is not None
    return front, int(front.stdout.readline().removeprefix("ready "))


def told(front: subprocess.Popen[str]) -> list[int]:
    """Which signals the command has got, in order, until LAST; then it ends with 9."""
    assert front.stdout is not None
    front.send_signal(LAST)
    found = []
    while (number := int(front.stdout.readline())) != LAST:
        found.append(number)
    out, err = front.communicate(timeout=30)
    assert (front.returncode, out, err) == (9, "", "")
    return found


@pytest.mark.slow
def test_every_signal_to_the_front_alone_is_passed_on_once() -> None:
    """S17: to the front alone."""
    front, _ = start_echo()
    assert front.stdout is not None
    for number in SENDABLE:
        front.send_signal(number)
        assert int(front.stdout.readline()) == number
    assert told(front) == []


def test_every_signal_to_the_group_reaches_the_command_once() -> None:
    """S17: to the process group."""
    front, _ = start_echo()
    assert front.stdout is not None
    for number in SENDABLE:
        os.killpg(front.pid, number)
        assert int(front.stdout.readline()) == number
    assert told(front) == []


def processes_of(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(path.name)) == session:
                found.append(int(path.name))
    return found


def test_what_a_job_manager_sends_to_each_process_comes_once() -> None:
    """S17: to each process of the job."""
    front, _ = start_echo()
    for pid in processes_of(front.pid):
        os.kill(pid, signal.SIGTERM)
    assert told(front) == [signal.SIGTERM]


def test_a_command_in_a_group_of_its_own_hears_what_the_fronts_is_sent() -> None:
    # As an interactive shell makes one: `kill %1` of the shell outside is meant for it.
    own_group = f"import os; os.setpgid(0, 0)\n{ECHO}"
    front = start_front([*BARE, own_group], stdin=subprocess.PIPE, start_new_session=True)
    assert front.stdout is not None
    front.stdout.readline()
    os.killpg(front.pid, signal.SIGTERM)
    assert told(front) == [signal.SIGTERM]


def test_two_of_a_kind_one_to_the_group_and_one_to_the_front() -> None:
    front, _ = start_echo()
    assert front.stdout is not None
    os.killpg(front.pid, signal.SIGTERM)
    assert int(front.stdout.readline()) == signal.SIGTERM
    time.sleep(0.3)  # else the kernel may make one of two that are pending
    front.send_signal(signal.SIGTERM)
    assert told(front) == [signal.SIGTERM]


def test_where_the_sentinel_was_killed() -> None:
    front, command_pid = start_echo()
    (sentinel,) = set(processes_of(front.pid)) - {front.pid, command_pid}
    os.kill(sentinel, signal.SIGKILL)
    front.send_signal(signal.SIGTERM)
    assert told(front) == [signal.SIGTERM]


def test_the_sentinel_ends_with_the_front() -> None:
    front, command_pid = start_echo()
    front.kill()
    os.kill(command_pid, signal.SIGKILL)
    front.communicate(timeout=30)
    assert until(lambda: not processes_of(front.pid))


@pytest.mark.slow
def test_a_front_whose_parent_ignores_its_children() -> None:
    code, _, err = run_front(
        ["sh", "-c", "exit 4"], preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    )
    assert (code, err) == (4, "")


def until_said(record: Path, number: int) -> bool:
    return until(lambda: f"\n{int(number)}\n" in record.read_text())


@pytest.mark.slow
def test_a_terminals_signals_and_its_end_come_once(tmp_path: Path) -> None:
    record = tmp_path / "record"
    record.touch()
    echo = ECHO.replace("os.write(1,", f"os.write(os.open({str(record)!r}, 1025),")
    echo = echo.replace("for line in sys.stdin: pass", "while True: signal.pause()")
    pid, terminal = pty.fork()
    if pid == 0:
        code = FRONT.format(repr([*BARE, echo]))
        os.execv(sys.executable, [sys.executable, "-c", code])
    assert until(lambda: "ready" in record.read_text())
    for key, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)):
        os.write(terminal, key)
        assert until_said(record, number)
    time.sleep(0.3)  # a second one would be passed on by now
    os.close(terminal)
    assert until_said(record, signal.SIGHUP)
    assert until_said(record, signal.SIGCONT)
    time.sleep(0.3)
    _, command_pid, *got = record.read_text().split()
    os.kill(int(command_pid), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert sorted(got) == sorted(
        str(int(n)) for n in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCONT)
    )


SHOW = ["grep", "^Sig[BI]", "/proc/self/status"]


def dispositions(text: str) -> dict[str, int]:
    """The masks of blocked and ignored signals."""
    return {name: int(mask, 16) for name, mask in (line.split() for line in text.splitlines())}


def test_the_command_starts_as_if_there_were_no_front() -> None:
    plain = subprocess.run(SHOW, capture_output=True, text=True, check=True, timeout=30)
    assert dispositions(run_front(SHOW)[1]) == dispositions(plain.stdout)


@pytest.mark.slow
def test_what_the_user_ignores_stays_ignored() -> None:
    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    found = dispositions(run_front(SHOW, preexec_fn=nohup)[1])
    assert found["SigIgn:"] & 0b111 == 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGINT - 1)


def test_the_command_inherits_no_descriptors() -> None:
    reader, writer = os.pipe()
    _, out, _ = run_front(["ls", "/proc/self/fd"], pass_fds=(writer,))
    os.close(reader)
    os.close(writer)
    assert out.split() == ["0", "1", "2", "3"]  # 3: the listing itself


def test_the_command_shares_the_process_group() -> None:
    script = "import os; print(os.getpgrp() == os.getpgid(os.getppid()))"
    assert run_front([*BARE, script])[1] == "True\n"


# --- stopping and going on ------------------------------------------------------------------------


def start_sleeper() -> tuple[subprocess.Popen[str], int]:
    """A front whose command says its process and waits for its input to end; it ends with 5."""
    script = "echo $$; read line; exit 5"
    front = start_front(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    assert front.stdout is not None
    return front, int(front.stdout.readline())


def state(pid: int) -> str:
    """The letter of proc(5); "X" where the fork server has waited for the process already."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def ends_well(front: subprocess.Popen[str], code: int = 5) -> None:
    """The front runs, and ends with its command."""
    assert until(lambda: state(front.pid) != "T")
    front.communicate(timeout=30)
    assert front.returncode == code


def test_a_command_that_stops_itself_stops_the_front_too() -> None:
    # As bash does at `suspend`: the shell that started the front must get the terminal back.
    front = start_front(["sh", "-c", "kill -STOP $$; exit 5"], close_fds=True)
    _, status = os.waitpid(front.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    front.send_signal(signal.SIGCONT)
    front.communicate(timeout=30)
    assert front.returncode == 5


def test_a_command_that_is_stopped_and_continued_alone() -> None:
    front, command_pid = start_sleeper()
    for _ in range(3):
        os.kill(command_pid, signal.SIGSTOP)
        assert until(lambda: state(front.pid) == "T")
        os.kill(command_pid, signal.SIGCONT)
        assert until(lambda: state(front.pid) != "T")
    ends_well(front)


def test_a_stop_that_comes_with_a_sigcont_for_an_earlier_one_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As in the test above, where the command is stopped anew before the front has looked at what
    # woke it.
    pid, stopped = 4711, signal.SIGSTOP << 8 | 0x7F
    told, pending, sent = [(pid, stopped)], [signal.SIGCONT], list[tuple[int, int]]()
    monkeypatch.setattr(command, "is_stopped", lambda pid: True)
    monkeypatch.setattr(os, "waitpid", lambda pid, options: told.pop() if told else (0, 0))
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(signal, "sigpending", lambda: set(pending))
    sentinel = SimpleNamespace(wake_me_after_the_command=lambda: True)
    front = command._Front(pid, cast(GroupSentinel, sentinel), command.Dispositions())
    assert front._look() is None
    assert sent == []
    pending.clear()  # waited for
    assert front._look() is None
    assert sent == [(os.getpid(), signal.SIGSTOP)]
    assert front._look() is None
    assert len(sent) == 1


def test_the_sentinel_goes_on_only_after_it_was_listened_to() -> None:
    # A SIGCONT of the front's, pending there, would swallow the one that the group is sent.
    asked = []

    def heard(one: object) -> bool:
        asked.append("heard")
        return False

    sentinel = SimpleNamespace(pid=4712, heard=heard, go_on=lambda: asked.append("go on"))
    front = command._Front(4711, cast(GroupSentinel, sentinel), command.Dispositions())
    told = SimpleNamespace(si_signo=signal.SIGCONT, si_pid=1, si_code=0)
    assert front._is_for_the_command(cast(signal.struct_siginfo, told))
    assert asked == ["heard", "go on"]


def test_a_command_that_is_killed_while_it_is_stopped() -> None:
    front, command_pid = start_sleeper()
    os.kill(command_pid, signal.SIGSTOP)
    assert until(lambda: state(front.pid) == "T")
    os.kill(command_pid, signal.SIGKILL)
    ends_well(front, 137)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stopped", "continued"),
    [
        (stopped, continued)
        for stopped in ("command", "front", "group", "both")
        for continued in ("command", "front", "group", "both")
        if (stopped, continued) != ("front", "command")
        if (stopped, continued) != ("group", "command")
        if (stopped, continued) != ("both", "command")
    ],
)
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_stopped_and_continued_in_any_order(stopped: str, continued: str, number: int) -> None:
    """S17: the front goes on with its command."""
    # A front that was stopped itself goes on when it is continued itself, as any process.
    front, command_pid = start_sleeper()

    def send(where: str, number: int) -> None:
        if where == "group":
            os.killpg(front.pid, number)
        if where in ("command", "both"):
            os.kill(command_pid, number)
        if where in ("front", "both"):
            front.send_signal(number)

    send(stopped, number)
    if number == signal.SIGSTOP:
        assert until(lambda: state(front.pid) == "T")
        assert until(lambda: stopped == "front" or state(command_pid) == "T")
    time.sleep(0.3)  # nothing tells when all of it has come to rest
    send(continued, signal.SIGCONT)
    ends_well(front)
