"""Running the user's command: arguments, exit codes, signals, dispositions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.job import command

FRONT = "import os, sys; from imagenetfs.job import command; sys.exit(command.run({}, os.environ))"


def start_front(argv: list[str], **options: Any) -> subprocess.Popen[str]:
    code = FRONT.format(repr(argv))
    front: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    return front


def run_front(argv: list[str], **options: Any) -> tuple[int, str, str]:
    front = start_front(argv, **options)
    out, err = front.communicate(timeout=60)
    return front.returncode, out, err


def test_the_mountpoint_is_filled_in_everywhere() -> None:
    given = ["{mnt}/bin", "--data={mnt}/train:{mnt}", "{}", "$mnt", "{mnt"]
    assert command.fill_in(given, "/m") == ["/m/bin", "--data=/m/train:/m", "{}", "$mnt", "{mnt"]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_exit_codes(script: str, code: int) -> None:
    assert run_front(["sh", "-c", script])[0] == code


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
def _dispositions() -> object:
    saved = {n: signal.getsignal(n) for n in (*command._FROM_TERMINAL, *command._PASSED_ON)}
    yield
    for number, handler in saved.items():
        signal.signal(number, handler)


ECHO = textwrap.dedent(
    """
    import os, signal, sys
    def say(text):  # print may not be interrupted by itself
        os.write(1, text.encode() + b"\\n")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, lambda n, f: say(signal.Signals(n).name))
    say("ready")
    for line in sys.stdin: pass
    sys.exit(9)
    """
)


def test_signals_are_passed_on() -> None:
    front = start_front([sys.executable, "-c", ECHO], stdin=subprocess.PIPE)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT"):
        front.send_signal(getattr(signal, name))
        assert front.stdout.readline() == f"{name}\n"
    out, err = front.communicate(timeout=30)
    assert (front.returncode, out, err) == (9, "", "")


def test_signals_of_the_terminal_are_the_commands_own() -> None:
    # The terminal sends them to the whole group; the front must neither die nor pass them on.
    front = start_front([sys.executable, "-c", ECHO], stdin=subprocess.PIPE)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    front.send_signal(signal.SIGINT)
    front.send_signal(signal.SIGQUIT)
    time.sleep(0.2)
    assert front.poll() is None
    assert front.communicate(timeout=30) == ("", "")
    assert front.returncode == 9


SHOW = ["grep", "^Sig[BI]", "/proc/self/status"]


def dispositions(text: str) -> dict[str, int]:
    """The masks of blocked and ignored signals."""
    return {name: int(mask, 16) for name, mask in (line.split() for line in text.splitlines())}


def test_the_command_starts_as_if_there_were_no_front() -> None:
    plain = subprocess.run(SHOW, capture_output=True, text=True, check=True, timeout=30)
    assert dispositions(run_front(SHOW)[1]) == dispositions(plain.stdout)


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
    assert run_front([sys.executable, "-c", script])[1] == "True\n"


def test_a_command_that_stops_itself_stops_the_front_too() -> None:
    # As bash does at `suspend`: the shell that started the front must get the terminal back.
    front = start_front(["sh", "-c", "kill -STOP $$; exit 5"])
    _, status = os.waitpid(front.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    front.send_signal(signal.SIGCONT)
    front.communicate(timeout=30)
    assert front.returncode == 5
