"""Run the user's command as if it had been started directly.

The command shares the process group, so the terminal's own signals (Ctrl-C, Ctrl-\\, Ctrl-Z)
reach it without help; the front only must not die of them. Signals that somebody sends to the
front alone are passed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from imagenetfs.errors import ExitCode, ImagenetfsError
from imagenetfs.job import signals

PLACEHOLDER = "{mnt}"

_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGALRM,
    signal.SIGXCPU,
)


class CommandNotFoundError(ImagenetfsError):
    """There is no such command."""

    exit_code = ExitCode.COMMAND_NOT_FOUND


class CommandNotExecutableError(ImagenetfsError):
    """The command is there and cannot be run."""

    exit_code = ExitCode.COMMAND_NOT_EXECUTABLE


def fill_in(command: Sequence[str], mountpoint: str) -> list[str]:
    """Put the mountpoint in the place of ``{mnt}`` in every argument."""
    return [argument.replace(PLACEHOLDER, mountpoint) for argument in command]


class Forwarder:
    """Passes signals on to the command; made before it starts, so that none is missed.

    Handlers, never SIG_IGN: exec puts a handled signal back to its default and leaves an ignored
    one ignored, so the command starts with the dispositions that the front was started with.
    """

    def __init__(self) -> None:
        self._pid: int | None = None
        self._early: list[int] = []
        for number in (*_FROM_TERMINAL, *_PASSED_ON):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is the command's too
                signal.signal(number, self._handle)

    def aim(self, pid: int) -> None:
        """From now on signals go to this process, first those that came before."""
        self._pid = pid
        for number in self._early:
            self._send(number)

    def end(self) -> None:
        """The command is over: signals are heard and dropped, while the mount is taken away."""
        self._pid = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in _FROM_TERMINAL:
            return
        if self._pid is None:
            self._early.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        try:
            if self._pid is not None:
                os.kill(self._pid, number)
        except (ProcessLookupError, PermissionError):
            return


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end; its exit code, or 128 and the number of the signal it died of.

    Raises CommandNotFoundError or CommandNotExecutableError, and StopSignal where one came before.
    Signals stay caught afterwards.
    """
    forwarder = Forwarder()
    signals.check()  # what came before the forwarder listened, and was lost in a destructor
    try:
        process = subprocess.Popen(command, env=dict(environ))
    except FileNotFoundError as error:
        raise CommandNotFoundError(f"The command {command[0]} was not found.") from error
    except OSError as error:
        raise CommandNotExecutableError(
            f"The command {command[0]} could not be run: {error.strerror}."
        ) from error
    forwarder.aim(process.pid)
    code = process.returncode = _wait(process.pid)
    forwarder.end()
    return code if code >= 0 else 128 - code


def _wait(pid: int) -> int:
    """Wait for the command's end; while it is stopped, be stopped too, as shells expect of a job.

    Ctrl-Z stops both without this. A shell that suspends itself stops alone: it has a process
    group of its own, and the shell that started us would wait for ever.
    """
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        # After Ctrl-Z and `fg` we may come here just before the command has been continued.
        time.sleep(0.02)
        if _is_stopped(pid):
            os.kill(os.getpid(), signal.SIGSTOP)


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
