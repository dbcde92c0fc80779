"""A process that hears what the whole process group is sent.

The command shares the front's process group, so a signal to the group (from the terminal, a shell's
job control, ``kill -- -PGID``) reaches it without help, and one to the front alone does not. A
signal itself does not tell which of the two it is. The sentinel does: it is in the group, and no
process sends it anything of its own. What a job manager sends to each process of a job, the
sentinel is sent too.

It also wakes the front: while the front is stopped together with its command, the sentinel watches
the command, and sends the front SIGCONT when the command goes on or ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NoReturn

from imagenetfs.system.process import close_inherited, set_parent_death_signal

NAME = "imagenetfs-sent"

_WAKE_SECONDS = 0.1
"""How soon a front is woken after its command."""

_HEARD_SECONDS = 0.1
"""How long a signal is waited for at the sentinel after the front has it; a job manager takes one
process after the other.
"""

_PENDING_SECONDS = 5.0
"""How long it is waited for where the sentinel was sent it and had no CPU yet."""

_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_UNDONE_BY: dict[int, tuple[int, ...]] = {
    signal.SIGCONT: _STOPS,
    **dict.fromkeys(_STOPS, (signal.SIGCONT,)),
}
"""The kernel takes away a pending SIGCONT when a stop is sent, and a pending stop when SIGCONT is:
the sentinel may have lost the first of two that the front has both of.
"""

_FORGET_SECONDS = 2.0

_LONG_SECONDS = 3600.0

_WATCH = signal.SIGUSR1
"""Sent by the front: watch the command until it is no longer stopped."""

_RECORD = struct.Struct("3i")
_PID = struct.Struct("i")

Signal = tuple[int, int, int]
"""(number, the sender's process or 0 for the kernel, si_code)."""


def signal_of(info: signal.struct_siginfo) -> Signal:
    """What tells one signal from another."""
    return info.si_signo, info.si_pid, info.si_code


class GroupSentinel:
    """The front's side. Raises OSError where no process can be made."""

    def __init__(self, caught: AbstractSet[int]) -> None:
        """``caught``: the signals to hear, which the caller has blocked."""
        self._heard: list[tuple[float, Signal]] = []
        self._reader, writer = os.pipe()
        control, self._control = os.pipe()
        front = os.getpid()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _live(front, caught, control, writer)
        except OSError:
            self._close()
            raise
        finally:
            os.close(writer)
            os.close(control)
        os.set_blocking(self._reader, False)

    def heard(self, one: Signal) -> bool:
        """Whether the group was sent this signal, which the front has received just now, or since
        then one that undoes it.
        """
        start = time.monotonic()
        deadline = start + _HEARD_SECONDS
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        while True:
            is_there = self._read()
            for at, (_, found) in enumerate(self._heard):
                if found == one:
                    del self._heard[at]
                    return True
            if not is_there:
                return False
            now = time.monotonic()
            if now >= deadline:
                if now - start > _PENDING_SECONDS or not _is_pending(self.pid, one[0]):
                    undone_by = _UNDONE_BY.get(one[0], ())
                    return any(number in undone_by for _, (number, _, _) in self._heard)
                deadline = now + _HEARD_SECONDS
            poller.poll((deadline - now) * 1000)

    def _read(self) -> bool:
        """Take in what was heard; False where the sentinel is gone."""
        now = time.monotonic()
        self._heard = [(at, one) for at, one in self._heard if now - at < _FORGET_SECONDS]
        try:
            while packed := os.read(self._reader, 64 * _RECORD.size):
                self._heard += [
                    (now, (n, pid, code)) for n, pid, code in _RECORD.iter_unpack(packed)
                ]
        except BlockingIOError:
            return True
        return False

    def aim(self, command: int) -> None:
        """Say which process is the command."""
        with contextlib.suppress(OSError):
            os.write(self._control, _PID.pack(command))

    def wake_me_after_the_command(self) -> bool:
        """Have this process sent SIGCONT when the command is no longer stopped; False where no
        process will do so.
        """
        if not self._read():
            return False
        self.go_on()
        with contextlib.suppress(OSError):
            os.kill(self.pid, _WATCH)
            return True
        return False

    def go_on(self) -> None:
        """Continue the sentinel, which may have been stopped with its group."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """End the sentinel."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self._close()

    def _close(self) -> None:
        os.close(self._reader)
        os.close(self._control)


def _is_pending(pid: int, number: int) -> bool:
    """Whether a process was sent a signal that it has not taken; not where it is stopped."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if fields["State"].startswith("T"):
        return False
    return bool(int(fields["ShdPnd"], 16) >> (number - 1) & 1)


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


# --- the sentinel's side --------------------------------------------------------------------------


def _live(front: int, caught: AbstractSet[int], control: int, writer: int) -> NoReturn:
    """The forked child's whole life: it ends with the front."""
    try:
        set_parent_death_signal(front, NAME)
        # Nothing of the front's may be held open: its connection, its streams, its directory.
        close_inherited((control, writer))
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(nothing, fd)
        os.chdir("/")
        os.set_blocking(writer, False)
        _listen(front, caught, control, writer)
    finally:
        os._exit(1)


def _listen(front: int, caught: AbstractSet[int], control: int, writer: int) -> None:
    command = 0
    is_watching = was_stopped = False
    while True:
        info = signal.sigtimedwait(caught, _WAKE_SECONDS if is_watching else _LONG_SECONDS)
        is_fronts = info is not None and info.si_pid == front
        if info is not None and is_fronts and info.si_signo == _WATCH:
            command = command or _PID.unpack(os.read(control, _PID.size))[0]
            is_watching, was_stopped = True, False
        elif info is not None and not is_fronts:
            with contextlib.suppress(BlockingIOError):
                os.write(writer, _RECORD.pack(*signal_of(info)))
        if is_watching:
            front_is_stopped = is_stopped(front)
            if front_is_stopped and not is_stopped(command):
                os.kill(front, signal.SIGCONT)
            elif was_stopped and not front_is_stopped:
                is_watching = False  # it goes on
            was_stopped = was_stopped or front_is_stopped
