"""What is missing is said in a sentence."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.jobs.needs import closed_to_others


@pytest.mark.parametrize("closed", ["checkout", "checkout/.venv"])
def test_what_other_users_cannot_enter_is_named(closed: str) -> None:
    # Not tmp_path, which is this user's alone.
    with tempfile.TemporaryDirectory(dir=Path(os.environ["TMPDIR"]).parent) as made:
        top = Path(made)
        top.chmod(0o755)
        environment = top / "checkout" / ".venv"
        environment.mkdir(parents=True)
        assert closed_to_others([top / "checkout", environment]) == ""
        (top / closed).chmod(0o700)
        told = closed_to_others([top / "checkout", environment])
        assert told.startswith(f"needs {top / closed} open to other users")
        (top / closed).chmod(0o755)
