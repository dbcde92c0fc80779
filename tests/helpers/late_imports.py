"""Imports of a test module that happen with its first test, not when it is collected.

Every process of a run collects every module, and torch takes 2.5 s of a CPU and 200 MB, which each
fork of that process then has as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest


def late_imports(needed: str, **names: str) -> Callable[[pytest.FixtureRequest], None]:
    """An autouse fixture for a module: ``name="module:attribute"`` or ``name="module"`` becomes its
    global; without the package ``needed`` the module's tests are skipped.

    The module has the same imports under ``TYPE_CHECKING``.
    """

    @pytest.fixture(scope="module", autouse=True)
    def import_them(request: pytest.FixtureRequest) -> None:
        pytest.importorskip(needed)
        for name, where in names.items():
            module, _, attribute = where.partition(":")
            found = importlib.import_module(module)
            setattr(request.module, name, getattr(found, attribute) if attribute else found)

    return import_them
