"""System calls that answer as a test says: for one package of the program, and for nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType

import pytest


def patch_os(monkeypatch: pytest.MonkeyPatch, package: str, **calls: object) -> None:
    """Let the modules of ``package`` see these functions in place of those of ``os``.

    pytest, and what else runs in the process, keeps the real ones. A later call replaces an
    earlier one.
    """
    stand_in = ModuleType("os")
    vars(stand_in).update(vars(os))
    vars(stand_in).update(calls)
    found = [
        module
        for name, module in sys.modules.items()
        if f"{name}.".startswith(f"{package}.") and hasattr(module, "os")
    ]
    assert found, package
    for module in found:
        monkeypatch.setattr(module, "os", stand_in)


def failing(
    monkeypatch: pytest.MonkeyPatch, package: str, name: str, number: int, times: int
) -> Callable[[], int]:
    """Let ``os.<name>`` fail so often for a package; the call returns how often it was asked."""
    real, asked = getattr(os, name), 0

    def fail(*arguments: object, **more: object) -> object:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **more)

    patch_os(monkeypatch, package, **{name: fail})
    return lambda: asked
