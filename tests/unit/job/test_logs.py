"""Where the log goes: a file, syslog, the journal."""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config.value_types import SystemLog
from imagenetfs.errors import PlaceRefusedError
from imagenetfs.job import logs
from imagenetfs.job.mount_paths import MountPaths


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, left as it was."""
    logger = logging.getLogger()
    before, level = list(logger.handlers), logger.level
    yield logger
    for handler in [h for h in logger.handlers if h not in before]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "log"))
        one.settimeout(5)
        yield one


@pytest.mark.expects_log("a worker ended")
def test_syslog(
    listener: socket.socket,
    place: MountPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: logging.Logger,
) -> None:
    monkeypatch.setattr(logs, "SYSLOG_SOCKET", tmp_path / "log")
    settings = config.resolve({"log": "syslog"})
    assert settings.log is SystemLog.SYSLOG
    logs.install(settings, logs.prepare(place, settings))
    logging.getLogger("imagenetfs.x").warning("a worker ended")
    message = listener.recv(4096).decode()
    assert message.startswith("<28>imagenetfs[")  # daemon, warning
    assert "WARNING imagenetfs.x: a worker ended" in message


@pytest.mark.expects_log("a bug")
def test_the_journal(
    listener: socket.socket,
    place: MountPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: logging.Logger,
) -> None:
    monkeypatch.setattr(logs, "JOURNAL_SOCKET", tmp_path / "log")
    settings = config.resolve({"log": "journal"})
    logs.install(settings, logs.prepare(place, settings))
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("imagenetfs.x").exception("a bug")
    while b"a bug" not in (packet := listener.recv(1 << 16)):
        pass
    head, _, rest = packet.partition(b"MESSAGE\n")
    assert head == b"SYSLOG_IDENTIFIER=imagenetfs\nPRIORITY=3\n"
    (length,) = struct.unpack("<Q", rest[:8])
    assert len(rest) == 8 + length + 1
    assert rest[8:].decode().startswith("ERROR imagenetfs.x: a bug\nTraceback")


@pytest.mark.parametrize("name", ["syslog", "journal"])
def test_where_nobody_listens(
    name: str, place: MountPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SYSLOG_SOCKET", tmp_path / "none")
    monkeypatch.setattr(logs, "JOURNAL_SOCKET", tmp_path / "none")
    with pytest.raises(PlaceRefusedError, match=f"There is no {name} here"):
        logs.prepare(place, config.resolve({"log": name}))


@pytest.mark.expects_log("a worker ended")
def test_a_file(place: MountPaths, tmp_path: Path, root: logging.Logger) -> None:
    settings = config.resolve({"log": str(tmp_path / "a" / "x.log")})
    path = logs.prepare(place, settings)
    logs.install(settings, path)
    logging.getLogger("imagenetfs.x").warning("a worker ended")
    assert "WARNING imagenetfs.x: a worker ended" in path.read_text()


# --- lines ----------------------------------------------------------------------------------------

FORGED = "x\n2026-01-01 00:00:00,000 1 ERROR imagenetfs: forged \x1b[31m"


def test_a_record_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    """S19: in a log."""
    handler = logs.BoundedFileHandler(tmp_path / "log")
    handler.setFormatter(logs.LineFormatter(logs.FORMAT))
    try:
        raise ValueError(FORGED)
    except ValueError:
        record = logging.LogRecord("a", 30, "", 1, "%s", (FORGED,), sys.exc_info(), sinfo=FORGED)
    handler.emit(record)
    handler.close()
    first, *others = (tmp_path / "log").read_text().splitlines()
    assert logs.is_own_line(first)
    assert r"x\n2026-01-01" in first
    assert not any(logs.is_own_line(line) for line in others)
    assert any("ValueError" in line for line in others)
    assert "\x1b" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("install", ["install", "to_stderr"])
def test_every_log_has_such_lines(
    install: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list[logging.Handler] = []
    monkeypatch.setattr(logs, "_add", lambda handler, level: handlers.append(handler))
    if install == "install":
        logs.install(config.resolve({"log": str(tmp_path / "log")}), tmp_path / "log")
    else:
        logs.to_stderr()
    assert isinstance(handlers[0].formatter, logs.LineFormatter)
    handlers[0].close()


# --- files of others ------------------------------------------------------------------------------


@pytest.mark.timeout(20)
def test_a_fifo_is_no_log(place: MountPaths, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PlaceRefusedError, match="no regular file"):
        logs.prepare(place, config.resolve({"log": str(tmp_path / "fifo")}))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_anothers_file_or_link_is_no_log(place: MountPaths, tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    (tmp_path / "link").symlink_to(tmp_path / "new")
    for name, reason in (("theirs", "another user"), ("link", "link of another user")):
        os.chown(tmp_path / name, 65534, 65534, follow_symlinks=False)
        with pytest.raises(PlaceRefusedError, match=reason):
            logs.prepare(place, config.resolve({"log": str(tmp_path / name)}))
    assert not (tmp_path / "new").exists()


def test_a_log_that_is_exchanged_for_a_link_is_not_written_through_it(tmp_path: Path) -> None:
    # Between preparing it and the server's opening it.
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    os.chown(tmp_path / "log", 65534, 65534, follow_symlinks=False)
    with pytest.raises(PermissionError):
        logs.BoundedFileHandler(tmp_path / "log")
    assert not (tmp_path / "victim").exists()
