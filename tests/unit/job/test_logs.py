"""Where the log goes: a file, syslog, the journal."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config.value_types import SystemLog
from imagenetfs.errors import PlaceRefusedError
from imagenetfs.job import logs
from imagenetfs.job.run_dir import MountPaths


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


def test_a_file(place: MountPaths, tmp_path: Path, root: logging.Logger) -> None:
    settings = config.resolve({"log": str(tmp_path / "a" / "x.log")})
    path = logs.prepare(place, settings)
    logs.install(settings, path)
    logging.getLogger("imagenetfs.x").warning("a worker ended")
    assert "WARNING imagenetfs.x: a worker ended" in path.read_text()
