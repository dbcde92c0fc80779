"""Child processes that never outlive the benchmark: own process groups,
timeouts, and always an end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import BenchmarkError

CHECKOUT = Path(__file__).resolve().parents[2]

_END_SECONDS = 5.0
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_asked: list[int] = []
"""The signals that asked for the end."""


def stop_like_interrupt() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end the run alike, through every ``finally``."""

    def stop(number: int, frame: object) -> None:
        _asked.append(number)
        raise KeyboardInterrupt

    for number in _STOPS:
        signal.signal(number, stop)


def check_interrupted() -> None:
    """Raise KeyboardInterrupt where a signal came whose exception was lost.

    Python prints exceptions of hooks, such as those around a fork, and goes on.
    """
    if _asked:
        raise KeyboardInterrupt


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C and its like while something is being cleaned up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def spawned(
    command: Sequence[str | Path], environ: Mapping[str, str], **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which Ctrl-C at the terminal does not
    reach; ended on the way out.

    It works in the checkout, so that ``python -m imagenetfs`` is the one that stands here.
    """
    process = None
    try:
        with undisturbed():
            process = subprocess.Popen(
                [*map(str, command)],
                cwd=CHECKOUT,
                env=dict(environ),
                process_group=0,
                preexec_fn=_hear_signals,
                **streams,
            )
        yield process
    finally:
        if process is not None:
            with undisturbed():
                end(process)


def _hear_signals() -> None:
    """In the child: what is held back here shall not be held back there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


def end(process: subprocess.Popen[bytes], seconds: float = _END_SECONDS) -> None:
    """Ask the process's group to end, wait, and kill what is left of it."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def run(
    command: Sequence[str | Path], environ: Mapping[str, str], log: Path, timeout: float
) -> float:
    """Run a command to its end, its output into ``log``. Returns seconds; raises BenchmarkError."""
    start = time.perf_counter()
    with (
        log.open("wb") as output,
        spawned(
            command, environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(
                f"{Path(command[0]).name} was stopped after {timeout:.0f} s."
            ) from None
        seconds = time.perf_counter() - start
    if code:
        raise BenchmarkError(f"{Path(command[0]).name} failed: {last_line(log)}")
    return seconds


def last_line(log: Path) -> str:
    """The last line that a process wrote into its log."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].strip() if lines else "it said nothing."


@contextlib.contextmanager
def asked(command: Sequence[str | Path], environ: Mapping[str, str]) -> Iterator[Asked]:
    """A process that answers questions, until the end of the block."""
    with spawned(command, environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Asked(process)
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


class Asked:
    """A process that answers one JSON line for each JSON line that it is sent (see client.py)."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, command: str, *arguments: Any, timeout: float) -> Any:
        """Send a command and wait for its answer. Raises BenchmarkError when there is none."""
        sender, receiver = self._process.stdin, self._process.stdout
        assert sender is not None and receiver is not None
        sender.write(json.dumps([command, *arguments]).encode() + b"\n")
        sender.flush()
        ready, _, _ = select.select([receiver], [], [], timeout)
        if not ready:
            raise BenchmarkError(f"no answer to `{command}` within {timeout:.0f} s.")
        line = receiver.readline()
        if not line:
            raise BenchmarkError(f"the reading program ended during `{command}`.")
        return json.loads(line)
