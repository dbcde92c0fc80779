"""Going into the background: what the parent hears, and what the server keeps."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs import config, errors
from imagenetfs.job import daemon, logs
from imagenetfs.job.daemon import Ready
from imagenetfs.job.processes import wait_for_end
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.patience import Patience
from tests.helpers.clocks import RushingClock


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "server.log"
    path.touch()
    return path


SAID: list[str] = []
HANG_SECONDS = 100.0


def start(
    serve: Callable[[Ready], None],
    log: Path,
    *keep: int,
    clock: Clock = SYSTEM_CLOCK,
    patience: Patience | None = None,
) -> daemon.Started:
    waits = patience or Patience(clock, is_root=lambda: False)

    def log_to() -> None:
        logs.install(config.resolve(), log)

    return daemon.start(
        serve, keep=keep, log=log, log_to=log_to, say=SAID.append, clock=clock, patience=waits
    )


def test_a_server_that_comes_up(log: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts"

    def serve(ready: Ready) -> None:
        lines = [str(os.getsid(0) != os.getpid()), os.getcwd(), str(os.getsid(0))]
        facts.write_text("\n".join(lines))
        ready(["mind the gap"])
        time.sleep(60)

    started = start(serve, log)
    assert started.warnings == ["mind the gap"]
    leads_no_session, directory, session = facts.read_text().split("\n")
    assert leads_no_session == "True"
    assert directory == "/"
    assert int(session) != os.getsid(0)
    daemon.stop(started.pid)
    assert wait_for_end(started.pid, HANG_SECONDS)


def test_the_server_holds_no_descriptors_but_those_it_needs(log: Path, tmp_path: Path) -> None:
    kept, other = os.pipe()
    held = tmp_path / "held"

    def serve(ready: Ready) -> None:
        command = ["ls", "-l", f"/proc/{os.getpid()}/fd"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True)
        held.write_text(listing.stdout)
        ready([])

    start(serve, log, kept)
    links = [line.split()[-3:] for line in held.read_text().splitlines() if " -> " in line]
    lines = {fd: target for fd, _, target in links}
    os.close(kept)
    os.close(other)
    assert str(kept) in lines
    assert str(other) not in lines
    assert lines["0"] == "/dev/null"
    assert lines["1"] == lines["2"] == str(log)


def test_an_error_arrives_with_its_exit_code(log: Path) -> None:
    def serve(ready: Ready) -> None:
        raise errors.SourceUnknownError("Nothing that is known is there.")

    with pytest.raises(errors.ImagenetfsError, match="Nothing that is known") as caught:
        start(serve, log)
    assert caught.value.exit_code is errors.ExitCode.SOURCE_UNKNOWN
    assert "Nothing that is known" in log.read_text()


def test_what_helpers_say_is_heard_before_the_error(log: Path) -> None:
    log.write_text("of an earlier mount\n")
    SAID.clear()

    def serve(ready: Ready) -> None:
        logging.getLogger("x").warning("not this")
        os.write(2, b"fusermount3: too many mounts\n")
        raise errors.FuseRefusedError("Refused.")

    with pytest.raises(errors.ImagenetfsError, match="Refused"):
        start(serve, log)
    assert SAID == ["fusermount3: too many mounts"]


def test_any_other_error_leaves_a_traceback_in_the_log(log: Path) -> None:
    def serve(ready: Ready) -> None:
        print("a library prints this", flush=True)
        raise ZeroDivisionError("odd")

    with pytest.raises(errors.ImagenetfsError, match="ZeroDivisionError: odd") as caught:
        start(serve, log)
    assert caught.value.exit_code is errors.ExitCode.INTERNAL
    assert "Traceback" in log.read_text()
    assert "a library prints this" in log.read_text()


def test_a_server_that_dies_without_a_word(log: Path) -> None:
    def serve(ready: Ready) -> None:
        os._exit(3)

    with pytest.raises(errors.ImagenetfsError, match="ended before the mount was ready"):
        start(serve, log)


def test_a_server_that_is_never_ready_is_ended(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One look sets the deadline, the next comes before the server's first word, then it is over.
    clock, stopped, stop = RushingClock(0.6 * daemon.READY_SECONDS), [], daemon.stop

    def serve(ready: Ready) -> None:
        time.sleep(60)

    monkeypatch.setattr(daemon, "stop", lambda pid: stopped.append(pid) or stop(pid))  # type: ignore[func-returns-value]
    with pytest.raises(errors.ImagenetfsError, match="not ready within 180 s"):
        start(serve, log, clock=clock)
    [pid] = stopped
    assert wait_for_end(pid, HANG_SECONDS)


def roots(clock: Clock) -> Patience:
    return Patience(clock, is_root=lambda: True)


def test_root_gives_up_a_server_that_does_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "LOOK_SECONDS", 0.01)

    def serve(ready: Ready) -> None:
        time.sleep(60)  # as one does whose source does not answer

    clock = RushingClock(1.0)
    with pytest.raises(errors.SourceUnreadableError, match="kept root waiting for 10 s in all"):
        start(serve, log, clock=clock, patience=roots(clock))


@pytest.mark.slow
def test_root_waits_for_a_server_that_is_at_work(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "LOOK_SECONDS", 0.01)
    reader, writer = os.pipe()
    looked: list[float] = []

    class Watched(RushingClock):
        def monotonic(self) -> float:
            looked.append(self._now)
            if len(looked) == 40:  # many times as long as root waits for one that does nothing
                os.write(writer, b"x")
            return super().monotonic()

    def serve(ready: Ready) -> None:
        os.set_blocking(reader, False)
        while True:
            try:
                os.read(reader, 1)
                break
            except BlockingIOError:
                pass
        ready([])
        time.sleep(60)

    clock = Watched(1.0)
    started = start(serve, log, reader, clock=clock, patience=roots(clock))
    daemon.stop(started.pid)
    assert wait_for_end(started.pid, HANG_SECONDS)
    os.close(reader)
    os.close(writer)


def test_an_interrupted_parent_ends_the_server(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def serve(ready: Ready) -> None:
        time.sleep(60)

    def interrupt(message: dict[str, int], started: daemon.Started) -> bool:
        started.pid = message["pid"]
        pids.append(started.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(daemon, "_take_message", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(serve, log)
    assert wait_for_end(pids[0], HANG_SECONDS)


def test_errors_after_it_was_ready_go_to_the_log(log: Path) -> None:
    def serve(ready: Ready) -> None:
        ready([])
        raise ZeroDivisionError("later")

    started = start(serve, log)
    assert wait_for_end(started.pid, HANG_SECONDS)
    assert "later" in log.read_text()


def test_a_log_stops_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "STOP_BYTES", 2000)
    path = tmp_path / "x.log"
    handler = logs.BoundedFileHandler(path)
    for _ in range(100):
        handler.emit(logging.makeLogRecord({"msg": "x" * 100}))
    handler.close()
    assert path.stat().st_size < 2300
    assert path.read_text().count("The log is full") == 1
    path.unlink()
    handler.emit(logging.makeLogRecord({"msg": "the file was removed"}))
    handler.close()


def test_no_output_is_written_twice(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # What waits in the parent's buffer must not be written by the child as well.
    sys.stdout.write("once")

    def serve(ready: Ready) -> None:
        ready([])

    start(serve, log)
    sys.stdout.flush()
    assert capfd.readouterr().out == "once"
    assert "once" not in log.read_text()
