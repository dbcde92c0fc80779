"""Run the user's command as if it had been started directly.

The command shares the process group, so what the group is sent reaches it without help: the
terminal's own signals (Ctrl-C, Ctrl-\\, Ctrl-Z), a shell's job control. The front must not end of
them. Every other signal that the front is sent is passed on. So each reaches the command once,
however it was sent (group_sentinel.py tells which signals are the group's).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagenetfs.errors import ExitCode, ImagenetfsError
from imagenetfs.job import signals
from imagenetfs.job.group_sentinel import GroupSentinel, is_stopped, signal_of

PLACEHOLDER = "{mnt}"

_BRACES = re.compile(
    r"\{(?:mnt|mount|mount_?(?:point|dir|path)|mnt_?(?:point|dir))\}", re.IGNORECASE
)
"""The placeholder, and what else is written for it."""

_VERSION_AT_ROOT = re.compile(
    r"/(?:ILSVRC2012(?:_t3)?|winter21_whole|fall11_whole|tiny-imagenet-200|Imagenet(?:8|16|32|64)"
    r"|views)(?:/|$)"
)

_JOINT = re.compile(r"\s(?:\||\|\||&&|>>?)\s")
"""What joins commands, or sends their output on, within a line for a shell."""

_SHELLS = ("sh", "bash", "dash", "ksh", "zsh", "fish", "csh", "tcsh")

_SHELL_LINE = re.compile(r"[\s|&;<>]")

_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by Python itself: no wish of the user's. The command starts with their defaults."""

_OF_A_TERMINAL = frozenset(
    {
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGWINCH,
    }
)
"""The kernel sends these to a process group."""

_OF_A_HANGUP = (signal.SIGHUP, signal.SIGCONT)
"""The kernel sends these to the session's leader alone when its terminal is gone."""


class CommandNotFoundError(ImagenetfsError):
    """There is no such command."""

    exit_code = ExitCode.COMMAND_NOT_FOUND


class CommandNotExecutableError(ImagenetfsError):
    """The command is there and cannot be run."""

    exit_code = ExitCode.COMMAND_NOT_EXECUTABLE


def fill_in(command: Sequence[str], mountpoint: str) -> list[str]:
    """Put the mountpoint in the place of ``{mnt}`` in every argument."""
    return [argument.replace(PLACEHOLDER, mountpoint) for argument in command]


def doubts(command: Sequence[str]) -> list[str]:
    """What of a command was most probably meant otherwise, each in a sentence: another word in
    braces, a variable that the shell filled in before there was a mount, a pipe without a shell.
    """
    found = []
    joined = _joined(command)
    if joined is not None:
        found.append(
            f"`{joined}` is given to {command[0]} as a word, for no shell reads it. If it is a "
            "part of a line for the shell, put all of that behind sh -c: imagenetfs run ... -- "
            "sh -c '...'"
        )
    for argument in command:
        other = next((m[0] for m in _BRACES.finditer(argument) if m[0] != PLACEHOLDER), None)
        if other is not None:
            found.append(
                f"{other} is given to the command as it stands: the mountpoint is written "
                f"{PLACEHOLDER}."
            )
        if _VERSION_AT_ROOT.match(argument) and not os.path.lexists(argument):
            found.append(
                f"There is nothing at {argument}: if $IMAGENETFS_MOUNT stood before it, the shell "
                f"filled it in before the mount was there. Write {PLACEHOLDER}{argument}."
            )
    return list(dict.fromkeys(found))


def _joined(command: Sequence[str]) -> str | None:
    """The first word behind a command that is no shell and pipes, as no program but one expects."""
    if not command or Path(command[0]).name in _SHELLS or "-c" in command:
        return None
    for argument in command[1:]:
        if argument in ("|", "||", "&&") or (PLACEHOLDER in argument and _JOINT.search(argument)):
            return argument
    return None


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end; its exit code, or 128 and the number of the signal it died of.

    Raises CommandNotFoundError or CommandNotExecutableError, and StopSignal where one came before.
    Signals stay blocked afterwards: nothing shall disturb while the mount is taken away.
    """
    dispositions = Dispositions()
    signals.check()  # what came before they were blocked, and was lost in a destructor
    try:
        sentinel = GroupSentinel(dispositions.caught)
    except OSError as error:
        raise _not_executable(command, error) from error
    try:
        process = subprocess.Popen(command, env=dict(environ), preexec_fn=dispositions.restore)
        sentinel.aim(process.pid)
        code = process.returncode = _Front(process.pid, sentinel, dispositions).wait()
    except FileNotFoundError as error:
        raise CommandNotFoundError(
            f"The command {command[0]} was not found.{_shell_advice(command)}"
        ) from error
    except OSError as error:
        raise _not_executable(command, error) from error
    finally:
        sentinel.end()
    return code if code >= 0 else 128 - code


def _shell_advice(command: Sequence[str]) -> str:
    """How to run what is a line for a shell, and was given as one word."""
    if len(command) > 1 or not _SHELL_LINE.search(command[0]):
        return ""
    return " If it is a line for the shell, put sh -c before it: imagenetfs run ... -- sh -c '...'"


def _not_executable(command: Sequence[str], error: OSError) -> CommandNotExecutableError:
    return CommandNotExecutableError(
        f"The command {command[0]} could not be run: {error.strerror}."
    )


class Dispositions:
    """Blocks every signal that can be passed on; :meth:`restore` is for the command before its
    exec.

    What the front was started to ignore (nohup) stays ignored, in the command too.
    """

    def __init__(self) -> None:
        ignored = {
            number
            for number in signal.valid_signals()
            if signal.getsignal(number) is signal.SIG_IGN and number not in _PYTHONS_OWN
        }
        self._ignores_children = signal.SIGCHLD in ignored
        if self._ignores_children:  # else the command's end would not be seen
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        never = {signal.SIGKILL, signal.SIGSTOP}
        self.caught = frozenset(signal.valid_signals()) - never - (ignored - {signal.SIGCHLD})
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self.caught)

    def restore(self) -> None:
        """In the command's process: what the front was started with."""
        if self._ignores_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


class _Front:
    """Waits for the command, and passes on the signals that come until it has ended."""

    def __init__(self, pid: int, sentinel: GroupSentinel, dispositions: Dispositions) -> None:
        self._pid = pid
        self._sentinel = sentinel
        self._caught = dispositions.caught
        self._has_stopped = False  # the command, and this process has not yet done the same

    def wait(self) -> int:
        """Until the command has ended: its exit code, or minus the signal that it died of."""
        while True:
            code = self._look()
            if code is not None:
                return code
            info = signal.sigwaitinfo(self._caught)
            is_about_a_child = info.si_signo == signal.SIGCHLD and info.si_code > 0
            if not is_about_a_child and self._is_for_the_command(info):
                with contextlib.suppress(PermissionError):  # it runs as another user by now
                    os.kill(self._pid, info.si_signo)

    def _is_for_the_command(self, info: signal.struct_siginfo) -> bool:
        """Whether a signal that the front was sent has to be passed on."""
        if info.si_pid in (os.getpid(), self._sentinel.pid):
            return False  # the front's own SIGPIPE; the sentinel's SIGCONT
        is_kernels = info.si_code > 0
        is_hangup = is_kernels and info.si_signo in _OF_A_HANGUP and os.getsid(0) == os.getpid()
        heard = not is_hangup and self._sentinel.heard(signal_of(info))
        if info.si_signo == signal.SIGCONT and not heard:
            # Not before: the group's SIGCONT would be lost, where this one is still pending.
            self._sentinel.go_on()
        if is_hangup:
            return True
        if heard:
            is_in_group = os.getpgid(self._pid) == os.getpgrp()
            return not is_in_group and not (is_kernels and info.si_signo in _OF_A_TERMINAL)
        # Without a sentinel, which only a kill ends, what the kernel sends is taken for the
        # terminal's.
        return not (is_kernels and info.si_signo in _OF_A_TERMINAL)

    def _look(self) -> int | None:
        """The command's exit code if it has ended; while it is stopped, be stopped too, as shells
        expect of a job.

        Only where the sentinel will wake this process again when the command goes on, in whatever
        order the two are continued.
        """
        while True:
            pid, status = os.waitpid(self._pid, os.WUNTRACED | os.WNOHANG)
            if pid != 0 and not os.WIFSTOPPED(status):
                return os.waitstatus_to_exitcode(status)
            self._has_stopped = self._has_stopped or pid != 0
            # Where this process has just been told to go on, a stop would undo that: the signal is
            # looked at first, and then whether the command is still stopped. No other will tell.
            if not self._has_stopped or signal.SIGCONT in signal.sigpending():
                return None
            shall_stop = is_stopped(self._pid) and self._sentinel.wake_me_after_the_command()
            if signal.SIGCONT in signal.sigpending():  # nothing may stand before the stop
                return None
            if shall_stop:
                os.kill(os.getpid(), signal.SIGSTOP)
            self._has_stopped = False
