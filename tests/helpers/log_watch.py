"""Warnings and errors in any log of ours: what a test did not expect fails it.

A test says what it expects by ``@pytest.mark.expects_log("a regular expression", ...)``, which may
stand on a class or module too, or by the fixture ``expect_log``. Watched are the records of the
test process and its forks, the logs of ``mounted()`` servers, and every ``*.log`` of the commands.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

_LINE = re.compile(r"^(?:\S+ \S+ \d+ )?(?P<level>WARNING|ERROR|CRITICAL)\b")

_watched: dict[Path, int] = {}
"""Log files and directories of logs; of a file, how far it has been read."""


def watch(path: Path) -> None:
    """From now on, look at a log file, or at the ``*.log`` of a directory."""
    _watched.setdefault(path, 0)


class Handler(logging.Handler):
    """Appends records to a file: those of forked children arrive there as well."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with contextlib.suppress(OSError):
            os.write(self._fd, self.format(record).encode(errors="replace") + b"\n")


def new_lines() -> list[str]:
    """The lines of warnings and errors since the last call, from all that is watched."""
    found: list[str] = []
    for path in list(_watched):
        if path.is_dir():
            _watched.update({log: 0 for log in path.rglob("*.log") if log not in _watched})
    for path, position in list(_watched.items()):
        if path.is_dir():
            continue
        try:
            with path.open("rb") as log:
                size = os.fstat(log.fileno()).st_size
                log.seek(position if position <= size else 0)
                text = log.read()
        except OSError:
            if not path.exists() and not path.parent.exists():
                del _watched[path]
            continue
        whole = text[: text.rfind(b"\n") + 1]
        _watched[path] = (position if position <= size else 0) + len(whole)
        found += [line for line in whole.decode(errors="replace").splitlines() if _LINE.match(line)]
    return found


def unexpected(lines: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The lines that no pattern finds."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return [line for line in lines if not any(pattern.search(line) for pattern in compiled)]
