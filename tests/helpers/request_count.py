"""What the program asks of its source: the system calls of the source's layer, by file and kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.system_calls import patch_os

LAYER = "imagenetfs.source"
"""The only package that asks the source."""

KINDS = {
    "open": "open",
    "stat": "stat",
    "readlink": "stat",
    "scandir": "list",
    "pread": "read",
    "preadv": "read",
}
"""System call -> the kind of request that it is counted as. What asks no server is not counted:
fstat of an open file, whose attributes came with it, and posix_fadvise."""


class RequestCount:
    """Counts from when it is made to the end of the test; paths are relative to ``source``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
        self._source = source
        self._found: dict[str, Counter[str]] = {}
        patch_os(monkeypatch, LAYER, **{name: self._counted(name) for name in KINDS})

    def _counted(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:
            path = self._path(arguments[0], more.get("dir_fd"))
            self._found.setdefault(path, Counter())[KINDS[name]] += 1
            return real(*arguments, **more)

        return call

    def _path(self, what: int | bytes | str | Path, directory: int | None) -> str:
        if isinstance(what, int):
            path = os.readlink(f"/proc/self/fd/{what}")
        else:
            above = os.readlink(f"/proc/self/fd/{directory}") if directory is not None else ""
            path = os.path.join(above, os.fsdecode(what))
        return os.path.relpath(path, self._source)

    def taken(self) -> dict[str, dict[str, int]]:
        """File -> kind -> how often, since this was asked last."""
        found, self._found = self._found, {}
        return {path: dict(counts) for path, counts in sorted(found.items())}
