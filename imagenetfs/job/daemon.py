"""Put a server into the background, and hear from it whether it came up.

The parent waits on a pipe. The server writes one JSON object a line: ``{"pid"}`` at once, then
``{"ready": [warnings]}`` or ``{"error": sentence, "code": exit code, "said": [lines]}``, the lines
being what helpers such as fusermount3 wrote. Whatever the server says after that goes to its log.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from imagenetfs.errors import ExitCode, ImagenetfsError, SourceUnreadableError
from imagenetfs.job import logs
from imagenetfs.job.processes import wait_for_end
from imagenetfs.job.signals import StopSignal
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.files import open_to_append
from imagenetfs.system.patience import PATIENCE, ROOT_SECONDS, Patience
from imagenetfs.system.process import close_inherited
from imagenetfs.system.resources import shortage
from imagenetfs.system.work_watch import LOOK_SECONDS, WorkWatch, progress_of

READY_SECONDS = 180.0
STOP_SECONDS = 10.0

_MOST_SAID = 5
_MOST_SAID_BYTES = 1 << 16

Ready = Callable[[list[str]], None]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Started:
    """A server that is up: its process, and what it warned of."""

    pid: int = 0
    warnings: list[str] = field(default_factory=list)


def start(
    serve: Callable[[Ready], None],
    *,
    keep: Sequence[int],
    log: Path,
    log_to: Callable[[], None],
    say: Callable[[str], None],
    clock: Clock = SYSTEM_CLOCK,
    patience: Patience = PATIENCE,
) -> Started:
    """Run ``serve`` in a background process of a session of its own; return when it is ready.

    ``patience``: where it is root's, a server that does nothing for all of it is given up.
    ``keep``: descriptors that the server needs; it closes all others. ``log``: a prepared log file,
    for what libraries and helpers write; ``log_to`` installs the log. ``say`` is told what helpers
    wrote before a failure. Raises what ``serve`` raised before it was ready (an ImagenetfsError
    with that sentence and exit code); no process is left then.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _detach_and_serve(serve, writer, keep, log, log_to)
    os.close(writer)
    started = Started()
    try:
        os.waitpid(child, 0)
        _wait_ready(reader, started, log, say, clock, patience)
    except BaseException:
        # Also at Ctrl-C: the server is in a session of its own and would not hear of it.
        stop(started.pid)
        if started.pid:
            wait_for_end(started.pid, STOP_SECONDS)
        raise
    finally:
        os.close(reader)
    return started


def stop(pid: int) -> None:
    """Ask a server to end."""
    if pid > 0:
        try:
            os.kill(pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            return


# --- the parent -----------------------------------------------------------------------------------


def _wait_ready(
    reader: int,
    started: Started,
    log: Path,
    say: Callable[[str], None],
    clock: Clock,
    patience: Patience,
) -> None:
    deadline = clock.monotonic() + READY_SECONDS
    watch = WorkWatch(lambda: progress_of(started.pid) if started.pid else (), patience, clock)
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    text = b""
    while True:
        left = deadline - clock.monotonic()
        if left <= 0:
            raise ImagenetfsError(
                f"The mount was not ready within {READY_SECONDS:.0f} s; its log is {log}."
            )
        if not poller.poll(min(left, LOOK_SECONDS) * 1000):
            if watch.is_over():
                raise SourceUnreadableError(
                    f"The source has kept root waiting for {ROOT_SECONDS:.0f} s in all, and root "
                    f"waits no longer: its file server may be down. The server's log is {log}."
                )
            continue
        piece = os.read(reader, 1 << 16)
        if not piece:
            raise ImagenetfsError(f"The server ended before the mount was ready; its log is {log}.")
        *lines, text = (text + piece).split(b"\n")
        for line in lines:
            message = json.loads(line)
            for said in message.get("said", ()):
                say(said)
            if _take_message(message, started):
                return


def _take_message(message: dict[str, Any], started: Started) -> bool:
    """True when the server is ready; raises what it reports."""
    if "pid" in message:
        started.pid = message["pid"]
    if "error" in message:
        raise reported_error(message["error"], message["code"])
    if "ready" in message:
        started.warnings = message["ready"]
        return True
    return False


def reported_error(sentence: str, code: int) -> ImagenetfsError:
    """An error as another process reported it: its sentence and its exit code."""
    kind = type("ReportedError", (ImagenetfsError,), {"exit_code": ExitCode(code)})
    error = kind(sentence)
    assert isinstance(error, ImagenetfsError)
    return error


# --- the server -----------------------------------------------------------------------------------


def _detach_and_serve(
    serve: Callable[[Ready], None],
    writer: int,
    keep: Sequence[int],
    log: Path,
    log_to: Callable[[], None],
) -> NoReturn:
    """The forked child's whole life."""
    code: int = ExitCode.INTERNAL
    try:
        os.setsid()
        PATIENCE.outlive_command()
        # Forked once more: no session leader, so no terminal that is opened becomes its own.
        if os.fork() != 0:
            os._exit(0)
        close_inherited((writer, *keep))
        _redirect(log)
        os.chdir("/")
        log_to()
        code = _serve_and_report(serve, writer)
    finally:
        logging.shutdown()
        os._exit(code)


def _redirect(log: Path) -> None:
    """Standard input from nowhere, what libraries print into the log."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = open_to_append(log)
    for fd, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(fd, target)
    os.close(nothing)
    os.close(output)
    # Line by line: the server leaves by os._exit, which flushes nothing.
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="replace")


def _serve_and_report(serve: Callable[[Ready], None], writer: int) -> int:
    is_open = True

    def report(message: dict[str, Any]) -> None:
        nonlocal is_open
        if is_open:
            try:
                os.write(writer, json.dumps(message).encode() + b"\n")
            except BrokenPipeError:
                _log.warning("the command that started this mount has gone")

    def ready(warnings: list[str]) -> None:
        nonlocal is_open
        report({"ready": warnings})
        os.close(writer)
        is_open = False

    report({"pid": os.getpid()})
    before = os.fstat(2).st_size
    try:
        serve(ready)
    except ImagenetfsError as error:
        _log.error("%s", error)
        said = _said_since(before)
        report({"error": str(error), "code": int(error.exit_code), "said": said})
        return error.exit_code
    except StopSignal as stop_signal:
        _log.info("told to end by %s before the mount was ready", stop_signal)
        return 128 + stop_signal.number
    except BaseException as error:
        _log.exception("the server ended")
        lacking = shortage(error)
        code = ExitCode.INTERNAL if lacking is None else lacking.exit_code
        sentence = (
            f"The server failed: {type(error).__name__}: {error}. The traceback is in its log."
        )
        report({"error": sentence if lacking is None else str(lacking), "code": int(code)})
        return code
    return ExitCode.OK


def _said_since(offset: int) -> list[str]:
    """What helpers wrote to standard error, which is the log, since it had this many bytes."""
    with Path("/proc/self/fd/2").open("rb") as file:  # opened anew, for reading
        file.seek(offset)
        lines = file.read(_MOST_SAID_BYTES).decode(errors="replace").splitlines()
    return [line for line in lines if line and not logs.is_own_line(line)][:_MOST_SAID]
