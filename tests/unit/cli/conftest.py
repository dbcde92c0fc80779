"""What the tests of the commands share."""

from __future__ import annotations

import contextlib
import io

import pytest

from imagenetfs.cli.app import main


@pytest.fixture(scope="session", autouse=True)
def _imports() -> None:
    """What any command imports is imported once, here: each forked child (``call_forked``) would
    import it again, which takes five times as long as the rest of a short command.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["settings", "--json"]) == 0
