"""System calls that answer as a test says: for one package of the program, and for nothing else."""

from __future__ import annotations

import os
import sys
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
